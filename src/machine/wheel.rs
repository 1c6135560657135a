//! Hashed timer wheel for connection deadlines, over dense keys.
//!
//! The idea is scheme 6 of Varghese and Lauck, *Hashed and Hierarchical Timing Wheels* (SOSP 1987):
//! time is a ring of slots, a deadline hangs in the slot of its tick, and to arm, to move or to
//! drop it is to link or unlink one entry. Three things differ from the paper:
//!
//! * An entry is found by its key, a small dense number (a slab's index), and lists are linked by
//!   index through one arena. Once the arena has grown to the largest key, nothing is allocated.
//! * The ring is as long as a two-level bitmap of one word times 64 reaches: 4,096 slots. Where the
//!   paper steps through empty slots tick by tick, two `trailing_zeros` name the next occupied one,
//!   so a sleep can last exactly until then.
//! * A slot never mixes rounds. A deadline more than one round away is parked in the round's last
//!   slot and moved on when that comes up, so whatever hangs in a slot has its time there.
//!
//! Any amount of time may pass between two calls: a server is idle for a year, a laptop sleeps for
//! a night. The wheel does not step through that time. An empty wheel [skips](TimerWheel::skip_to)
//! it, and a deadline that lies beyond it is handled twice, however many rounds it spans: once
//! where it was parked, and once more in the list of lagging deadlines, when the cursor has caught
//! up.
//!
//! ```text
//!                 cursor: the first tick that has not passed
//!                    │
//!   slots    ┌───┬───▼───┬───┬───┬───┬─ ─ ─┬──────┐  ┌─────────┐
//!            │ · │   2   │ · │ 0 │ · │     │ 4095 │  │ lagging │   head of a list, by key
//!            └───┴───┬───┴───┴─┬─┴───┴─ ─ ─┴──────┘  └─────────┘
//!   entries      2 ◀─┴─▶ 7     0          linked both ways, so that dropping one is O(1)
//!   occupied   0   1       0   1   0         a bit for each slot, and a word for the words
//! ```
//!
//! Never early: a deadline is rounded up to the wheel's tick, and one tick more pays for the
//! clock's rounding down and for a `now` that is some microseconds old. Never later than two ticks.

use super::time::Moment;
use std::fmt;

/// Slots on the ring: 64 words of 64 bits, so that one more word shows which words are not empty.
const SLOTS: u64 = 64 * 64;

/// One more list in addition to the ring: deadlines that were parked, were reached late, and lie
/// more than a round ahead of a cursor that has not caught up with the time.
const LAGGING: usize = SLOTS as usize;

/// No entry: the end of a list, or an empty slot.
const NONE: u32 = u32::MAX;

/// One key's place: in the list of a slot, or nowhere.
#[derive(Clone, Copy)]
struct Timer {
    /// The wheel tick at which this is due; `UNARMED` while it hangs nowhere.
    due: u64,
    next: u32,
    /// The entry before this one, or `FIRST | slot` where this is the head of a slot's list.
    previous: u32,
}

/// Marks a `previous` that names a slot instead of an entry.
const FIRST: u32 = 1 << 31;
const UNARMED: u64 = u64::MAX;
const VACANT: Timer = Timer { due: UNARMED, next: NONE, previous: NONE };

/// Deadlines by key: armed, moved and dropped in constant time. The deadlines of a server are drawn
/// on [`Connection`](super::connection::Connection#deadlines).
///
/// Call [`arm`](Self::arm) with a key and a moment; the same call moves a key that is armed
/// already. Then, as time passes, call [`pop_due`](Self::pop_due) until it gives nothing more, and
/// sleep no longer than until [`next_due`](Self::next_due).
///
/// Keys are expected to be dense and small: memory is 16 bytes times the largest key, below 2^31.
///
/// ```
/// use closecall::machine::time::Moment;
/// use closecall::machine::wheel::TimerWheel;
///
/// let mut wheel = TimerWheel::new(8, 100, Moment::from_ms(0));
/// wheel.arm(7, Moment::from_ms(10_000));
/// wheel.arm(7, Moment::from_ms(10_500)); // it has received something: the same call moves it
/// assert_eq!(wheel.pop_due(Moment::from_ms(10_499), &mut 32), None);
/// let due = wheel.next_due().unwrap(); // never early, at most two ticks late
/// assert!((10_500..=10_516).contains(&due.as_ms()));
/// assert_eq!(wheel.pop_due(due, &mut 32), Some(7));
/// ```
pub struct TimerWheel {
    tick_ms: u64,
    /// The first wheel tick that has not passed. Every armed entry hangs in
    /// `cursor ..= cursor + SLOTS - 1`, or is lagging.
    cursor: u64,
    /// A list for each slot, and the list of lagging deadlines.
    heads: Box<[u32]>,
    occupied: Occupied,
    entries: Vec<Timer>,
    armed: usize,
}

impl fmt::Debug for TimerWheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerWheel")
            .field("tick_ms", &self.tick_ms)
            .field("cursor", &self.cursor)
            .field("armed", &self.armed)
            .finish_non_exhaustive()
    }
}

impl TimerWheel {
    /// The memory that it reserves for each key, in bytes.
    pub const KEY_BYTES: usize = size_of::<Timer>();

    /// An empty wheel with ticks of `tick_ms` milliseconds (0 counts as 1), whose time begins at
    /// `now`, with room reserved for keys below `keys`.
    pub fn new(tick_ms: u64, keys: usize, now: Moment) -> TimerWheel {
        let tick_ms = tick_ms.max(1);
        TimerWheel {
            tick_ms,
            cursor: now.as_ms() / tick_ms,
            heads: vec![NONE; LAGGING + 1].into_boxed_slice(),
            occupied: Occupied::default(),
            entries: Vec::with_capacity(keys),
            armed: 0,
        }
    }

    /// Frees the memory of keys that were armed, if none is armed now.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.entries = Vec::new();
        }
    }

    /// Reserves room for keys below `keys`, if there is memory for them; else it grows when needed.
    pub fn reserve(&mut self, keys: usize) {
        let _ = self.entries.try_reserve(keys.saturating_sub(self.entries.len()));
    }

    /// Advances an empty wheel to `now`: time in which nothing could become due is not stepped
    /// through later.
    pub fn skip_to(&mut self, now: Moment) {
        if self.is_empty() {
            self.cursor = self.cursor.max(now.as_ms() / self.tick_ms);
        }
    }

    /// The number of armed keys.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether no key is armed.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Whether `key` is armed.
    pub fn is_armed(&self, key: u32) -> bool {
        self.entries.get(key as usize).is_some_and(|entry| entry.due != UNARMED)
    }

    /// Arms `key` for `deadline`, or moves it there; [`Moment::NEVER`] disarms it. O(1).
    ///
    /// It is due no earlier than `deadline` and at most two ticks later.
    pub fn arm(&mut self, key: u32, deadline: Moment) {
        debug_assert!(key < FIRST, "keys are dense and small");
        self.disarm(key);
        if deadline == Moment::NEVER {
            return;
        }
        if self.entries.len() <= key as usize {
            self.entries.resize(key as usize + 1, VACANT);
        }
        let due = deadline.as_ms().div_ceil(self.tick_ms) + 1;
        self.entries[key as usize].due = due.min(UNARMED - 1); // the last moment of all is one, too
        self.armed += 1;
        self.link(key, self.cursor);
    }

    /// Disarms `key`. O(1); does nothing if it is not armed.
    pub fn disarm(&mut self, key: u32) {
        if self.is_armed(key) {
            self.unlink(key);
            self.entries[key as usize].due = UNARMED;
            self.armed -= 1;
        }
    }

    /// Takes one key that is due at `now`, disarmed; `None` when no more are due or the budget is
    /// spent. Every entry that is examined costs one of `budget`.
    ///
    /// Keys come in the order of their ticks, unless more than a round of 4,096 ticks has passed
    /// since the last call. Arming while popping is allowed, the key in hand included; what is
    /// armed for the past comes in this same run.
    pub fn pop_due(&mut self, now: Moment, budget: &mut u32) -> Option<u32> {
        let now = now.as_ms() / self.tick_ms;
        while *budget > 0 {
            let key = match self.occupied.first_from(self.cursor).filter(|&at| at <= now) {
                Some(at) => {
                    self.cursor = at;
                    self.heads[slot(at)]
                }
                None => {
                    self.cursor = self.cursor.max(now);
                    self.heads[LAGGING]
                }
            };
            if key == NONE {
                return None;
            }
            *budget -= 1;
            self.unlink(key);
            let entry = &mut self.entries[key as usize];
            if entry.due <= now {
                entry.due = UNARMED;
                self.armed -= 1;
                return Some(key);
            }
            self.link(key, now); // it was parked here, more than a round before its time
        }
        None
    }

    /// When to call again: the moment of the next occupied slot, or `None` on an empty wheel.
    ///
    /// It is exact, except for deadlines armed more than a round of 4,096 ticks ahead: those are
    /// examined, and moved on, once a round on their way.
    pub fn next_due(&self) -> Option<Moment> {
        let at = match self.heads[LAGGING] {
            NONE => self.occupied.first_from(self.cursor)?,
            _ => self.cursor,
        };
        Some(Moment::from_ms(at.saturating_mul(self.tick_ms)))
    }

    /// Hangs an unlinked entry into the slot of its tick, or of the round's last tick where its own
    /// lies beyond. What is overdue hangs at the cursor. At the wheel tick `now` a round that has
    /// passed already is no place to park: such an entry lags until the cursor is there.
    fn link(&mut self, key: u32, now: u64) {
        let due = self.entries[key as usize].due;
        let last = self.cursor.saturating_add(SLOTS - 1);
        let slot = match due > last && now > last {
            true => LAGGING,
            false => slot(due.clamp(self.cursor, last)),
        };
        let next = std::mem::replace(&mut self.heads[slot], key);
        if next != NONE {
            self.entries[next as usize].previous = key;
        } else if slot != LAGGING {
            self.occupied.insert(slot);
        }
        let entry = &mut self.entries[key as usize];
        entry.next = next;
        entry.previous = FIRST | slot as u32;
    }

    fn unlink(&mut self, key: u32) {
        let Timer { next, previous, .. } = self.entries[key as usize];
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous & FIRST == 0 {
            self.entries[previous as usize].next = next;
            return;
        }
        let slot = (previous & !FIRST) as usize;
        self.heads[slot] = next;
        if next == NONE && slot != LAGGING {
            self.occupied.remove(slot);
        }
    }
}

/// The slot of a wheel tick.
fn slot(at: u64) -> usize {
    (at % SLOTS) as usize
}

/// Which slots are not empty: a bit for each, and a summary bit for each word of them.
struct Occupied {
    words: [u64; 64],
    summary: u64,
}

impl Default for Occupied {
    fn default() -> Occupied {
        Occupied { words: [0; 64], summary: 0 }
    }
}

impl Occupied {
    fn insert(&mut self, slot: usize) {
        self.words[slot / 64] |= 1 << (slot % 64);
        self.summary |= 1 << (slot / 64);
    }

    fn remove(&mut self, slot: usize) {
        self.words[slot / 64] &= !(1 << (slot % 64));
        if self.words[slot / 64] == 0 {
            self.summary &= !(1 << (slot / 64));
        }
    }

    /// The tick of the first occupied slot, once around the ring from the tick `cursor`.
    fn first_from(&self, cursor: u64) -> Option<u64> {
        if self.summary == 0 {
            return None;
        }
        let start = slot(cursor);
        let (word, bit) = (start / 64, start % 64);
        let here = self.words[word] & (u64::MAX << bit);
        let found = if here != 0 {
            word * 64 + here.trailing_zeros() as usize
        } else {
            // The words after this one first, then from the ring's beginning, this one included.
            let after = self.summary & (u64::MAX << word << 1);
            let summary = if after != 0 { after } else { self.summary };
            let word = summary.trailing_zeros() as usize;
            word * 64 + self.words[word].trailing_zeros() as usize
        };
        let distance = (found + SLOTS as usize - start) % SLOTS as usize;
        Some(cursor.saturating_add(distance as u64))
    }
}

#[cfg(test)]
mod tests;
