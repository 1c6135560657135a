//! The decision table between evidence and verdict, over a mix of all its rows: what a verdict
//! costs once, when a connection has ended. Beside the system calls that gather the evidence it
//! should be nothing.

mod common;

use std::hint::black_box;

use closecall::machine::close::{Evidence, FirstError, LocalCause, Via, classify};
use closecall::machine::errno::{Errno, System};
use closecall::simulation::Choices;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use common::cpu::{Cpu, criterion};

/// So many different pieces: more than a branch predictor learns by heart.
const PIECES: usize = 4096;

fn bench(criterion: &mut Criterion<Cpu>) {
    let mut choices = Choices::seeded(20_003);
    let pieces: Vec<Evidence> = (0..PIECES).map(|_| piece(&mut choices)).collect();
    let mut group = criterion.benchmark_group("classify");
    group.throughput(Throughput::Elements(PIECES as u64));
    group.bench_function("mixed", |bencher| {
        bencher.iter(|| pieces.iter().for_each(|one| _ = black_box(classify(one))));
    });
    group.finish();
}

/// Half of them orderly ends, as in life; the rest of every kind.
fn piece(choices: &mut Choices) -> Evidence {
    let orderly = choices.one_in(2);
    let errnos = [0, 104, 104, 32, 110, 113, 103, 50, 12, 5]; // Linux: ECONNRESET and others
    let cause = choices.pick(&[
        LocalCause::ReadDeadline,
        LocalCause::WriteDeadline,
        LocalCause::Drain,
        LocalCause::Policy,
    ]);
    let errno = Errno(choices.pick(&errnos));
    let via = choices.pick(&[Via::Recv, Via::Send, Via::SoError]);
    let rx = choices.pick(&[0, 14, 14, 1_400]);
    let mut evidence = Evidence::nothing(System::Linux);
    evidence.cause = (!orderly && choices.one_in(3)).then_some(cause);
    evidence.error = (!orderly && errno.0 != 0).then_some(FirstError { errno, via });
    evidence.fin_received = Some(orderly || choices.one_in(2));
    evidence.fin_sent = orderly || choices.one_in(2);
    evidence.sent_after_fin = choices.one_in(4);
    evidence.rx = rx;
    evidence.tx = if rx > 0 { rx + 23 } else { 0 };
    evidence.undelivered = choices.pick(&[Some(0), Some(0), Some(37), None]);
    evidence.fin_acknowledged = orderly && !choices.one_in(8);
    evidence.unsent = choices.pick(&[0, 0, 0, 100]);
    evidence.retransmits = Some(choices.pick(&[0, 0, 0, 2]));
    evidence.probes = Some(choices.pick(&[0, 0, 0, 1]));
    evidence
}

criterion_group! {
    name = benches;
    config = criterion(50, 2000);
    targets = bench
}
criterion_main!(benches);
