//! The second kernel.
