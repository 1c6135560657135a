//! How addresses may be written, what they become on this machine, and how they are printed.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use crate::process::{Process, closecall, closecall_after};
use crate::refusals::{refusal, usage};
use crate::{come_and_go, skip::skips, stop};

/// It was EINVAL beside another listener, and printed as it was written.
#[test]
fn an_ipv4_address_in_the_clothes_of_ipv6_is_an_ipv4_address() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (first, mapped) = (format!("127.0.0.2:{port}"), format!("[::ffff:127.0.0.1]:{port}"));
    let args = ["serve", "--listen", &first, "--listen", &mapped, "--close-log", "-"];
    let mut server = Process::start(closecall(&args));
    let expected = [first, format!("127.0.0.1:{port}")].map(|it| it.parse().unwrap());
    assert_eq!(server.addresses(2), expected);
    come_and_go(expected[1], 1);
    let log = server.stdout.wait_for("peer_fin.");
    assert!(log.contains(&format!("\"local\":\"127.0.0.1:{port}\"")), "{log}");
    let stderr = stop(&mut server);
    assert!(!(log + &stderr).contains("ffff"), "{stderr}");

    let mut client = Process::start(closecall(&["client", &mapped]));
    assert_eq!(client.exit_code(), 3);
    assert!(client.stderr.text().contains(&format!(" 127.0.0.1:{port}: ")));
    let same = ["--listen", "127.0.0.1:20003", "--listen", "[::ffff:127.0.0.1]:20003"];
    usage(&[&["serve"], &same[..]].concat(), &["--listen", "127.0.0.1:20003", "once"]);
}

/// A name is written right or wrong for all that can be told; only the machine knows it.
#[test]
fn a_name_without_an_address_is_refused() {
    let nowhere = "nowhere.invalid:9"; // RFC 6761: it never has one
    for (args, option) in [
        (&["serve", "--listen", nowhere][..], "--listen"),
        (&["client", nowhere], "ADDR"),
        (&["lab", nowhere, "--only", "S1"], "ADDR"),
        (&["lab", "127.0.0.1:9", "--via", nowhere, "--only", "S1"], "--via"),
        (&["load", "echo", nowhere], "ADDR"),
    ] {
        let line = refusal(closecall(args), 3);
        assert!(
            line.starts_with(&format!("{option} {nowhere}: cannot resolve this name (")),
            "{line}"
        );
    }
}

#[test]
fn an_unknown_interface_is_refused() {
    let [zoned, there] = ["[fe80::1%nowhere0]:9", "[::1]:9"];
    for args in [
        &["serve", "--listen", zoned][..],
        &["client", zoned],
        &["client", there, "--source", "fe80::1%nowhere0"],
        &["lab", zoned, "--only", "S1"],
        &["lab", there, "--via", zoned, "--only", "S1"],
        &["load", "echo", zoned],
        &["load", "echo", there, "--source", "fe80::1%nowhere0"],
    ] {
        let line = refusal(closecall(args), 3);
        assert!(line.contains("no interface 'nowhere0'"), "{args:?}: {line}");
    }
    usage(&["serve", "--listen", "[fe80::1]:9"], &["link-local", "[fe80::1%eth0]:20003"]);
    usage(&["serve", "--listen", "[::1%lo]:9"], &["an address and a port"]);
}

/// Runs a line of shell in a namespace of its own; `None`, and said, where that is not to be had.
fn within(namespace: &str, prepare: &str, args: &[&str]) -> Option<Process> {
    let probe = format!("{prepare} && exit 47");
    let tried = Command::new("unshare").args([namespace, "sh", "-c", &probe]).output();
    if tried.is_ok_and(|output| output.status.code() == Some(47)) {
        let shell =
            format!("exec unshare {namespace} sh -c '{prepare}; exec \"$0\" \"$@\"' \"$0\" \"$@\"");
        return Some(Process::start(closecall_after(&shell, args)));
    }
    skips("root, unshare, ip and IPv6");
    None
}

/// `localhost:0` had a port for each of its two addresses.
#[test]
fn a_name_has_one_port_for_all_of_its_addresses() {
    let hosts = std::env::temp_dir().join(format!("closecall-hosts-{}", std::process::id()));
    std::fs::write(&hosts, "127.0.0.1 two.test\n127.0.0.2 two.test\n").unwrap();
    let prepare = format!("mount --bind {} /etc/hosts", hosts.display());
    let server = within("-m", &prepare, &["serve", "--listen", "two.test:0"]);
    let addresses = server.map(|server| server.addresses(2));
    std::fs::remove_file(&hosts).unwrap();
    let Some(addresses) = addresses else { return };
    let mut ips: Vec<String> = addresses.iter().map(|it| it.ip().to_string()).collect();
    ips.sort_unstable();
    assert_eq!(ips, ["127.0.0.1", "127.0.0.2"]);
    assert_eq!(addresses[0].port(), addresses[1].port());
    assert_ne!(addresses[0].port(), 0);
}

const LINK_LOCAL: &str = "ip link set lo up && ip -6 address add fe80::1/64 dev lo nodad \
                          && ip -6 address add fe80::2/64 dev lo nodad";

/// The server's zone is written as a name and printed as a number.
#[test]
fn a_link_local_address_may_name_its_interface() {
    let args = ["serve", "--listen", "[fe80::1%lo]:20003"];
    let Some(server) = within("-n", LINK_LOCAL, &args) else { return };
    let address = server.address();
    let expected: SocketAddr = "[fe80::1%1]:20003".parse().unwrap(); // lo is the first interface
    assert_eq!(address, expected);

    let inside = format!("nsenter --target {} --net", server.id());
    let play = |args: &[&str]| {
        let shell = format!("exec {inside} \"$0\" \"$@\"");
        let mut process = Process::start(closecall_after(&shell, args));
        (process.exit_code(), process.stdout.text(), process.stderr.text())
    };
    // The source had no zone, and bind(2) refused it.
    for source in ["fe80::2", "fe80::2%lo", "fe80::2%1"] {
        let (code, stdout, stderr) = play(&["client", "[fe80::1%lo]:20003", "--source", source]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{source}: {stdout}");
        assert!(stdout.contains("[fe80::2%1]:"), "{source}: {stdout}");
    }
    let load = ["load", "churn", "[fe80::1%lo]:20003", "-c", "1", "-d", "50ms", "--source"];
    for source in ["fe80::2", "fe80::2%lo"] {
        let (code, stdout, stderr) = play(&[&load[..], &[source]].concat());
        assert_eq!(code, 0, "{source}: {stdout}{stderr}");
    }
}
