//! Scenarios: the client's acts, the order of events, and the expected result.

mod all;
mod elsewhere;
mod shapes;

use super::capture::Expectation;
use crate::client::{Act, Way};
use crate::machine::close::Kind;

pub use self::elsewhere::Elsewhere;

/// One of the article's five experiments.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// 1 to 5, in its order.
    pub number: u8,
    /// The article's result.
    pub found: &'static str,
    /// The result of the last recv of the article's server, as Linux writes it.
    pub recv: &'static str,
}

/// How a scenario is played.
#[derive(Clone, Copy, Debug)]
pub enum Play {
    /// The client ends the connection in this way.
    Way(Way),
    /// Not played here.
    Skip {
        /// What the client would do.
        client: &'static str,
        /// What it needs and the lab does not have.
        needs: &'static str,
    },
}

/// The order of events that is forced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The order of the script: the server acts when the client waits for it, or has finished.
    AsPlayed,
    /// The client is accepted before it does anything.
    AcceptedFirst,
    /// The client has finished before it is accepted.
    ClientFirst,
    /// The reply is in the client's receive queue before it closes.
    ReplyFirst,
    /// The server is drained, and sends its FIN before the client ends.
    ServerFirst,
    /// No order is forced: both sides run freely.
    Race,
}

impl Order {
    /// The order in words, for the table; empty if the script is enough.
    pub fn says(self) -> &'static str {
        match self {
            Order::AsPlayed => "",
            Order::AcceptedFirst => "after accept",
            Order::ClientFirst => "before accept",
            Order::ReplyFirst => "after the reply arrived",
            Order::ServerFirst => "the server is drained first",
            Order::Race => "a race",
        }
    }

    /// How the order is forced.
    pub fn how(self) -> &'static str {
        match self {
            Order::AsPlayed => "the server runs only while the client waits",
            Order::AcceptedFirst => "the server runs until it has accepted the connection",
            Order::ClientFirst => "the server does not run before the client has finished",
            Order::ReplyFirst => "the server runs until its reply has arrived",
            Order::ServerFirst => "the server is drained while the client waits for its end",
            Order::Race => "not forced: both sides run freely, --repeat N times",
        }
    }
}

/// The server of a scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// The shared server.
    Shared,
    /// A separate server, which is drained.
    Own,
    /// A separate server that reads one request in each visit.
    Sips,
    /// A separate server that often checks output that its peer does not read.
    Full,
    /// A separate server with a long write deadline, for output that its peer does not read for a
    /// while.
    Filled,
}

/// A way to end a connection, and its expected result.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its number in docs/CLOSING.md, and a word if several scenarios share it.
    pub id: &'static str,
    /// The article's experiment, if any.
    pub experiment: Option<Experiment>,
    /// How a scenario is played.
    pub play: Play,
    /// The forced order of events.
    pub order: Order,
    /// The server.
    pub setting: Setting,
    /// The correct verdicts. A single one must be certain, if it can be.
    pub verdicts: &'static [Kind],
    /// Whether the server gets the client's FIN, if the order determines it.
    pub fin: Option<bool>,
    /// Whether bytes of the reply stay unacknowledged, if the order determines it.
    pub lost: Option<bool>,
    /// The packets after the client's last act.
    pub then: &'static str,
    /// The expected packets.
    pub on_wire: Expectation,
    /// The reason for the verdict.
    pub why: &'static str,
    /// The scenario with the same packets.
    pub same_as: Option<&'static str>,
}

impl Scenario {
    /// "S3" of "S3 FIN first".
    pub fn number(&self) -> &'static str {
        self.id.split(' ').next().unwrap_or(self.id)
    }

    /// What the client does, in a sentence.
    pub fn client(&self) -> String {
        let says = match self.play {
            Play::Way(way) => way.says(),
            Play::Skip { client, .. } => client,
        };
        match self.order.says() {
            "" => says.to_owned(),
            order => format!("{says} ({order})"),
        }
    }

    /// The script, with the act that its order adds.
    pub fn script(&self) -> Vec<Act> {
        let Play::Way(way) = self.play else { return Vec::new() };
        let mut script = way.script().to_vec();
        if self.order == Order::ReplyFirst {
            script.insert(script.len() - 1, Act::Hold);
        }
        script
    }
}

/// All scenarios, the article's five experiments first.
pub fn all() -> &'static [Scenario] {
    all::ALL
}

/// The scenarios that a word selects, in their order: all with that number, or the one with that
/// id. If there is neither, the word is a number without its letter: S13 is S13a and S13b.
pub fn named(word: &str) -> Vec<&'static Scenario> {
    let readings: [fn(&Scenario) -> &'static str; 3] = [
        Scenario::number,
        |it| it.id,
        |it| it.number().trim_end_matches(|letter: char| letter.is_ascii_lowercase()),
    ];
    let meant = |reading: fn(&Scenario) -> &'static str| -> Vec<&'static Scenario> {
        all().iter().filter(|it| reading(it).eq_ignore_ascii_case(word)).collect()
    };
    readings.map(meant).into_iter().find(|meant| !meant.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_experiments_stand_first_in_their_order() {
        let numbers: Vec<_> = all().iter().map(|row| row.experiment.map(|e| e.number)).collect();
        assert_eq!(numbers[..5], [Some(1), Some(2), Some(3), Some(4), Some(5)]);
        assert!(numbers[5..].iter().all(Option::is_none));
    }

    #[test]
    fn ids_are_unique_and_no_comma_is_in_them_and_same_ones_came_before() {
        for (index, row) in all().iter().enumerate() {
            let earlier = &all()[..index];
            assert!(earlier.iter().all(|other| other.id != row.id), "{}", row.id);
            assert!(!row.id.contains(','), "{}", row.id);
            let Some(same) = row.same_as else { continue };
            let first = earlier.iter().find(|other| other.id == same).expect(row.id);
            assert_eq!((first.verdicts, first.same_as), (row.verdicts, None), "{}", row.id);
        }
    }

    /// The expected packets are separate data, and must agree with the verdicts.
    #[test]
    fn the_expected_packets_agree_with_the_verdicts() {
        for row in all().iter().filter(|row| matches!(row.play, Play::Way(_))) {
            let Expectation { client, server, .. } = row.on_wire;
            let raced = row.order == Order::Race;
            assert!(raced || client.fin.is_some() && server.fin.is_some(), "{}", row.id);
            assert!(row.fin.is_none() || row.fin == client.fin, "{}", row.id);
            let resets = |name: &str| row.verdicts.iter().all(|kind| kind.name().contains(name));
            let by_client = resets("reset") || resets("refused") || resets("discarded") || raced;
            // The server closed first; the client's answer does not affect the verdict.
            let drained = row.order == Order::ServerFirst;
            assert!(drained || client.rst == Some(by_client), "{}", row.id);
            assert_eq!(server.rst, Some(resets("write_stall")), "{}", row.id);
            assert_eq!(
                row.then.ends_with("→ RST"),
                row.lost == Some(true) && client.fin == Some(true) || raced,
                "{}",
                row.id
            );
            let same = all().iter().find(|first| row.same_as == Some(first.id));
            assert!(same.is_none_or(|first| first.on_wire == row.on_wire), "{}", row.id);
        }
    }

    #[test]
    fn a_word_selects_a_number_or_an_id_or_a_number_with_any_letter() {
        let ids = |word| named(word).iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(ids("s1"), ["S1"], "and not S1c");
        assert_eq!(ids("S2"), ["S2", "S2 recv loop", "S2 Linux"]);
        assert_eq!(ids("s2 LINUX"), ["S2 Linux"]);
        assert_eq!(ids("S3").len(), 4);
        assert_eq!(ids("S7B"), ["S7b"]);
        assert_eq!(ids("S13"), ["S13a", "S13b"]);
        assert_eq!(ids("S10"), ["S10a", "S10b", "S10c", "S10h"]);
        for nothing in ["", "S", "S99", "S13c", "S2 ", "13"] {
            assert_eq!(ids(nothing), [""; 0], "{nothing:?}");
        }
    }

    #[test]
    fn each_way_has_its_row() {
        for way in Way::all() {
            let played = |row: &Scenario| matches!(row.play, Play::Way(it) if it == way);
            assert!(all().iter().any(played), "{}", way.name());
        }
    }
}
