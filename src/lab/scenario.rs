//! The table of scenarios: what the client does, in which order, and what has to come of it.

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
    /// What the article saw.
    pub found: &'static str,
    /// What its server's last recv said, as Linux writes it.
    pub recv: &'static str,
}

/// What is played.
#[derive(Clone, Copy, Debug)]
pub enum Play {
    /// This way of ending a connection.
    Way(Way),
    /// Nothing, for a reason; and what the client would do.
    Skip {
        /// What the client would do.
        client: &'static str,
        /// What it needs that is not here.
        needs: &'static str,
    },
}

/// Which order of events is forced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The script's own: the server acts when the client waits for it, or is done.
    AsPlayed,
    /// The client is accepted before it does anything.
    AcceptedFirst,
    /// The client is done before it is accepted.
    ClientFirst,
    /// The reply is in the client's receive queue before it closes.
    ReplyFirst,
    /// The server is told to stop, and sends its FIN before the client ends.
    ServerFirst,
    /// None: both sides run freely.
    Race,
}

impl Order {
    /// In words, for the table; empty where the script says it all.
    pub fn says(self) -> &'static str {
        match self {
            Order::AsPlayed => "",
            Order::AcceptedFirst => "after accept",
            Order::ClientFirst => "before accept",
            Order::ReplyFirst => "when the reply is there",
            Order::ServerFirst => "the server is drained first",
            Order::Race => "a race",
        }
    }

    /// How it is forced.
    pub fn how(self) -> &'static str {
        match self {
            Order::AsPlayed => "the server's turns are taken only while the client waits",
            Order::AcceptedFirst => "the server takes turns until it has accepted",
            Order::ClientFirst => "the server takes no turn before the client is done",
            Order::ReplyFirst => "the server takes turns until its reply is there",
            Order::ServerFirst => "the server is told to stop when the client waits for its end",
            Order::Race => "it is not: both run freely, --repeat N times",
        }
    }
}

/// Which server it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// The one that all share.
    Shared,
    /// One of its own: it is drained.
    Own,
    /// One of its own that reads a request at a time, and one in a visit.
    Sips,
    /// One of its own that looks often at output that nobody takes.
    Full,
    /// One of its own that has time for output that nobody takes for a while.
    Filled,
}

/// A way to end a connection, and what has to come of it.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its number in docs/CLOSING.md, and a word where there are several of it.
    pub id: &'static str,
    /// The article's experiment, if it is one.
    pub experiment: Option<Experiment>,
    /// What is played.
    pub play: Play,
    /// In which order.
    pub order: Order,
    /// Beside which server.
    pub setting: Setting,
    /// The verdicts that are right. Where there is one, it has to be certain, if it can be.
    pub verdicts: &'static [Kind],
    /// Whether the server gets the client's FIN, where that is settled.
    pub fin: Option<bool>,
    /// Whether bytes of the reply are left without acknowledgement, where that is settled.
    pub lost: Option<bool>,
    /// What goes over the wire after the client's last act.
    pub then: &'static str,
    /// What a capture of it has to show.
    pub on_wire: Expectation,
    /// Why it is that verdict.
    pub why: &'static str,
    /// Which scenario looks the same on the wire.
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

    /// The script, with what its order puts in.
    pub fn script(&self) -> Vec<Act> {
        let Play::Way(way) = self.play else { return Vec::new() };
        let mut script = way.script().to_vec();
        if self.order == Order::ReplyFirst {
            script.insert(script.len() - 1, Act::Hold);
        }
        script
    }
}

/// All of them, the article's five experiments first.
pub fn all() -> &'static [Scenario] {
    all::ALL
}

/// Those that a word means, in their order: all with that number, or the one of that name. Where
/// there is neither, the word is a number without its letter: S13 is S13a and S13b.
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

    /// What the wire has to show is data of its own: it says the same as the verdicts do.
    #[test]
    fn what_is_expected_on_the_wire_is_in_step_with_everything_else() {
        for row in all().iter().filter(|row| matches!(row.play, Play::Way(_))) {
            let Expectation { client, server, .. } = row.on_wire;
            let raced = row.order == Order::Race;
            assert!(raced || client.fin.is_some() && server.fin.is_some(), "{}", row.id);
            assert!(row.fin.is_none() || row.fin == client.fin, "{}", row.id);
            let resets = |name: &str| row.verdicts.iter().all(|kind| kind.name().contains(name));
            let by_client = resets("reset") || resets("refused") || resets("discarded") || raced;
            // Our own end of it was first; what the client answers is beside the verdict.
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
    fn a_word_means_a_number_or_a_name_or_a_number_with_any_letter() {
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
