//! `--fail-if`: exit code 1, and a line for each condition that the run meets.

use super::{Run, load, serve, servers};

/// The lines about `--fail-if`.
fn lines(run: &Run) -> Vec<&str> {
    run.stderr.lines().filter(|line| line.starts_with("closecall: --fail-if")).collect()
}

#[test]
fn a_condition_that_is_met_fails_the_run_and_is_named_with_its_figure() {
    let (_server, address) = serve(&[]);
    let address = address.to_string();
    for mode in ["hold", "echo", "churn"] {
        // In hold the connections say something within the run.
        let every = if mode == "churn" { vec![] } else { vec!["--every", "50ms"] };
        let run = |conditions: &[&str]| {
            let base = [mode, &address, "-c3", "-d200ms"];
            Run::of(load(&[&base, &every[..], conditions].concat()))
        };
        let met = run(&["--fail-if", "max>=1ns", "--fail-if", "errors<=0"]);
        let [first, second] = lines(&met)[..] else { panic!("{mode}: {}", met.stderr) };
        assert_eq!(met.code, 1);
        assert!(first.starts_with("closecall: --fail-if 'max>=1ns' is met: max "), "{first}");
        assert_eq!(second, "closecall: --fail-if 'errors<=0' is met: errors 0");
        let not_met = run(&["--fail-if", "p99.9>=1000s", "--fail-if", "rate<0.001"]);
        assert_eq!((not_met.code, lines(&not_met)), (0, vec![]), "{mode}: {}", not_met.stderr);
    }
}

/// A server that answers nothing has no p99, and must not pass a test of it.
#[test]
fn a_run_in_which_nothing_was_timed_meets_every_condition_on_a_latency() {
    let address = servers::start(|_: usize, turn: usize, line: &[u8]| {
        (turn == 0).then(|| servers::right(line))
    });
    let address = address.to_string();
    // Each connection says one thing when it is opened, and nothing after that.
    let run = Run::of(load(&["hold", &address, "-c2", "-d1ms", "--fail-if", "p99>5ms"]));
    assert_eq!(run.code, 1);
    assert!(run.report["errors"].as_object().unwrap().is_empty(), "nothing else: {}", run.report);
    assert_eq!(lines(&run), ["closecall: --fail-if 'p99>5ms' counts as met: no reply was timed"]);
}
