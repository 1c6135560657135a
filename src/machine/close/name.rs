//! Names of verdicts as text: `Display` and `FromStr` for [`Kind`], [`Certainty`], [`Initiator`].

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use super::{Certainty, Initiator, Kind};

/// A text that is none of the names of a [`Kind`], a [`Certainty`] or an [`Initiator`].
///
/// ```
/// use closecall::Kind;
///
/// let error = "peer_fin.deliverd".parse::<Kind>().unwrap_err();
/// assert_eq!(error.to_string(), r#""peer_fin.deliverd" is not the name of a verdict"#);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownName {
    name: String,
    of: &'static str,
}

impl UnknownName {
    /// The text that was to be a name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not the name of {}", self.name, self.of)
    }
}

impl Error for UnknownName {}

/// What has the name `name`, among `all`.
fn named<T>(
    all: impl IntoIterator<Item = T>,
    name_of: impl Fn(&T) -> &'static str,
    name: &str,
    of: &'static str,
) -> Result<T, UnknownName> {
    let found = all.into_iter().find(|it| name_of(it) == name);
    found.ok_or_else(|| UnknownName { name: name.to_owned(), of })
}

/// The [stable name](Kind::name).
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Kind, UnknownName> {
        named(Kind::all(), |kind| kind.name(), name, "a verdict")
    }
}

/// The [name](Certainty::name) in the close log.
impl fmt::Display for Certainty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Certainty {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Certainty, UnknownName> {
        named(Certainty::ALL, |certainty| certainty.name(), name, "a certainty")
    }
}

/// The [name](Initiator::name) in the close log.
impl fmt::Display for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Initiator {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Initiator, UnknownName> {
        named(Initiator::ALL, |initiator| initiator.name(), name, "an initiator")
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};

    use super::*;

    /// Each is read as it is written, and no two are written alike.
    #[track_caller]
    fn are_told_apart<T>(all: impl IntoIterator<Item = T>, count: usize)
    where
        T: Display + FromStr<Err = UnknownName> + PartialEq + Debug,
    {
        let mut names = Vec::new();
        for value in all {
            let name = value.to_string();
            assert_eq!(name.parse(), Ok(value), "{name}");
            assert!(!names.contains(&name), "{name}");
            names.push(name);
        }
        assert_eq!(names.len(), count);
    }

    #[test]
    fn each_name_is_read_as_it_is_written() {
        are_told_apart(Kind::all(), Kind::COUNT);
        are_told_apart(Certainty::ALL, 3);
        are_told_apart(Initiator::ALL, 4);
        assert_eq!(
            format!("{:>8}|{:<8}|", Certainty::Likely, Initiator::Peer),
            "  likely|peer    |"
        );
    }

    #[test]
    fn a_name_that_is_none_is_in_the_error() {
        for name in ["", "peer", "Certain", "certain ", "peer_fin.delivered\u{1b}[2J"] {
            let error = name.parse::<Kind>().unwrap_err();
            assert_eq!(error.name(), name);
            assert_eq!(format!("{error}"), format!("{name:?} is not the name of a verdict"));
        }
        let error = "Certain".parse::<Certainty>().unwrap_err();
        assert_eq!(format!("{error}"), r#""Certain" is not the name of a certainty"#);
        let error = "peer_fin".parse::<Initiator>().unwrap_err();
        assert_eq!(format!("{error}"), r#""peer_fin" is not the name of an initiator"#);
    }
}
