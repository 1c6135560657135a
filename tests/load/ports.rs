//! Runs with few ports. Each run has a network namespace of its own, with a loopback interface and
//! a short range of ports; without root, a test prints `skipped: needs root`.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Run;
use crate::process::Process;
use crate::skip::skips;

/// A line of shell in a namespace that has `ports` to connect from; `$CLOSECALL` is the program,
/// `$0` a file of its own.
pub(crate) fn within(ports: &str, shell: &str) -> Option<Process> {
    let set =
        format!("ip link set lo up && echo '{ports}' > /proc/sys/net/ipv4/ip_local_port_range");
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{count}-ports", std::process::id());
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let unshared = |shell: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["--net", "sh", "-c", shell])
            .arg(&file) // $0
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
pub(crate) const SERVER: &str = "$CLOSECALL serve --listen 127.0.0.1:9 --read-deadline off \
    > /dev/null 2>&1 & server=$!; \
    until grep -q ':0009 00000000:0000 0A ' /proc/net/tcp; do :; done;";

/// Regression: the slot of a connection that failed was used again, and with it its source address.
#[test]
fn a_source_without_ports_takes_its_own_connections_only() {
    // Another process has most ports of the second of six addresses, with its scout connection and
    // eight more.
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

/// Regression: the port of the scout connection was not counted, and it was left in TIME_WAIT.
#[test]
fn the_scout_takes_a_port_as_well() {
    let run = "$CLOSECALL load hold 127.0.0.1:9 -c 10 -d 1s --source 127.0.0.1; code=$?; \
               kill $server; exit $code";
    let Some(mut run) = within("20000 20009", &format!("{SERVER} {run}")) else { return };
    let (code, told) = (run.exit_code(), run.stderr.text());
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("10 ports on each of 1 source address allow 9 connections"), "{told}");
}

#[test]
fn one_port_is_no_plural() {
    let run = "$CLOSECALL load hold 127.0.0.1:9 -c 5 --source 127.0.1.0/30; code=$?; \
               kill $server; exit $code";
    let Some(mut run) = within("20000 20000", &format!("{SERVER} {run}")) else { return };
    assert_eq!(run.exit_code(), 3);
    let told = run.stderr.text();
    assert!(told.contains("1 port on each of 2 source addresses allows 1 connection "), "{told}");
}

/// Regression: connect(2) took ports of one parity and searched all of these before it took one of
/// the other parity: 3 ms for each connection beyond half of the range.
#[test]
fn ports_are_taken_in_turn_whatever_their_parity() {
    // The ports of the server's end of each connection are in the third column.
    let run = "$CLOSECALL load hold 127.0.0.1:9 -c 40 -d 1h --every off > /dev/null 2>&1 & \
               holder=$!; \
               until [ $(grep -c ':0009 0100007F:.* 01 ' /proc/net/tcp) -ge 40 ]; do :; done; \
               grep ':0009 0100007F:.* 01 ' /proc/net/tcp; kill $server $holder";
    let Some(mut run) = within("20000 20199", &format!("{SERVER} {run}")) else { return };
    assert_eq!(run.exit_code(), 0, "{}", run.stderr.text());
    let rows = run.stdout.text();
    let peers = rows.lines().filter_map(|row| row.split_whitespace().nth(2)?.split(':').nth(1));
    let ports: Vec<_> = peers.map(|port| u16::from_str_radix(port, 16).unwrap()).collect();
    let odd = ports.iter().filter(|port| *port % 2 == 1).count();
    // The scout connection, and its rest in TIME_WAIT, may take one.
    assert!((19..=21).contains(&odd), "{ports:?}");
}

/// The whole range is used: 99 connections and the scout connection on 100 ports, for each
/// version of IP. The server's own port is none of them.
#[test]
fn every_port_of_the_range_is_used() {
    for (server, range, connections) in [
        ("127.0.0.1:9", "20000 20099", 99),
        ("127.0.0.1:9", "20001 20099", 98),
        ("[::1]:9", "20000 20099", 99),
        ("127.0.0.1:20050", "20000 20099", 98),
    ] {
        let run = format!(
            "$CLOSECALL serve --listen {server} --read-deadline off > $0 2> /dev/null & \
             server=$!; until grep -q listening $0; do :; done; \
             for more in 0 1; do $CLOSECALL load hold {server} -c $(({connections} + more)) \
             -d 100ms --source {source} --format json; echo $?; done; kill $server",
            source = if server.starts_with('[') { "::1" } else { "127.0.0.1" }
        );
        let Some(mut run) = within(range, &run) else { return };
        assert_eq!(run.exit_code(), 0, "{}", run.stderr.text());
        let (stdout, told) = (run.stdout.text(), run.stderr.text());
        assert!(stdout.contains(&format!("\"held\": {connections},")), "{server} {stdout} {told}");
        assert!(stdout.ends_with("3\n"), "one more is too many: {server} {stdout} {told}");
        assert!(told.contains(&format!("allow {connections} connections")), "{server} {told}");
    }
}

/// Regression: without --source one address was all there was on loopback, so that churn stopped at
/// its ports in TIME_WAIT, and hold at the range.
#[test]
fn on_loopback_there_are_several_addresses_by_default() {
    for (mode, server, more) in [
        ("hold", "127.0.0.1", "-c 45"),
        ("hold", "0.0.0.0", "-c 45"), // which is 127.0.0.1 for a client
        ("churn", "127.0.0.1", "-c 4 --rate 200"),
    ] {
        let run = format!(
            "$CLOSECALL load {mode} {server}:9 {more} -d 500ms --format json; code=$?; \
             kill $server; exit $code"
        );
        let Some(mut run) = within("20000 20009", &format!("{SERVER} {run}")) else { return };
        let run = Run::ended(&mut run);
        assert_eq!(run.code, 0, "{:#} {}", run.report, run.stderr);
        let done = if mode == "hold" { ("held", 45) } else { ("cycles", 100) };
        assert_eq!(run.report[done.0], done.1, "{:#}", run.report);
    }
}

/// Regression: the scout connection reported the address of --source as a wrong one. Here
/// TIME_WAIT lasts for its minute, so nine connections and a scout connection take ten ports until
/// the test ends.
#[test]
fn a_scout_without_a_port_reports_that_ports_are_taken() {
    let run = "echo 0 > /proc/sys/net/ipv4/tcp_tw_reuse; \
               $CLOSECALL load hold 127.0.0.1:9 -c 9 --source 127.0.0.1 -d 1h --every off \
               > /dev/null 2>&1 & holder=$!; \
               until [ $(grep -c ': 0100007F:.* 0100007F:0009 01 ' /proc/net/tcp) -ge 9 ]; do :; \
               done; $CLOSECALL load hold 127.0.0.1:9 -c 1 --source 127.0.0.1; code=$?; \
               kill $server $holder; exit $code";
    let Some(mut run) = within("20000 20009", &format!("{SERVER} {run}")) else { return };
    let (code, told) = (run.exit_code(), run.stderr.text());
    assert_eq!(code, 3, "{told}");
    for part in
        ["127.0.0.1:9: no local port is free", "TIME_WAIT", "--source, such as 127.0.1.0/24"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
}

/// Regression: a second run did not find the ports that it was given, because those of the first
/// one were in TIME_WAIT.
#[test]
fn default_addresses_leave_room_for_the_run_before() {
    for mode in ["hold", "echo"] {
        let run = format!(
            "echo 0 > /proc/sys/net/ipv4/tcp_tw_reuse; for run in 1 2; do \
             $CLOSECALL load {mode} 127.0.0.1:9 -c 45 -d 100ms || code=$?; done; \
             kill $server; exit $code"
        );
        let Some(mut run) = within("20000 20009", &format!("{SERVER} code=0; {run}")) else {
            return;
        };
        assert_eq!(run.exit_code(), 0, "{mode}: {} {}", run.stdout.text(), run.stderr.text());
    }
}

/// Regression: nothing said that ports were the limit of churn, and what to add.
#[test]
fn a_churn_that_lacks_ports_says_what_to_add() {
    let run = "$CLOSECALL load churn 127.0.0.1:9 -c 4 -d 300ms --source 127.0.0.1 --format json; \
               kill $server";
    let Some(mut run) = within("20000 20009", &format!("{SERVER} {run}")) else { return };
    let run = Run::ended(&mut run);
    assert!(run.errors("no_port") > 0, "{:#}", run.report);
    let lines = run.stderr.matches("ports were the limit, ").count();
    assert_eq!(lines, 1, "{}", run.stderr);
    assert!(run.stderr.contains("--source, such as 127.0.1.0/24"), "{}", run.stderr);
}

/// Regression: `client --source` took a port for all destinations, so that it found none where
/// connections to another server had them.
#[test]
fn client_shares_the_ports_of_its_source_with_connections_to_other_servers() {
    let run = "$CLOSECALL serve --listen 127.0.0.1:10 > $0 2> /dev/null & other=$!; \
               until grep -q listening $0; do :; done; \
               $CLOSECALL load hold 127.0.0.1:9 -c 9 --source 127.0.1.1 -d 1h --every off \
               > /dev/null 2>&1 & holder=$!; \
               until [ $(grep -c ': 0101007F:.* 01 ' /proc/net/tcp) -ge 9 ]; do :; done; \
               $CLOSECALL client 127.0.0.1:10 --source 127.0.1.1 --wait 0s --count 9; code=$?; \
               kill $server $holder $other; exit $code";
    let Some(mut run) = within("20000 20009", &format!("{SERVER} {run}")) else { return };
    assert_eq!(run.exit_code(), 0, "{} {}", run.stdout.text(), run.stderr.text());
    assert!(run.stdout.text().contains("9 as planned, 0 failed"), "{}", run.stdout.text());
}

/// A name with both versions of IP stands for the addresses that the source can reach.
#[test]
fn a_source_chooses_among_the_addresses_of_a_name() {
    let hosts = "printf '::1 both\\n127.0.0.1 both\\n' > $0 && mount --make-rprivate / && \
                 mount --bind $0 /etc/hosts";
    let run = format!(
        "{SERVER} unshare --mount sh -c \"{hosts} && \
         $CLOSECALL load hold both:9 -c 3 -d 1ms --source 127.0.1.0/24 --format json && \
         $CLOSECALL client both:9 --source 127.0.1.1 --wait 0s\" $0; code=$?; \
         kill $server; exit $code"
    );
    let Some(mut run) = within("20000 20099", &run) else { return };
    assert_eq!(run.exit_code(), 0, "{} {}", run.stdout.text(), run.stderr.text());
    let text = run.stdout.text();
    assert!(text.contains("\"held\": 3,") && text.contains("connected from 127.0.1.1:"), "{text}");
}
