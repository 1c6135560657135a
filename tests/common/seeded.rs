//! Choices of a test by a seed, so that a run can be repeated.
#![allow(dead_code)] // each test uses its own part

/// A sequence that a seed decides (xorshift64*).
#[derive(Clone)]
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Seeded {
        let mut seeded = Seeded(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..4 {
            seeded.next();
        }
        seeded
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 33) % end
    }

    /// Bytes of a line, its newline included: any but newlines inside.
    pub(crate) fn line(&mut self, bytes: usize) -> Vec<u8> {
        let mut line: Vec<u8> = (0..bytes).map(|_| self.next() as u8).collect();
        line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        line.push(b'\n');
        line
    }
}

/// The seed of this run: CLOSECALL_SEED, or the same each time.
pub(crate) fn seed() -> u64 {
    std::env::var("CLOSECALL_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(1)
}
