//! The first error in two bytes; before there is one, the length of the receive queue at our FIN.

use crate::machine::close::{FirstError, Via};
use crate::machine::errno::Errno;

/// The first error and the call that gave it, in two bytes: the numbers of all systems are below
/// 2^14 (the highest are those of Winsock, from 10,000 to 11,999).
///
/// As long as there is no error its place keeps how many bytes lie in the receive queue that came
/// before our FIN, or before its acknowledgement. After an error no byte answers our FIN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PackedError(u16);

impl PackedError {
    pub(super) const NONE: PackedError = PackedError(0);
    const NUMBER_BITS: u32 = 14;
    const NUMBER_MAX: u16 = (1 << PackedError::NUMBER_BITS) - 1;

    pub(super) fn of(errno: Errno, via: Via) -> PackedError {
        let number = u16::try_from(errno.0).unwrap_or(0).min(PackedError::NUMBER_MAX);
        let via: u16 = match via {
            Via::Recv => 1,
            Via::Send => 2,
            Via::SoError => 3,
        };
        PackedError(number | via << PackedError::NUMBER_BITS)
    }

    /// No error, and the length of the queue in bytes. A length that does not fit is unknown.
    pub(super) fn with_queue(bytes: Option<u32>) -> PackedError {
        let number = bytes.and_then(|bytes| u16::try_from(bytes).ok()?.checked_add(1));
        number.filter(|number| *number <= PackedError::NUMBER_MAX).map_or(Self::NONE, PackedError)
    }

    pub(super) const fn is_none(self) -> bool {
        self.0 >> PackedError::NUMBER_BITS == 0
    }

    pub(super) fn get(self) -> Option<FirstError> {
        let via = match self.0 >> PackedError::NUMBER_BITS {
            0 => return None,
            1 => Via::Recv,
            2 => Via::Send,
            _ => Via::SoError,
        };
        Some(FirstError { errno: Errno((self.0 & PackedError::NUMBER_MAX).into()), via })
    }

    /// How many bytes of the queue are left; `None` if that is not known, or there is an error.
    pub(super) fn queue(self) -> Option<u32> {
        let number = self.0.checked_sub(1).filter(|_| self.is_none());
        number.map(u32::from)
    }
}
