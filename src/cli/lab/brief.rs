//! Short descriptions of the clients, so that a row fits on one line.

use crate::client::Way;
use crate::lab::{self, Order, Play, Row};

/// The client of a row. For an unknown scenario it is the text of the report.
pub(super) fn client(row: &Row) -> &str {
    of(&row.id).unwrap_or(&row.client)
}

/// The client of a scenario, in at most 24 columns unless it is skipped; `None` for an unknown id.
pub(super) fn of(id: &str) -> Option<&'static str> {
    let scenario = lab::all().iter().find(|scenario| scenario.id == id)?;
    Some(match (scenario.play, scenario.order) {
        (Play::Skip { client, .. }, _) => client,
        (Play::Way(Way::Silent), Order::ServerFirst) => "reads; the server stops",
        (Play::Way(Way::SilentReset), Order::ServerFirst) => "unread; server stops",
        // The id is long, and has the rest of the description.
        (Play::Way(way), _) if id.contains(' ') => briefest(way),
        (Play::Way(way), _) => brief(way),
    })
}

fn brief(way: Way) -> &'static str {
    match way {
        Way::Close => "reads the reply, closes",
        Way::CloseUnread => "closes, reply unread",
        Way::CloseAtOnce => "sends, closes at once",
        Way::CloseAtOnceTwo => "sends two, closes",
        Way::Reset => "reads the reply, resets",
        Way::CloseHalfRead => "closes, reply half read",
        Way::HalfClose => "half-closes, reads on",
        Way::HalfCloseDiscard => "half-closes, reads none",
        Way::HalfCloseDiscardLate => "half-closes, ends late",
        Way::Probe => "connects, closes",
        Way::ProbeReset => "connects, resets",
        Way::ResetAtOnce => "sends, resets at once",
        Way::Silent => "reads, then is silent",
        Way::SilentReset => "unread, then is silent",
        Way::Killed => "reads, is killed",
        Way::KilledUnread => "is killed, reply unread",
        Way::CloseFull => "fills buffers, closes",
        Way::HalfCloseFull => "fills all, half-closes",
        Way::ShutDownRead => "shuts down reading",
        Way::ShutDownBoth => "shuts down both sides",
        Way::Stall => "sends, never reads",
    }
}

/// In at most 14 columns, for rows whose id has the rest.
fn briefest(way: Way) -> &'static str {
    match way {
        Way::CloseUnread => "closes, unread",
        Way::CloseAtOnce => "closes at once",
        Way::CloseAtOnceTwo => "closes at once",
        way => brief(way),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fit;

    /// The widest verdict leaves 29 of 80 columns.
    #[test]
    fn each_id_and_its_client_fit_on_a_line_of_80_columns() {
        for way in Way::all() {
            assert!(fit::width(brief(way)) <= 24, "{}", way.name());
        }
        for scenario in lab::all() {
            let Play::Way(way) = scenario.play else { continue };
            if scenario.id.contains(' ') {
                let line = format!("{} {}", scenario.id, briefest(way));
                assert!(fit::width(&line) <= 29, "{line}");
            } else {
                assert!(fit::width(scenario.id) <= 4, "{}", scenario.id);
            }
        }
    }
}
