//! Where ports are scarce. Each run has a network namespace of its own, with a loopback interface
//! and a short range of ports; where that cannot be had, a test says `skipped: needs root`.

use std::process::Command;

use crate::Run;
use crate::process::Process;
use crate::skip::skips;

/// A line of shell in a namespace that has `ports` to connect from; `$CLOSECALL` is the program.
fn within(ports: &str, shell: &str) -> Option<Process> {
    let set =
        format!("ip link set lo up && echo '{ports}' > /proc/sys/net/ipv4/ip_local_port_range");
    let unshared = |shell: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["--net", "sh", "-c", shell])
            .env("CLOSECALL", env!("CARGO_BIN_EXE_closecall"));
        command
    };
    if !unshared(&set).output().is_ok_and(|it| it.status.success()) {
        skips("root, unshare of util-linux, and iproute2");
        return None;
    }
    Some(Process::start(unshared(&format!("{set} && {shell}"))))
}

/// A server on port 9 of the namespace; the line goes on when it listens.
const SERVER: &str = "$CLOSECALL serve --listen 127.0.0.1:9 --read-deadline off > /dev/null 2>&1 & \
    server=$!; until grep -q ':0009 00000000:0000 0A ' /proc/net/tcp; do :; done;";

/// Regression: the slot of a connection that failed was used again, and with it its source address.
#[test]
fn a_source_without_ports_takes_its_own_connections_only() {
    // Another process has most ports of the second of six addresses, with its first look at the
    // server and eight connections.
    let taken = "$CLOSECALL load hold 127.0.0.1:9 -c 8 --source 127.0.1.2 -d 1h --every off \
                 > /dev/null 2>&1 & holder=$!; \
                 until [ $(grep -c ': 0201007F:.* 01 ' /proc/net/tcp) -ge 8 ]; do :; done;";
    let run = "$CLOSECALL load hold 127.0.0.1:9 -c 36 --source 127.0.1.0/29 -d 100ms \
               --format json; code=$?; kill $server $holder; exit $code";
    let shell = format!("{SERVER} {taken} {run}");
    let Some(mut process) = within("20000 20009", &shell) else { return };
    let run = Run::ended(&mut process);
    // It may have left a port or two.
    let held = run.report["held"].as_u64().unwrap();
    assert!((30..=32).contains(&held), "{:#}", run.report);
    assert_eq!(run.errors("no_port"), 36 - held, "{:#}", run.report);
}

/// Regression: connect(2) chose the port of the server that was gone to connect from, and the
/// socket answered itself: it was held, and its port was taken.
#[test]
fn a_connection_to_itself_is_no_server() {
    // One port in two: so many connects in a row that choose the other one do not happen.
    let run = "for run in $(seq 30); do \
               $CLOSECALL load hold 127.0.0.1:20001 -c 1 -d 1ms; [ $? = 3 ] || exit 1; done";
    let Some(mut runs) = within("20001 20002", run) else { return };
    assert_eq!(runs.exit_code(), 0, "{}", runs.stdout.text());
    let told = runs.stderr.text();
    assert_eq!(told.matches("127.0.0.1:20001: ").count(), 30, "{told}");
    assert_eq!(told.matches("start `closecall serve`").count(), 30, "{told}");
}

/// Regression: the port of the first look was not counted, and it was left in TIME_WAIT.
#[test]
fn the_first_look_takes_a_port_as_well() {
    let run = "$CLOSECALL load hold 127.0.0.1:9 -c 10 -d 1s; code=$?; kill $server; exit $code";
    let Some(mut run) = within("20000 20009", &format!("{SERVER} {run}")) else { return };
    let (code, told) = (run.exit_code(), run.stderr.text());
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("10 ports on each of 1 source address allow 9 connections"), "{told}");
}
