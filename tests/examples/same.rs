//! The same client gets the same bytes from each rung.

use closecall::client::{Act, Client, Plan, Way};

use super::rung::{EMBED, REPLY, RUNGS, Rung, plays};

/// Several reads long; all of it and all of its reply fit into the buffers, so that a client that
/// sends everything before it reads does not wait for itself.
const LONG: usize = 200_000;

const AT_ONCE: usize = 200;

#[test]
fn each_gives_the_same_client_the_same_bytes() {
    for name in RUNGS {
        let rung = Rung::start(name);
        rung.echoes();
        long_messages_come_back(&rung);
        many_at_once_are_served(&rung);
        no_way_of_leaving_stops_it(&rung, name);
    }
}

#[track_caller]
fn long_messages_come_back(rung: &Rung) {
    let message = (0..LONG as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let plan = Plan { message, ..rung.plan() };
    for way in [Way::Close, Way::HalfClose] {
        let mut client = rung.connects(&plan);
        plays(&mut client, way.script());
        assert!(client.is_echoed(), "{way:?}: {} bytes", client.received());
    }
}

#[track_caller]
fn many_at_once_are_served(rung: &Rung) {
    let mut clients: Vec<Client> = (0..AT_ONCE).map(|_| rung.client()).collect();
    for act in [Act::Send, Act::Read] {
        clients.iter_mut().for_each(|client| _ = plays(client, &[act]));
    }
    assert!(clients.iter().all(|client| client.kept() == REPLY));
}

/// What happens to the client is its own affair, and another test's.
#[track_caller]
fn no_way_of_leaving_stops_it(rung: &Rung, name: &str) {
    // These wait until the server has had enough of them, and not each server ever has.
    let waits = |way: &Way| matches!(way, Way::Silent | Way::SilentReset | Way::Stall);
    let (mut stays, mut echoes) = (rung.echoes(), 1);
    for way in Way::all().filter(|way| !waits(way)) {
        rung.client().play_all(way.script(), |_, _| ());
        let client = rung.echoes();
        assert_eq!(client.kept(), REPLY, "{name}, after {way:?}");
        plays(&mut stays, &[Act::Send, Act::Read]);
        echoes += 1;
        assert_eq!(stays.kept(), REPLY.repeat(echoes), "{name}");
    }
}

#[test]
fn enter_ends_the_last_one() {
    let mut rung = Rung::start(EMBED);
    plays(&mut rung.echoes(), &[Act::Close]);
    rung.enter();
    assert_eq!(rung.process.exit_code(), 0);
    let said = rung.process.stdout.text();
    assert!(said.contains(": peer_fin.delivered: 14 bytes in, 37 out\n"), "{said}");
    assert!(said.ends_with("\nserved 1 in all\n"), "{said}");
}
