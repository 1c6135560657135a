//! The tables, each of them on whatever system the tests run.

use super::*;

#[test]
fn a_number_and_a_name_stand_in_their_table_once() {
    for system in System::ALL {
        let mut numbers: Vec<i32> = table(system).iter().map(|row| row.0).collect();
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "{system:?}: {numbers:?}");
        let mut names: Vec<&str> = table(system).iter().map(|row| row.1).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{system:?}: {names:?}");
    }
}

#[test]
fn the_same_name_is_not_the_same_thing_everywhere() {
    assert_eq!(Errno(103).meaning(System::Linux), Meaning::Killed);
    assert_eq!(Errno(10053).meaning(System::Windows), Meaning::Reset);
    assert_eq!(Errno(54).meaning(System::Apple), Meaning::Reset);
    assert_eq!(Errno(54).meaning(System::Linux), Meaning::Other);
}

/// The system that this runs on, asked at run time: the compiler has compared the tables already.
#[cfg(unix)]
#[test]
fn the_table_of_this_system_agrees_with_libc() {
    for &(number, name, _) in table(System::OtherUnix) {
        assert_eq!(Errno(number).name(System::HERE), Some(name), "{number}");
    }
    for (number, name) in [(libc::ESHUTDOWN, "ESHUTDOWN"), (libc::EHOSTDOWN, "EHOSTDOWN")] {
        assert_eq!(Errno(number).name(System::HERE), Some(name), "{number}");
    }
}

/// Not among the numbers that are compared on the machine that runs this, as a rule.
#[test]
fn linux_has_numbers_of_its_own_on_mips_and_sparc() {
    // asm-generic, MIPS, SPARC
    for (name, numbers, meaning) in [
        ("ECONNRESET", [104, 131, 54], Meaning::Reset),
        ("EPIPE", [32, 32, 32], Meaning::Reset),
        ("ETIMEDOUT", [110, 145, 60], Meaning::TimedOut),
        ("EHOSTUNREACH", [113, 148, 65], Meaning::Unreachable),
        ("ECONNREFUSED", [111, 146, 61], Meaning::Unreachable),
        ("EOPNOTSUPP", [95, 122, 45], Meaning::Unreachable),
        ("EPROTO", [71, 71, 86], Meaning::Unreachable),
        ("ENETDOWN", [100, 127, 50], Meaning::NetworkDown),
        ("ECONNABORTED", [103, 130, 53], Meaning::Killed),
        ("EMFILE", [24, 24, 24], Meaning::NoFiles),
        ("ENOBUFS", [105, 132, 55], Meaning::NoMemory),
        ("ENOTCONN", [107, 134, 57], Meaning::NotConnected),
        ("ESHUTDOWN", [108, 143, 58], Meaning::NotConnected),
        ("EADDRINUSE", [98, 125, 48], Meaning::Other),
    ] {
        for (number, system) in
            numbers.into_iter().zip([System::Linux, System::LinuxMips, System::LinuxSparc])
        {
            let told = (Errno(number).name(system), Errno(number).meaning(system));
            assert_eq!(told, (Some(name), meaning), "{number} on {system:?}");
        }
    }
    assert_eq!(Errno(104).meaning(System::LinuxMips), Meaning::Other);
    assert_eq!(Errno(104).meaning(System::LinuxSparc), Meaning::Other);
}

#[test]
fn macos_and_the_bsds_share_most_numbers() {
    for system in [System::Apple, System::FreeBsd, System::NetBsd, System::OpenBsd] {
        for (number, name, meaning) in [
            (54, "ECONNRESET", Meaning::Reset),
            (32, "EPIPE", Meaning::Reset),
            (60, "ETIMEDOUT", Meaning::TimedOut),
            (65, "EHOSTUNREACH", Meaning::Unreachable),
            (51, "ENETUNREACH", Meaning::Unreachable),
            (61, "ECONNREFUSED", Meaning::Unreachable),
            (64, "EHOSTDOWN", Meaning::Unreachable),
            (50, "ENETDOWN", Meaning::NetworkDown),
            (53, "ECONNABORTED", Meaning::Killed),
            (24, "EMFILE", Meaning::NoFiles),
            (23, "ENFILE", Meaning::NoFiles),
            (55, "ENOBUFS", Meaning::NoMemory),
            (12, "ENOMEM", Meaning::NoMemory),
            (57, "ENOTCONN", Meaning::NotConnected),
            (58, "ESHUTDOWN", Meaning::NotConnected),
            (35, "EAGAIN", Meaning::Other),
        ] {
            let told = (Errno(number).name(system), Errno(number).meaning(system));
            assert_eq!(told, (Some(name), meaning), "{number} on {system:?}");
        }
        for number in [104, 110, 111, 113, 10054] {
            assert_eq!(Errno(number).meaning(system), Meaning::Other, "{number} on {system:?}");
        }
    }
}

/// One table for all of them named 92 EPROTO on macOS, where it is EILSEQ.
#[test]
fn macos_and_the_bsds_differ_in_some() {
    let systems = [System::Apple, System::FreeBsd, System::NetBsd, System::OpenBsd];
    for (number, names) in [
        (100, [Some("EPROTO"), None, None, None]),
        (92, [None, Some("EPROTO"), None, None]),
        (96, [None, None, Some("EPROTO"), None]),
        (95, [None, None, None, Some("EPROTO")]),
        (41, [Some("EPROTOTYPE"), None, None, None]),
    ] {
        for (system, name) in systems.into_iter().zip(names) {
            assert_eq!(Errno(number).name(system), name, "{number} on {system:?}");
        }
    }
    assert_eq!(Errno(41).meaning(System::Apple), Meaning::Reset, "a send during the end");
    assert_eq!(Errno(100).meaning(System::Apple), Meaning::Aborted);
    assert_eq!(Errno(92).meaning(System::FreeBsd), Meaning::Aborted);
}

/// Where Windows differs from what a Unix table would lead one to expect.
#[test]
fn windows_has_its_own_numbers_and_its_own_meanings() {
    for (number, meaning) in [
        (10053, Meaning::Reset), // after our send: the peer is gone
        (10054, Meaning::Reset),
        (10052, Meaning::TimedOut), // keepalive, and not the network
        (10060, Meaning::TimedOut),
        (10050, Meaning::NetworkDown),
        (10051, Meaning::Unreachable),
        (10061, Meaning::Unreachable),
        (10064, Meaning::Unreachable),
        (10065, Meaning::Unreachable),
        (10024, Meaning::NoFiles),
        (10055, Meaning::NoMemory),
        (8, Meaning::NoMemory),
        (10057, Meaning::NotConnected),
        (10058, Meaning::NotConnected),
        (104, Meaning::Other), // a number of Linux
        (54, Meaning::Other),  // and of BSD
    ] {
        assert_eq!(Errno(number).meaning(System::Windows), meaning, "{number}");
    }
    let foreign = |row: &&Row| !(10_000..11_000).contains(&row.0) && row.0 != 8;
    let rows = table(System::Windows);
    assert_eq!(rows.iter().find(foreign), None, "no number of another system");
}
