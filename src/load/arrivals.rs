//! Requests at random moments, as from many independent clients.
//!
//! They are a Poisson process whose number in the whole time is given: then its moments are
//! independent of each other and uniform over that time (Kingman, *Poisson Processes*, 2.4). So the
//! time is cut into halves, and the number of a period's requests in its first half is binomial,
//! drawn from a hash of the period; and so on, until a period has a handful of requests. The moment
//! of any request is found in one step for each halving: nothing is stored, requests can be drawn
//! in any order, and the same seed gives the same moments to every process.

/// In a period with at most this number of requests, each is drawn by itself.
const LEAF: usize = 8;

/// With more requests than this, a binomial number is drawn as a normal one: its steps are then far
/// finer than its deviation.
const COUNTED_MAX: u64 = 1024;

/// The first hash: the same moments in every run, so that two runs can be compared.
const SEED: u64 = 0x636c_6f73_6563_616c;

/// `count` requests at random moments of a time that begins with 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Poisson {
    count: u64,
    length_ns: f64,
    root: u64,
}

impl Poisson {
    /// The number of the stream: streams are independent.
    pub(super) fn new(count: u64, length_ns: f64, number: u64) -> Poisson {
        Poisson { count, length_ns, root: child(SEED, number) }
    }

    /// When the request with this number is due, counted from 0 in the order of their moments; the
    /// end of the time if there is no such request.
    pub(super) fn at(&self, request: u64) -> f64 {
        if request >= self.count {
            return self.length_ns;
        }
        let (mut from, mut length, mut node) = (0.0, self.length_ns, self.root);
        let (mut count, mut request) = (self.count, request);
        while count > LEAF as u64 {
            let before = half_of(count, node);
            length /= 2.0;
            if request < before {
                (count, node) = (before, child(node, 1));
            } else {
                (count, request) = (count - before, request - before);
                (from, node) = (from + length, child(node, 2));
            }
        }
        let mut moments = [1.0f64; LEAF];
        for (number, moment) in moments.iter_mut().take(count as usize).enumerate() {
            *moment = uniform(child(node, number as u64));
        }
        moments.sort_unstable_by(f64::total_cmp);
        from + length * moments[request as usize]
    }
}

/// The number of heads in `count` coin tosses that the hash decides.
fn half_of(count: u64, node: u64) -> u64 {
    if count > COUNTED_MAX {
        // Box and Muller, 1958.
        let (one, other) = (uniform(child(node, 3)), uniform(child(node, 4)));
        let normal = (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos();
        let heads = (count as f64 / 2.0 + normal * (count as f64).sqrt() / 2.0).round();
        return (heads.max(0.0) as u64).min(count);
    }
    let words = (0..count.div_ceil(64)).map(|word| {
        let bits = (count - word * 64).min(64);
        (child(node, 5 + word) >> (64 - bits)).count_ones()
    });
    words.sum::<u32>().into()
}

/// From 0 to 1, without 1.
fn uniform(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// The hash for a part of the period of `node`: splitmix64 (Steele, Lea, Flood, 2014).
fn child(node: u64, part: u64) -> u64 {
    let word = node.wrapping_add((part + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance.
    fn moments(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        (mean, squares / values.len() as f64)
    }

    #[test]
    fn gaps_are_exponential() {
        let (count, length) = (100_000, 1e9);
        let poisson = Poisson::new(count, length, 0);
        let at: Vec<_> = (0..count).map(|request| poisson.at(request)).collect();
        assert!(at.is_sorted() && at[0] >= 0.0 && at[at.len() - 1] < length);
        let gaps: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (mean, variance) = moments(&gaps);
        assert!((mean / 10_000.0 - 1.0).abs() < 0.001, "{mean}");
        let variation = variance.sqrt() / mean;
        assert!((variation - 1.0).abs() < 0.02, "{variation}");
        // e^-x of them are longer than x times the mean.
        for x in [0.1f64, 0.5, 1.0, 2.0, 4.0] {
            let longer = gaps.iter().filter(|gap| **gap > x * mean).count() as f64;
            let expected = count as f64 * (-x).exp();
            let deviation = (expected * (1.0 - (-x).exp())).sqrt();
            assert!((longer - expected).abs() < 4.0 * deviation, "{x}: {longer} of {expected}");
        }
    }

    #[test]
    fn numbers_in_stretches_vary_as_much_as_they_are() {
        let (count, length) = (200_000u64, 1e9);
        let poisson = Poisson::new(count, length, 1);
        for stretches in [2_000usize, 7_001, 40_000] {
            let mut numbers = vec![0.0; stretches];
            for request in 0..count {
                numbers[(poisson.at(request) / length * stretches as f64) as usize] += 1.0;
            }
            let (mean, variance) = moments(&numbers);
            let tolerance = 5.0 * (2.0 / stretches as f64).sqrt();
            assert!((variance / mean - 1.0).abs() < tolerance, "{stretches}: {variance} {mean}");
        }
    }

    #[test]
    fn few_requests_and_more_than_four_billion_are_in_their_time() {
        for count in [0, 1, 7, 8, 9, 1025] {
            let poisson = Poisson::new(count, 1000.0, 2);
            let at: Vec<_> = (0..count).map(|request| poisson.at(request)).collect();
            assert!(at.is_sorted() && at.iter().all(|at| (0.0..1000.0).contains(at)), "{at:?}");
            assert_eq!(poisson.at(count), 1000.0);
        }
        let count = 1u64 << 40;
        let poisson = Poisson::new(count, count as f64 * 100.0, 3);
        for request in [0, 1 << 32, (1 << 32) + 1, count - 1] {
            let (at, even) = (poisson.at(request), request as f64 * 100.0);
            // The spread of a million requests: the deviation is half the root of their number.
            assert!((at - even).abs() < 1e8 * 3.0, "{request}: {at} {even}");
        }
        assert!(poisson.at(1 << 32) <= poisson.at((1 << 32) + 1));
    }

    #[test]
    fn streams_differ_and_each_is_the_same_again() {
        let all = |number| (0..50).map(move |it| Poisson::new(50, 1e6, number).at(it));
        assert!(all(0).eq(all(0)) && all(0).ne(all(1)));
    }
}
