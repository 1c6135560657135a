//! A number in six bytes instead of eight: a server with a million connections stores several
//! million.

/// A number of 48 bits. One that is larger counts as [`U48::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct U48([u16; 3]);

impl U48 {
    pub(crate) const MAX: u64 = (1 << 48) - 1;

    pub(crate) const fn new(number: u64) -> U48 {
        let number = if number > U48::MAX { U48::MAX } else { number };
        U48([number as u16, (number >> 16) as u16, (number >> 32) as u16])
    }

    pub(crate) const fn get(self) -> u64 {
        let U48([low, middle, high]) = self;
        low as u64 | (middle as u64) << 16 | (high as u64) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_48_bits_is_kept_and_larger_ones_are_the_largest() {
        assert_eq!(size_of::<U48>(), 6);
        for number in [0, 1, 65_535, 65_536, 1 << 32, U48::MAX] {
            assert_eq!(U48::new(number).get(), number);
        }
        assert_eq!(U48::new(u64::MAX).get(), U48::MAX);
    }
}
