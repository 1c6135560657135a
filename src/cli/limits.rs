//! Limits of a server: connections by the limit of open files, memory of pending output, and the
//! log line about both.

use super::Failure;
use super::values::OrOff;
use super::words::{self, thousands};
use crate::config::Config;

/// Files that the process needs for itself, besides its listeners: three standard streams and
/// copies of two of them, the poll, its waker, the reserve descriptor, both ends of the signals'
/// pipe, the close log, and two more for it while it is reopened and its last byte is read. That
/// makes thirteen; four are for connections that are closing while new ones take their place, and
/// the rest is for inherited files.
const FILES_RESERVED: u64 = 20;

/// The default of `--max-connections` if the limit of open files allows more or does not exist.
const CONNECTIONS_DEFAULT_MAX: u64 = 1 << 20;

/// Memory of a thread, in bytes: std's default stack (`std::thread`, "Stack size"), its guard page,
/// and its first allocations.
const THREAD_BYTES: usize = (2 << 20) + (128 << 10);

/// Memory to parse the command line and to print an error about it, in bytes, at most.
const FIRST_BYTES: usize = 1 << 20;

/// Whether there is memory to parse the command line. If not, the program must not allocate, not
/// even for an error message: the allocator would abort the process.
pub(super) fn is_enough_memory_to_begin() -> bool {
    is_there(FIRST_BYTES)
}

/// Whether the allocator has this much memory now. The memory is freed at once.
fn is_there(bytes: usize) -> bool {
    let mut probe: Vec<u8> = Vec::new();
    let reserved = probe.try_reserve_exact(bytes);
    std::hint::black_box(&probe); // keeps the compiler from removing an unused allocation
    reserved.is_ok()
}

/// Checks that there is memory for the stacks of `threads` threads.
///
/// # Errors
/// There is not enough. pthread_create(3) would fail with EAGAIN, which also means too many
/// threads.
pub(super) fn memory_for_threads(threads: usize) -> Result<(), Failure> {
    let bytes = threads * THREAD_BYTES;
    if is_there(bytes) {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "not enough memory for {threads} threads ({}): raise the memory limit (ulimit -v)",
        words::bytes(bytes as u64)
    )))
}

/// Raises the limit of open files as far as the system allows, and returns it. `None`: this system
/// has no such limit.
pub(super) fn raise_open_files() -> Option<u64> {
    #[cfg(unix)]
    {
        // It fails if the limit cannot be read; then accept meets the limit.
        rlimit::increase_nofile_limit(u64::MAX).ok()
    }
    #[cfg(not(unix))]
    None
}

/// The most connections at a time: the number `asked` for, or as many as `open_files` allows.
///
/// # Errors
/// `open_files` allows too few. The line has the limit and the remedy.
pub(super) fn connections(
    asked: Option<usize>,
    open_files: Option<u64>,
    listeners: usize,
) -> Result<usize, Failure> {
    let reserved = FILES_RESERVED + listeners as u64;
    let room = open_files.map_or(u64::MAX, |limit| limit.saturating_sub(reserved));
    let limit = thousands(open_files.unwrap_or(u64::MAX));
    if room == 0 {
        return Err(Failure::Refused(format!(
            "the limit of {limit} open files allows no connections: raise it above {reserved} \
             (ulimit -n)"
        )));
    }
    match asked.map(|asked| asked as u64) {
        Some(asked) if asked > room => Err(Failure::Refused(format!(
            "--max-connections {asked}: the limit of {limit} open files allows {room} connections: \
             raise it (ulimit -n {}) or lower --max-connections",
            asked + reserved
        ))),
        Some(asked) => Ok(asked as usize),
        None => Ok(room.min(CONNECTIONS_DEFAULT_MAX) as usize),
    }
}

/// Pending output may use one part in this many of the memory. The kernel's sockets and other
/// programs need the rest.
const OUTPUT_MEMORY_PARTS: u64 = 4;

/// The cap on all pending output together, in bytes: the number `asked` for, or a quarter of
/// `memory_bytes`. `None` is no cap.
pub(super) fn output_memory(asked: Option<OrOff<u64>>, memory_bytes: Option<u64>) -> Option<u64> {
    match asked {
        Some(OrOff(asked)) => asked,
        None => memory_bytes.map(|bytes| bytes / OUTPUT_MEMORY_PARTS),
    }
}

/// The log line about the limits of `config`.
pub(super) fn line(config: &Config, open_files: Option<u64>) -> String {
    let (prefix_bytes, buffer_bytes) = (config.prefix.len(), config.read_buffer_bytes);
    let longest = config.framing.reply_bytes_max(prefix_bytes, buffer_bytes) as u64;
    let shortest = config.framing.reply_bytes_min(prefix_bytes, buffer_bytes) as u64;
    let without_cap = Config { output_memory_bytes: None, ..config.clone() }.output_bytes_max();
    let bound = config.output_bytes_max();
    let made_of = match config.output_memory_bytes {
        Some(cap) if bound < without_cap => format!(
            "{} in all, and beyond that {} bytes for each connection",
            words::bytes(cap),
            thousands(shortest)
        ),
        _ => format!("{} bytes for each connection", thousands(longest)),
    };
    let files = match open_files {
        Some(files) => format!(" (limit of open files: {})", thousands(files)),
        None => String::new(),
    };
    format!(
        "at most {} connections{files} and {} of memory for pending replies: {made_of}",
        thousands(config.max_connections as u64),
        words::bytes(bound)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_output_has_a_quarter_of_the_memory_by_default() {
        assert_eq!(output_memory(None, Some(4 << 30)), Some(1 << 30));
        assert_eq!(output_memory(None, None), None);
        assert_eq!(output_memory(Some(OrOff(None)), Some(4 << 30)), None);
        assert_eq!(output_memory(Some(OrOff(Some(65_536))), Some(4 << 30)), Some(65_536));
    }

    #[test]
    fn the_line_has_the_bound_of_the_configuration() {
        let mut config = Config { max_connections: 10_000, ..Config::default() };
        let line = |config: &Config, files| super::line(config, files);
        assert_eq!(
            line(&config, Some(20_000)),
            "at most 10,000 connections (limit of open files: 20,000) and 625.5 MiB of memory for \
             pending replies: 65,559 bytes for each connection"
        );
        config.output_memory_bytes = Some(64 << 20);
        assert_eq!(
            line(&config, None),
            "at most 10,000 connections and 66.7 MiB of memory for pending replies: 64.0 MiB in \
             all, and beyond that 279 bytes for each connection"
        );
        config.output_memory_bytes = Some(1 << 40); // more than all of them can have
        assert!(line(&config, None).contains(" 625.5 MiB of memory for pending replies: 65,559 "));
    }

    #[test]
    fn the_default_is_what_the_files_allow_and_at_most_a_million() {
        assert_eq!(connections(None, Some(64), 1).unwrap(), 43);
        assert_eq!(connections(None, Some(20_000), 2).unwrap(), 19_978);
        assert_eq!(connections(None, Some(u64::MAX), 1).unwrap(), 1 << 20);
        assert_eq!(connections(None, None, 1).unwrap(), 1 << 20);
    }

    #[test]
    fn too_few_files_are_refused_with_a_remedy() {
        assert_eq!(connections(Some(43), Some(64), 1).unwrap(), 43);
        let Err(Failure::Refused(line)) = connections(Some(44), Some(64), 1) else { panic!() };
        assert!(line.contains("ulimit -n 65") && line.contains("allows 43"), "{line}");
        let Err(Failure::Refused(line)) = connections(None, Some(21), 1) else { panic!() };
        assert!(line.contains("above 21"), "{line}");
    }
}
