//! The objective of a search for the highest rate: conditions that must all hold.

use std::fmt;

use super::condition::{Condition, Unit};

/// One or more conditions that must all hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Objective(Vec<Condition>);

impl Objective {
    /// Parses `text`: conditions with commas between them, each of which is an upper bound. A low
    /// rate meets the objective, and a rate that is too high does not.
    ///
    /// # Errors
    /// What is wrong with the text, and what is allowed.
    pub fn parse(text: &str) -> Result<Objective, String> {
        let conditions =
            text.split(',').map(|part| {
                let condition = Condition::parse(part)?;
                if condition.unit() == Unit::PerSecond {
                    return Err(
                        "the rate is the result of the search: expected other metrics".to_owned()
                    );
                }
                match condition.is_upper_bound() {
                    true if condition.is_out_of_reach() => {
                        Err(format!("no run can meet '{condition}': expected a higher bound"))
                    }
                    true => Ok(condition),
                    false => Err("an objective is an upper bound: expected < or <=, as in p99<5ms"
                        .to_owned()),
                }
            });
        Ok(Objective(conditions.collect::<Result<_, String>>()?))
    }

    /// Its conditions.
    pub fn conditions(&self) -> &[Condition] {
        &self.0
    }

    /// Whether one of its conditions is on this metric.
    pub fn bounds(&self, metric: &str) -> bool {
        self.0.iter().any(|condition| condition.metric() == metric)
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.0.iter().enumerate() {
            write!(f, "{}{condition}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_is_made_of_upper_bounds() {
        let objective = Objective::parse("p99 < 5ms, errors<=0").unwrap();
        assert_eq!(objective.to_string(), "p99<5ms,errors<=0");
        let metrics: Vec<_> = objective.conditions().iter().map(Condition::metric).collect();
        assert_eq!(metrics, ["p99", "errors"]);
        for (text, named) in [
            ("p99>5ms", "expected < or <="),
            ("p99<5ms,max>=1s", "expected < or <="),
            ("rate<=5", "is the result of the search"),
            ("p99<5ms,", "expected one of <"),
            ("p99<0ms", "no run can meet 'p99<0ms'"),
            ("p99<5ms,max<=0s", "no run can meet 'max<=0s'"),
            ("errors<0", "no run can meet 'errors<0'"),
        ] {
            let error = Objective::parse(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
