//! The text format of HdrHistogram's own programs, which its plotter reads.

use std::fmt::Write;

use super::Latency;

/// Lines for each halving of the distance to 100 %: HdrHistogram's own default.
const LINES_PER_HALVING: u32 = 5;

impl Latency {
    /// The percentile distribution (`.hgrm`), in milliseconds: what `outputPercentileDistribution`
    /// of HdrHistogram prints for nanoseconds with a scaling ratio of a million, with three more
    /// decimal places, because many latencies on a loopback are a few microseconds.
    pub fn to_hgrm(&self) -> String {
        let mut text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n".to_owned();
        let mut total = 0;
        for step in self.0.iter_quantiles(LINES_PER_HALVING) {
            total += step.count_since_last_iteration();
            let (value, quantile) =
                (ms(step.value_iterated_to() as f64), step.quantile_iterated_to());
            // Writing to memory does not fail.
            let _ = write!(text, "{value:12.6} {quantile:14.12} {total:10}");
            if quantile < 1.0 {
                let _ = write!(text, " {:14.2}", 1.0 / (1.0 - quantile));
            }
            text.push('\n');
        }
        let (mean, stddev, max) = (ms(self.0.mean()), ms(self.0.stdev()), ms(self.0.max() as f64));
        let buckets = usize::from(self.0.buckets());
        let halves = self.0.distinct_values() / (buckets + 1);
        let _ = writeln!(text, "#[Mean    = {mean:12.6}, StdDeviation   = {stddev:12.6}]");
        let _ = writeln!(text, "#[Max     = {max:12.6}, Total count    = {:12}]", self.count());
        let _ = writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {:12}]", halves * 2);
        text
    }
}

fn ms(ns: f64) -> f64 {
    ns / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of numbers, as HdrHistogram's plotter parses them: separated by blanks, without
    /// lines that begin with `#`.
    fn rows(text: &str) -> Vec<Vec<f64>> {
        let lines = text.lines().skip(2).filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect())
            .collect()
    }

    #[test]
    fn it_has_the_form_that_hdrhistogram_prints() {
        let mut latency = Latency::default();
        (1..=1000).for_each(|us| latency.record(us * 1000));
        let text = latency.to_hgrm();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        assert_eq!(lines[2], "    0.001000 0.000000000000          1           1.00");
        let footer = &lines[lines.len() - 3..];
        assert!(footer[0].starts_with("#[Mean    =     0.50"), "{text}");
        assert!(footer[0].contains(", StdDeviation   =     0.288"), "{text}");
        assert!(footer[1].ends_with(", Total count    =         1000]"), "{text}");
        assert!(footer[1].starts_with("#[Max     =     1.000"), "{text}");
        assert!(footer[2].ends_with(", SubBuckets     =         2048]"), "{text}");

        let rows = rows(&text);
        let (last, others) = rows.split_last().unwrap();
        assert_eq!((last[1], last[2], last.len()), (1.0, 1000.0, 3), "no 1/0: {text}");
        assert!(others.iter().all(|row| row.len() == 4), "{text}");
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] < b[1] && a[2] <= b[2]), "{text}");
        let median = rows.iter().find(|row| row[1] == 0.5).unwrap();
        assert!((median[0] - 0.5).abs() < 0.001 && (median[3] - 2.0).abs() < 0.001, "{text}");
    }

    #[test]
    fn an_empty_one_is_a_header_and_a_footer() {
        let text = Latency::default().to_hgrm();
        assert!(rows(&text).is_empty() && text.lines().count() == 5, "{text}");
        assert!(text.contains("Total count    =            0]"), "{text}");
    }
}
