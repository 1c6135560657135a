//! Promise: `make million` opens, uses and closes its connections, puts back what it raised, and
//! ends all its processes. Here with two thousand.

use std::path::Path;
use std::process::Command;

use crate::process::Process;
use crate::skip::skips;

#[test]
fn two_thousand_connections_are_used_and_end_in_order_on_both_sides() {
    let has_python = Command::new("python3").arg("-V").output().is_ok();
    if !has_python {
        #[allow(clippy::print_stderr)] // the test log shows what was skipped
        return eprintln!("skipped: needs python3");
    }
    if !Command::new("unshare").args(["--net", "true"]).status().is_ok_and(|it| it.success()) {
        return skips("root, and unshare of util-linux");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/million/million.py");
    let folder = std::env::temp_dir().join(format!("closecall-million-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new("python3");
    command.arg(script).args(["--connections", "2000", "--program"]);
    command.arg(env!("CARGO_BIN_EXE_closecall"));
    command.arg("--output").arg(&folder).arg("--state").arg(folder.join("state"));
    let mut run = Process::start(command);
    let (code, told) = (run.exit_code(), run.stderr.text());
    let report = run.stdout.text();
    assert_eq!(code, 0, "{report}{told}");
    for part in ["2,000 of 2,000", "local.done 2,000\n", "peer_fin.delivered 2,001\n"] {
        assert!(report.contains(part), "{part}: {report}{told}");
    }
    let left = std::fs::read_to_string(folder.join("state")).unwrap();
    assert_eq!(left, "", "nothing is left to put back");
    std::fs::remove_dir_all(&folder).unwrap();
}
