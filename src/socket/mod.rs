//! What one socket is asked and told that mio and socket2 have no call for. The only unsafe code of
//! the program.
//!
//! Each file is one system. On the others there is nothing here, and whoever asks says so.

#[cfg(target_os = "linux")]
pub(crate) mod linux;
#[cfg(windows)]
pub(crate) mod windows;
