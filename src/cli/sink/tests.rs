//! The writer against descriptors that do as a script says.

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
struct Descriptor {
    script: VecDeque<Result<usize, ErrorKind>>,
    taken: Vec<u8>,
}

impl Write for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.script.pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
    let out = Descriptor { script: script.into_iter().collect(), ..Descriptor::default() };
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

impl Write for Stuck {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        loop {
            thread::park();
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
