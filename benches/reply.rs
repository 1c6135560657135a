//! From the bytes of a read to the bytes of its reply, in each framing. `chunk` and `raw` find the
//! reply where the read has put it, so their time must not grow with the size; `line` copies, so
//! its bytes per second should be those of a copy.

mod common;

use std::hint::black_box;

use closecall::machine::reply::{Framing, Replier};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use common::cpu::{Cpu, criterion};

const PREFIX: &[u8] = b"from server back[rust]:";
const SIZES: [usize; 3] = [14, 1 << 10, 64 << 10];
/// The length of a line, its newline included.
const LINE: usize = 64;

fn bench(criterion: &mut Criterion<Cpu>) {
    let mut group = criterion.benchmark_group("reply");
    for (name, framing) in
        [("chunk", Framing::Chunk), ("raw", Framing::Raw), ("line", Framing::Line)]
    {
        for bytes in SIZES {
            // In `line` a read takes only what has a reply of one buffer at most.
            let mut replier = Replier::new(framing, PREFIX, bytes * (PREFIX.len() + 1));
            for (place, byte) in replier.space()[..bytes].iter_mut().enumerate() {
                *byte = if place % LINE == LINE - 1 { b'\n' } else { b'x' };
            }
            let mut inside_line = false;
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(BenchmarkId::new(name, bytes), |bencher| {
                bencher.iter(|| {
                    black_box(replier.reply(black_box(bytes), &mut inside_line));
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = criterion(50, 1000);
    targets = bench
}
criterion_main!(benches);
