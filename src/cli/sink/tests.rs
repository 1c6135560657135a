//! The writer against descriptors that do as a script says.

use std::io::ErrorKind;

use super::*;

/// Lines of text; what is said about them is written between them.
struct Text;

impl Content for Text {
    type Item = String;

    fn render(&mut self, item: &String, into: &mut Vec<u8>) {
        into.extend_from_slice(item.as_bytes());
        into.push(b'\n');
    }

    fn failed(&mut self, _error: &io::Error) {}

    fn lost(&mut self, lost: u64, into: &mut Vec<u8>) {
        into.extend_from_slice(format!("lost {lost}\n").as_bytes());
    }
}

/// A descriptor that does as it was told, call by call, and then takes everything.
#[derive(Default)]
struct Script {
    script: VecDeque<Result<usize, ErrorKind>>,
    taken: Vec<u8>,
}

impl Out for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.script.pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// Writes `lines` to the end, in batches of 256. Gives what was written and how many were lost.
fn write(
    lines: impl Iterator<Item = String>,
    script: impl IntoIterator<Item = Result<usize, ErrorKind>>,
) -> (String, u64) {
    let sink = Sink::new(usize::MAX);
    lines.for_each(|line| sink.push(line));
    sink.shared.lock().closed = true;
    let out = Script { script: script.into_iter().collect(), ..Script::default() };
    let mut writer = Writer::new(&sink, out, Text);
    writer.run(b"");
    (String::from_utf8(writer.out.taken).unwrap(), sink.finish(Duration::ZERO))
}

fn lines(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("line {number:03}"))
}

#[test]
fn short_writes_and_interruptions_lose_nothing() {
    let script = [Ok(1), Err(ErrorKind::Interrupted), Ok(3), Err(ErrorKind::WouldBlock), Ok(2)];
    assert_eq!(write(lines(2), script), ("line 000\nline 001\n".to_owned(), 0));
}

#[test]
fn a_torn_line_is_lost_and_does_not_touch_the_next() {
    // Of the first batch 12 bytes are written: a line of 9 and 3 of the next.
    let (text, lost) = write(lines(258), [Ok(12), Err(ErrorKind::StorageFull)]);
    assert_eq!(text, "line 000\nlin\nline 256\nline 257\nlost 255\n");
    assert_eq!(lost, 255);
}

#[test]
fn a_line_without_its_newline_is_a_line() {
    let (text, lost) = write(lines(257), [Ok(17), Err(ErrorKind::StorageFull)]);
    assert_eq!(text, "line 000\nline 001\nline 256\nlost 254\n");
    assert_eq!(lost, 254);
}

#[test]
fn nothing_but_errors_loses_everything_and_ends() {
    let script = vec![Err(ErrorKind::BrokenPipe); 100];
    assert_eq!(write(lines(1000), script), (String::new(), 1000));
}

/// A descriptor that never returns.
struct Stuck;

impl Out for Stuck {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        loop {
            thread::park();
        }
    }

    fn returns_at_once(&self) -> bool {
        false
    }
}

#[test]
fn a_stuck_descriptor_costs_lines_and_the_end_is_not_waited_for() {
    let sink = Sink::start("stuck", Stuck, Text, 10, Vec::new()).unwrap();
    lines(500).for_each(|line| sink.push(line));
    sink.push_last("the last".to_owned());
    assert!(sink.shared.lock().queue.len() <= 11, "the queue is bounded");
    assert_eq!(sink.finish(Duration::from_millis(1)), 501);
}

/// A pipe that is not read at first.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<(bool, Vec<u8>)>>);

impl Out for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (is_read, taken) = &mut *self.0.lock().unwrap();
        if !*is_read {
            return Err(ErrorKind::WouldBlock.into());
        }
        taken.extend_from_slice(bytes);
        Ok(bytes.len())
    }
}

#[test]
fn what_was_given_up_is_not_written_after_all() {
    let pipe = Pipe::default();
    let sink = Sink::new(usize::MAX);
    lines(300).for_each(|line| sink.push(line));
    let mut writer = Writer::new(&sink, pipe.clone(), Text);
    let writes = thread::spawn(move || writer.run(b""));
    assert_eq!(sink.finish(Duration::ZERO), 300);
    pipe.0.lock().unwrap().0 = true;
    writes.join().unwrap();
    assert_eq!(pipe.0.lock().unwrap().1, b"");
    assert_eq!(sink.so_far(), (300, 0));
}

/// A pipe that takes whole calls only, of at most 20 bytes, and notes where they end.
#[derive(Default)]
struct Narrow {
    calls: Vec<String>,
    fails: VecDeque<ErrorKind>,
}

impl Out for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.fails.pop_front() {
            Some(ErrorKind::Other) | None => {}
            Some(kind) => return Err(kind.into()),
        }
        self.calls.push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn call_bytes_max(&self) -> usize {
        20
    }
}

/// All calls that wrote `lines`, and how many were lost.
fn narrow(lines: &[&str], fails: &[ErrorKind]) -> (Vec<String>, u64) {
    let sink = Sink::new(usize::MAX);
    lines.iter().for_each(|line| sink.push((*line).to_owned()));
    sink.shared.lock().closed = true;
    let out = Narrow { fails: fails.iter().copied().collect(), ..Narrow::default() };
    let mut writer = Writer::new(&sink, out, Text);
    writer.run(b"one\ntwo\n");
    (writer.out.calls, sink.finish(Duration::ZERO))
}

#[test]
fn a_call_has_whole_lines_and_not_too_many() {
    let (calls, lost) = narrow(&["12345678", "12345678", "123", "far too long for one call"], &[]);
    let expected = ["one\ntwo\n", "12345678\n12345678\n", "123\n", "far too long for one call\n"];
    assert_eq!((calls, lost), (expected.map(str::to_owned).to_vec(), 0));
}

#[test]
fn calls_that_were_taken_before_an_error_are_not_lost() {
    use ErrorKind::{BrokenPipe, Other, WouldBlock};
    // The preamble, the first call after a wait, the second not at all.
    let fails = [Other, WouldBlock, Other, BrokenPipe];
    let (calls, lost) = narrow(&["12345678", "12345678", "123"], &fails);
    assert_eq!(calls, ["one\ntwo\n", "12345678\n12345678\n", "lost 1\n"]);
    assert_eq!(lost, 1);
}

/// A file with a name: what was open before it, and what is open now.
#[derive(Default)]
struct Named {
    before: Vec<String>,
    now: String,
    /// What the next one has in it; if there is none it cannot be opened.
    next: VecDeque<&'static str>,
    /// Bytes that are taken before the sink is asked to reopen, which happens in a call.
    bytes_before: usize,
    sink: Option<Sink<String>>,
}

impl Out for Named {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match self.bytes_before {
            0 => bytes.len(),
            before => bytes.len().min(before),
        };
        self.now.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        if std::mem::take(&mut self.bytes_before) > 0 {
            self.sink.as_ref().unwrap().reopen();
        }
        Ok(count)
    }

    fn ends_torn(&mut self) -> Option<bool> {
        Some(!self.now.is_empty() && !self.now.ends_with('\n'))
    }

    fn reopen(&mut self) -> io::Result<()> {
        let next = self.next.pop_front().ok_or(ErrorKind::NotFound)?;
        self.before.push(std::mem::replace(&mut self.now, next.to_owned()));
        Ok(())
    }
}

/// Three lines, of which `bytes_before` bytes are written before a reopen comes.
fn reopened(bytes_before: usize, next: Option<&'static str>) -> (Vec<String>, String, u64) {
    let sink = Sink::new(usize::MAX);
    lines(3).for_each(|line| sink.push(line));
    sink.shared.lock().closed = true;
    let next = next.into_iter().collect();
    let out = Named { bytes_before, next, sink: Some(sink.clone()), ..Named::default() };
    let mut writer = Writer::new(&sink, out, Text);
    writer.run(b"");
    (writer.out.before, writer.out.now, sink.finish(Duration::ZERO))
}

#[test]
fn a_reopen_in_the_middle_of_a_line_writes_it_to_the_new_file() {
    let (before, now, lost) = reopened(12, Some(""));
    assert_eq!(before, ["line 000\nlin"]);
    assert_eq!((&*now, lost), ("line 001\nline 002\n", 0));
    let (before, now, lost) = reopened(9, Some("torn"));
    assert_eq!(before, ["line 000\n"]);
    assert_eq!((&*now, lost), ("torn\nline 001\nline 002\n", 0));
}

#[test]
fn a_reopen_that_fails_loses_nothing() {
    let (before, now, lost) = reopened(12, None);
    assert_eq!(before, Vec::<String>::new());
    assert_eq!((&*now, lost), ("line 000\nlin\nline 001\nline 002\n", 0));
}

#[test]
fn a_reopen_wakes_a_writer_that_has_nothing_to_do() {
    let sink: Sink<String> = Sink::new(usize::MAX);
    let out = Named { next: [""].into(), ..Named::default() };
    let mut writer = Writer::new(&sink, out, Text);
    let waits = sink.clone();
    let writes = thread::spawn(move || {
        writer.run(b"");
        writer.out.before.len()
    });
    sink.reopen();
    while waits.shared.lock().reopen {
        thread::yield_now();
    }
    sink.finish(Duration::from_secs(60));
    assert_eq!(writes.join().unwrap(), 1);
}

#[test]
fn a_text_is_cut_between_lines() {
    let line = |length: usize| ["x".repeat(length - 1).as_bytes(), b"\n"].concat();
    let (half, long) = (line(PIPE_BUF / 2), line(2 * PIPE_BUF));
    let text = [&half[..], &half, &half, &long, &half, b"end"].concat();
    let lengths: Vec<_> = calls(&text).map(<[u8]>::len).collect();
    assert_eq!(lengths, [PIPE_BUF, PIPE_BUF / 2, 2 * PIPE_BUF, PIPE_BUF / 2 + 3]);
    assert_eq!(calls(b"").count(), 0);
}
