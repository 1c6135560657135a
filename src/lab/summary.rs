//! Summary of the changes by a proxy, in groups. It is computed from the report alone.

use super::report::{Change, ClientView, LabReport, Log, Row, RowOutcome, Via};
use super::scenario::{Play, all};
use crate::client::Act;
use crate::machine::close::Kind;

/// A kind of change that a proxy makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The client resets, and the server behind the proxy gets a FIN.
    ResetBecomesFin,
    /// The client sends a FIN, and the server behind the proxy gets a reset.
    FinBecomesReset,
    /// The client refuses or discards the reply, and to the server behind the proxy it looks
    /// delivered.
    RefusalHidden,
    /// The client shuts down its sending side, and does not get the whole reply.
    HalfCloseLosesReply,
    /// A client that sends no FIN before its reply arrives does not get the whole reply.
    ReplyLost,
    /// The client sees a FIN instead of the server's reset, a reset instead of its FIN, or no end.
    EndChanged,
    /// The server's deadline ends the direct connection; through the proxy it ends for another
    /// reason.
    DeadlineChanged,
    /// The server never gets a connection.
    NeverArrives,
    /// Any other change.
    Other,
}

impl Effect {
    /// In a few words.
    pub fn says(self) -> &'static str {
        match self {
            Effect::ResetBecomesFin => "resets become FINs",
            Effect::FinBecomesReset => "FINs become resets",
            Effect::RefusalHidden => "refused reply is hidden",
            Effect::HalfCloseLosesReply => "half-close loses reply",
            Effect::ReplyLost => "reply is lost",
            Effect::EndChanged => "client sees another end",
            Effect::DeadlineChanged => "deadline does not end it",
            Effect::NeverArrives => "server sees no client",
            Effect::Other => "other changes",
        }
    }

    /// Whether the effect could show in this row.
    fn can_be_in(self, pair: &Pair<'_>) -> bool {
        match self {
            Effect::ResetBecomesFin => pair.direct("peer_reset."),
            Effect::FinBecomesReset => pair.direct("peer_fin."),
            Effect::RefusalHidden => REFUSALS.iter().any(|kind| pair.direct(kind.name())),
            Effect::HalfCloseLosesReply => pair.half_closes() && pair.expects_reply(),
            Effect::ReplyLost => !pair.half_closes() && pair.expects_reply(),
            // The end that the client sees in a race depends on chance.
            Effect::EndChanged => {
                pair.row.race.is_none() && pair.seen().is_some_and(|seen| seen.end.is_some())
            }
            Effect::DeadlineChanged => pair.direct("timeout."),
            Effect::NeverArrives => pair.row.verdict.is_some(),
            Effect::Other => true,
        }
    }

    /// Whether it shows there.
    fn is_in(self, pair: &Pair<'_>) -> bool {
        self.can_be_in(pair)
            && match self {
                Effect::ResetBecomesFin => pair.through("peer_fin."),
                Effect::FinBecomesReset => pair.through("peer_reset."),
                Effect::RefusalHidden => claims_delivery(pair.via.verdict.as_deref()),
                Effect::HalfCloseLosesReply | Effect::ReplyLost => pair.via.change == Change::Lost,
                Effect::EndChanged => pair.seen().and_then(|it| it.end) != pair.via.seen.end,
                Effect::DeadlineChanged => pair.via.verdict.is_some() && !pair.through("timeout."),
                Effect::NeverArrives => pair.via.log == Some(Log::NeverSeen),
                Effect::Other => false,
            }
    }
}

/// The effects in the order of the summary.
const EFFECTS: [Effect; 8] = [
    Effect::ResetBecomesFin,
    Effect::FinBecomesReset,
    Effect::RefusalHidden,
    Effect::HalfCloseLosesReply,
    Effect::ReplyLost,
    Effect::EndChanged,
    Effect::DeadlineChanged,
    Effect::NeverArrives,
];

/// The verdicts for a reply that the client's TCP refused after its FIN.
const REFUSALS: [Kind; 2] = [Kind::PeerFinReplyRefused, Kind::PeerFinReplyDiscarded];

/// The rows with the same change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The effect.
    pub effect: Effect,
    /// The scenarios in which it was found, in the order of the table.
    pub ids: Vec<String>,
    /// The number of rows in which it could occur; for [`Effect::Other`] all compared rows.
    pub of: usize,
}

/// The number of connections that the server reports as delivered although the client had not read
/// the reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claims {
    /// Directly.
    pub direct: usize,
    /// Through the proxy.
    pub via: usize,
}

/// What a proxy changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The number of rows that could be compared.
    pub compared: usize,
    /// The number of rows that are the same through the proxy.
    pub same: usize,
    /// The number of rows in which a reply is lost.
    pub lost: usize,
    /// The changes; a row may be in several.
    pub groups: Vec<Group>,
    /// Replies reported as delivered and not read, if the server's verdicts are known.
    pub claims: Option<Claims>,
}

/// The changes by the proxy of this report; `None` without a proxy.
pub fn changes(report: &LabReport) -> Option<Summary> {
    report.via.as_ref()?;
    let pairs: Vec<Pair<'_>> = report.rows.iter().filter_map(Pair::of).collect();
    let group = |effect: Effect| {
        let found = pairs.iter().filter(|pair| pair.is_changed() && effect.is_in(pair));
        let ids: Vec<String> = found.map(|pair| pair.row.id.clone()).collect();
        let of = pairs.iter().filter(|pair| effect.can_be_in(pair)).count();
        (!ids.is_empty()).then_some(Group { effect, ids, of })
    };
    let mut groups: Vec<Group> = EFFECTS.into_iter().filter_map(group).collect();
    let named = |pair: &Pair<'_>| groups.iter().any(|group| group.ids.contains(&pair.row.id));
    let others: Vec<String> = pairs
        .iter()
        .filter(|pair| pair.is_changed() && !named(pair))
        .map(|pair| pair.row.id.clone())
        .collect();
    if !others.is_empty() {
        groups.push(Group { effect: Effect::Other, ids: others, of: pairs.len() });
    }
    let is_observed = pairs.iter().any(|pair| pair.via.verdict.is_some());
    let claims = || Claims {
        direct: pairs.iter().filter(|pair| pair.claims(&pair.row.verdict, pair.seen())).count(),
        via: pairs.iter().filter(|it| it.claims(&it.via.verdict, Some(&it.via.seen))).count(),
    };
    Some(Summary {
        compared: pairs.len(),
        same: pairs.iter().filter(|pair| !pair.is_changed()).count(),
        lost: pairs.iter().filter(|pair| pair.via.change == Change::Lost).count(),
        groups,
        claims: is_observed.then(claims),
    })
}

/// Whether this verdict means that the whole reply was delivered.
fn claims_delivery(verdict: Option<&str>) -> bool {
    let kinds = [Kind::PeerFinDelivered, Kind::PeerFinHalfCloseServed];
    kinds.iter().any(|kind| verdict == Some(kind.name()))
}

/// Whether both runs of this row have results and were compared. A connection that the server never
/// accepted is a result as well.
pub fn is_compared(row: &Row) -> bool {
    let is_known = |via: &Via| via.note.is_none() || via.log == Some(Log::NeverSeen);
    let via = row.via.as_ref().filter(|via| is_known(via));
    match row.outcome {
        RowOutcome::Skipped => false,
        // A row that failed through the proxy is not the same there.
        RowOutcome::Failed => via.is_some_and(|via| via.change != Change::Same),
        RowOutcome::Ok | RowOutcome::Same => via.is_some(),
    }
}

/// Whether the row counts in the summary: if it was compared, or if the client lost its reply,
/// whatever the server reports.
fn counts(row: &Row) -> bool {
    is_compared(row) || row.via.as_ref().is_some_and(|via| via.change == Change::Lost)
}

/// A row that was compared.
struct Pair<'a> {
    row: &'a Row,
    via: &'a Via,
    script: Vec<Act>,
}

impl<'a> Pair<'a> {
    fn of(row: &'a Row) -> Option<Pair<'a>> {
        let via = row.via.as_ref().filter(|_| counts(row))?;
        let scenario = all().iter().find(|scenario| scenario.id == row.id);
        let played = scenario.filter(|scenario| matches!(scenario.play, Play::Way(_)));
        Some(Pair { row, via, script: played.map(|it| it.script()).unwrap_or_default() })
    }

    fn is_changed(&self) -> bool {
        self.via.change != Change::Same
    }

    fn seen(&self) -> Option<&ClientView> {
        self.row.seen.as_ref()
    }

    /// Whether the server's verdict of the direct run begins with `begin`.
    fn direct(&self, begin: &str) -> bool {
        self.row.verdict.as_deref().is_some_and(|verdict| verdict.starts_with(begin))
    }

    /// Whether the server's verdict of the run through the proxy begins with `begin`.
    fn through(&self, begin: &str) -> bool {
        self.via.verdict.as_deref().is_some_and(|verdict| verdict.starts_with(begin))
    }

    /// Whether the client shuts down its sending side, and may read on.
    fn half_closes(&self) -> bool {
        self.script.contains(&Act::ShutDownWrite)
            || self.script.is_empty() && self.direct(Kind::PeerFinHalfCloseServed.name())
    }

    fn expects_reply(&self) -> bool {
        let got =
            |seen: &ClientView| seen.bytes > 0 || seen.reply.is_some_and(|reply| reply.of > 0);
        self.seen().is_some_and(got)
    }

    /// Whether the server reports a reply as delivered that the client did not read completely.
    fn claims(&self, verdict: &Option<String>, seen: Option<&ClientView>) -> bool {
        let reads = |act: &Act| matches!(act, Act::Read | Act::ReadToEnd);
        let is_unread = !self.script.is_empty() && !self.script.iter().any(reads);
        let is_short = seen.and_then(|seen| seen.reply).is_some_and(|reply| reply.missing() > 0);
        claims_delivery(verdict.as_deref()) && (is_unread || is_short)
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{Reply, SeenEnd, ServerRow, WireSource};
    use super::*;

    fn seen(got: u64, end: Option<SeenEnd>) -> ClientView {
        let reply = Some(Reply { got, of: 37 });
        ClientView { bytes: got, reply, end, end_us: Some(400), in_vain: None, serves: true }
    }

    /// A row: its scenario, both verdicts, what came of 37 bytes through the proxy, the change.
    fn row(id: &str, verdicts: [Option<Kind>; 2], got: u64, change: Change) -> Row {
        let [verdict, through] = verdicts.map(|kind| kind.map(|kind| kind.name().to_owned()));
        let via = Via {
            wire: String::new(),
            seen: seen(got, Some(SeenEnd::Fin)),
            verdict: through,
            evidence: None,
            log: None,
            race: None,
            change,
            differs: Vec::new(),
            note: None,
        };
        let direct = Some(seen(37, Some(SeenEnd::Fin)));
        let scenario = all().iter().find(|scenario| scenario.id == id).unwrap();
        Row { verdict, seen: direct, via: Some(via), ..Row::of(scenario) }
    }

    fn summary(rows: Vec<Row>) -> Summary {
        let server = ServerRow {
            address: String::new(),
            alive: true,
            echoes: Some(true),
            died_of: Vec::new(),
            hung_in: Vec::new(),
            deadline_ms: None,
        };
        let via = Some(server.clone());
        let (wire, connections) = (WireSource::Expected, Vec::new());
        changes(&LabReport { server, via, wire, planned: None, rows, connections }).unwrap()
    }

    fn groups(rows: Vec<Row>) -> Vec<(Effect, Vec<String>, usize)> {
        summary(rows).groups.into_iter().map(|it| (it.effect, it.ids, it.of)).collect()
    }

    const DELIVERED: Kind = Kind::PeerFinDelivered;
    const ACKED: Kind = Kind::PeerResetReplyAcked;

    /// Regression: it was a difference in the JSON, and "nothing changes" in the table.
    #[test]
    fn a_connection_that_the_server_never_accepted_is_a_change() {
        let mut unseen = row("S7", [Some(Kind::PeerFinProbe), None], 0, Change::Differs);
        let via = unseen.via.as_mut().unwrap();
        (via.log, via.note) = (Some(Log::NeverSeen), Some("the server never accepted it".into()));
        assert!(is_compared(&unseen));
        assert_eq!(groups(vec![unseen]), [(Effect::NeverArrives, vec!["S7".to_owned()], 1)]);
    }

    /// Regression: it was counted below the table, and not above.
    #[test]
    fn a_reply_that_is_lost_counts_though_the_verdict_is_not_known() {
        let mut lost = row("S6", [Some(DELIVERED), None], 0, Change::Lost);
        let via = lost.via.as_mut().unwrap();
        (via.log, via.note) = (Some(Log::NoLineYet), Some("no line yet".into()));
        lost.outcome = RowOutcome::Skipped;
        assert_eq!(summary(vec![lost]).lost, 1);
    }

    #[test]
    fn resets_that_become_fins_are_counted_among_all_resets() {
        let fin = |id| row(id, [Some(ACKED), Some(DELIVERED)], 37, Change::Differs);
        let passed = row("S5", [Some(ACKED), Some(ACKED)], 37, Change::Same);
        let clean = row("S1", [Some(DELIVERED), Some(DELIVERED)], 37, Change::Same);
        let all = summary(vec![fin("S2"), passed, clean, fin("S4")]);
        let ids = vec!["S2".to_owned(), "S4".to_owned()];
        let expected = Group { effect: Effect::ResetBecomesFin, ids, of: 3 };
        assert_eq!((all.groups, all.compared, all.same), (vec![expected], 4, 2));
        // S4 reads its reply before it resets, S2 does not.
        assert_eq!(all.claims, Some(Claims { direct: 0, via: 1 }));
    }

    #[test]
    fn a_reply_lost_after_a_half_close_has_a_group_of_its_own() {
        let served = Some(Kind::PeerFinHalfCloseServed);
        let lost = row("S6", [served, Some(Kind::PeerFinReplyRefused)], 0, Change::Lost);
        let kept = row("S15b", [served, served], 37, Change::Same);
        let other = row("S1", [Some(DELIVERED), Some(DELIVERED)], 12, Change::Lost);
        let all = summary(vec![other, lost, kept]);
        assert_eq!(all.groups.len(), 2, "{all:?}");
        let told = all.groups.iter().map(|it| (it.effect, &*it.ids[0], it.of));
        let expected = [(Effect::HalfCloseLosesReply, "S6", 2), (Effect::ReplyLost, "S1", 1)];
        assert_eq!(told.collect::<Vec<_>>(), expected);
        assert_eq!(all.claims, Some(Claims { direct: 0, via: 1 }), "S1 got 12 of 37 bytes");
    }

    #[test]
    fn a_refusal_that_the_proxy_hides_is_a_group() {
        let refused = [Some(Kind::PeerFinReplyDiscarded), Some(Kind::PeerFinHalfCloseServed)];
        let all = groups(vec![row("S6b", refused, 37, Change::Differs)]);
        assert_eq!(all, [(Effect::RefusalHidden, vec!["S6b".to_owned()], 1)]);
    }

    #[test]
    fn a_change_without_a_group_is_another_change() {
        let mut late = row("S9", [None, None], 37, Change::Differs);
        let all = summary(vec![late.clone()]);
        assert_eq!(all.groups[0].effect, Effect::Other);
        assert_eq!(all.claims, None, "nothing is known of the server's verdicts");
        late.via.as_mut().unwrap().seen.end = Some(SeenEnd::Reset);
        assert_eq!(groups(vec![late])[0].0, Effect::EndChanged);
    }

    #[test]
    fn a_row_that_was_not_compared_is_in_no_group() {
        let mut unknown = row("S2", [Some(ACKED), None], 37, Change::Differs);
        unknown.outcome = RowOutcome::Skipped;
        let all = summary(vec![unknown]);
        assert_eq!((all.compared, all.groups.len()), (0, 0));
    }
}
