//! One turn of the real loop over a kernel that costs next to nothing, in which 1,000 of so many
//! connections have sent a message and get their reply. `same` are always the same thousand: their
//! time should not depend on the size at all. `others` are others in each turn, so nothing of them
//! is in a cache at a million, and the time for each may grow by what memory costs
//! (`cargo bench --bench scale` puts that beside it).

mod common;

use closecall::simulation::Speakers;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use common::SIZES;
use common::cpu::{Cpu, criterion};
use common::held::Held;

const ACTIVE: u32 = 1_000;

fn bench(criterion: &mut Criterion<Cpu>) {
    let mut group = criterion.benchmark_group("turn");
    group.throughput(Throughput::Elements(u64::from(ACTIVE)));
    for connections in SIZES {
        let mut held = None; // made when the first of these is asked for
        for (name, speakers) in
            [("same", Speakers::Same(ACTIVE)), ("others", Speakers::Random(ACTIVE))]
        {
            group.bench_function(BenchmarkId::new(name, connections), |bencher| {
                let held = held.get_or_insert_with(|| {
                    let mut held = Held::new(connections);
                    held.accept();
                    held
                });
                bencher.iter(|| held.speak(speakers, 1));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = criterion(30, 2000);
    targets = bench
}
criterion_main!(benches);
