//! Values of `closecall read`.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::{expect, number};
use crate::machine::close::Kind;
use crate::wire::Role;

/// Each connection has some 600 bytes.
const FLOWS_MAX: usize = 1 << 26;

/// What `--only` stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Only(String);

impl Only {
    /// Whether it names this verdict, or its family.
    pub(in crate::cli) fn fits(&self, kind: Kind) -> bool {
        let rest = kind.name().strip_prefix(&*self.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl ValueEnum for Role {
    fn value_variants<'a>() -> &'a [Role] {
        &[Role::Server, Role::Client]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Role::Server => "server",
            Role::Client => "client",
        }))
    }
}

/// `--only` of `read`: the name of a verdict, or of a family of them.
pub(in crate::cli) fn only(text: &str) -> Result<Only, String> {
    let only = Only(text.to_owned());
    let value = Kind::all().any(|kind| only.fits(kind)).then_some(only);
    let mut names: Vec<_> =
        Kind::all().map(|kind| kind.name().split('.').next().unwrap_or_default()).collect();
    names.dedup();
    expect(value, &format!("the name of a verdict, or one of {}", names.join(", ")))
}

/// `--port` of `read`.
pub(in crate::cli) fn port(text: &str) -> Result<u16, String> {
    expect(number(text, 1..=u16::MAX), "a port from 1 to 65535")
}

/// `--max-flows`.
pub(in crate::cli) fn flows(text: &str) -> Result<usize, String> {
    expect(number(text, 1..=FLOWS_MAX), &format!("a number from 1 to {FLOWS_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_chosen_by_name_or_family() {
        let fits = |text: &str, kind| only(text).unwrap().fits(kind);
        assert!(fits("peer_reset", Kind::PeerResetStale));
        assert!(fits("peer_reset.stale", Kind::PeerResetStale) && fits("open", Kind::Open));
        assert!(!fits("local", Kind::LocalFinDelivered), "another family");
        assert!(fits("local", Kind::LocalDrain));
        for wrong in ["", "peer", "peer_reset.", "stale", "peer_reset.stal"] {
            let error = only(wrong).unwrap_err();
            assert!(error.contains("peer_fin, peer_reset, timeout, local_fin"), "{error}");
        }
    }
}
