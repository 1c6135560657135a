//! What a world is like: the server's configuration, its peers, its network and its faults.

use std::net::{Ipv4Addr, SocketAddr};

use super::choices::Choices;
use super::faults::Faults;
use super::swarm::Swarm;
use crate::config::{Config, Overload};
use crate::machine::reply::Framing;

/// Everything about a world that does not change while it runs. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct WorldSetting {
    /// The server's. Of `listen` only the number of addresses counts.
    pub config: Config,
    /// What the clock shows at the beginning.
    pub start_us: u64,
    /// What a system call takes.
    pub call_us: u64,
    /// How many peers there are.
    pub peers: u32,
    /// They connect within this time from the beginning.
    pub arrivals_us: u64,
    /// How many addresses they have among them.
    pub addresses: u64,
    /// The longest delay of a link, one way.
    pub delay_us_max: u64,
    /// Whether peers that would read at once read slowly.
    pub all_slow: bool,
    /// The longest pause between two reads of a slow peer.
    pub pace_us_max: u64,
    /// The largest window of a peer, at least 150 bytes.
    pub window_max: u64,
    /// The largest send buffer of the server's sockets, at least 150 bytes.
    pub send_space_max: u64,
    /// What one peer may send, in bytes.
    pub sent_bytes_max: u64,
    /// When the server is asked to stop, from the beginning.
    pub stop_us: u64,
    /// When it is asked again, from the first time.
    pub second_stop_us: Option<u64>,
    /// No peer connects before this time has passed, from the beginning.
    pub idle_us: u64,
    /// When the clock jumps, from the beginning, and how far.
    pub jump_us: Option<(u64, u64)>,
    /// Connections for which the process has files.
    pub files: usize,
    /// Events that one wait gives at most.
    pub batch_max: usize,
    /// Whether the system tells what is unacknowledged (SIOCOUTQ, TCP_INFO).
    pub tells: bool,
    /// What goes wrong.
    pub faults: Faults,
    /// The kinds of peers that live here, by their places in the list of all.
    pub(super) kinds: Vec<u8>,
    /// The longest window of the server, at least 65,536 bytes.
    pub(super) up_window_max: u64,
}

/// What one connection may make the server send, in bytes. It bounds the time that a world takes.
const REPLY_BYTES_MAX: u64 = 24_000;

/// What one peer sends in a world of bulk senders, in bytes: more than a visit may take.
const BULK_BYTES: (u64, u64) = (60_000, 600_000);

/// How many peers such a world has at most.
const BULK_PEERS_MAX: u32 = 3;

/// The longest window that the server gives them.
const BULK_WINDOW_MAX: u64 = 1 << 20;

/// How long nothing may happen before the first newcomer: twenty days.
const IDLE_MS_MAX: u64 = 20 * 86_400_000;

/// How far a clock may jump: ten years.
const JUMP_MS_MAX: u64 = 3_652 * 86_400_000;

/// Puts one option of a world back to what it is in a world without trouble.
type Plain = fn(&mut WorldSetting);

/// The options that can be left out, each with its plain value.
const OPTIONS: &[Plain] = &[
    |it| it.config.read_deadline_ms = Some(10_000),
    |it| it.config.write_deadline_ms = Some(10_000),
    |it| it.config.verdict_wait_ms = 2_000,
    |it| it.config.drain_ms = 5_000,
    |it| it.config.max_connections = 4_096,
    |it| it.config.max_per_ip = None,
    |it| it.config.overload = Overload::Wait,
    |it| it.config.backlog = 4_096,
    |it| it.config.asks_kernel = true,
    |it| it.config.accepts_per_turn = 512,
    |it| it.config.bytes_per_visit = 65_536,
    |it| it.config.bytes_per_turn = 1 << 20,
    |it| it.config.max_age_ms = None,
    |it| it.config.output_memory_bytes = None,
    |it| it.config.reaps_per_turn = 1_024,
    |it| it.config.expiries_per_turn = 1_024,
    |it| it.config.clock_interval = 64,
    |it| it.config.endings_max = 1 << 16,
    |it| it.delay_us_max = 0,
    |it| it.all_slow = false,
    |it| it.window_max = 65_536,
    |it| it.send_space_max = 100_000,
    |it| it.second_stop_us = None,
    |it| it.files = usize::MAX,
    |it| it.batch_max = 1_024,
    |it| it.tells = true,
];

const _: () = assert!(OPTIONS.len() < 64, "a bit each");

impl WorldSetting {
    /// A setting of any kind.
    pub fn choose(choices: &mut Choices) -> WorldSetting {
        let swarm = Swarm::choose(choices, OPTIONS.len());
        let mut setting = WorldSetting::choose_all(choices, &swarm);
        setting.leave_out(&swarm);
        setting
    }

    /// Leaves out faults and options.
    fn leave_out(&mut self, swarm: &Swarm) {
        self.faults.leave_out(swarm.faults());
        for (number, plain) in OPTIONS.iter().enumerate() {
            if swarm.leaves_out(number) {
                plain(self);
            }
        }
    }

    fn choose_all(choices: &mut Choices, swarm: &Swarm) -> WorldSetting {
        let mut config = choose_config(choices);
        if swarm.bulk {
            config.read_buffer_bytes = config.read_buffer_bytes.max(2_048);
        }
        let expansion = match config.framing {
            Framing::Raw => 0,
            Framing::Line => config.prefix.len() / 4,
            Framing::Chunk => config.prefix.len() / config.read_buffer_bytes.min(32),
        };
        let reply_bytes_max = match choices.below(3) {
            _ if swarm.bulk => choices.between(BULK_BYTES.0, BULK_BYTES.1),
            2 => REPLY_BYTES_MAX,
            _ => choices.magnitude(100, REPLY_BYTES_MAX),
        };
        let peers = choices.magnitude(1, 200) as u32;
        let peers = if swarm.bulk { 1 + peers % BULK_PEERS_MAX } else { peers };
        let longest_us = 1_000 * choices.magnitude(50, 30_000);
        let fewer = |choices: &mut Choices| choices.magnitude(1, u64::from(peers)) as usize;
        let idle_us = if swarm.idle { 1_000 * choices.magnitude(1, IDLE_MS_MAX) } else { 0 };
        let stop_us = choices.between(longest_us / 8, 2 * longest_us);
        WorldSetting {
            start_us: choose_start(choices),
            call_us: choices.pick(&[0, 1, 1, 3, 20]),
            peers,
            arrivals_us: choices.magnitude(1, longest_us),
            addresses: choices.magnitude(1, 8),
            delay_us_max: choices.pick(&[0, 50, 2_000, 30_000]),
            all_slow: choices.below(6) == 5,
            pace_us_max: choices.pick(&[20_000, 200_000, 2_000]),
            window_max: choices.pick(&[65_536, 400]),
            send_space_max: choices.pick(&[100_000, 6_000]),
            // Byte by byte is instructive, and slow.
            sent_bytes_max: (reply_bytes_max / (1 + expansion as u64))
                .clamp(1, 300 * config.read_buffer_bytes as u64),
            stop_us: idle_us + stop_us,
            second_stop_us: match choices.below(4) {
                3 => Some(choices.magnitude(1, 1_000_000) - 1),
                _ => None,
            },
            idle_us,
            jump_us: swarm.jump.then(|| {
                let by_us = 1_000 * choices.magnitude(1_000, JUMP_MS_MAX);
                (idle_us + choices.below(stop_us), by_us)
            }),
            files: if choices.below(4) == 3 { fewer(choices) } else { usize::MAX },
            batch_max: choices.pick(&[1024, 1, 3, 16]),
            tells: choices.below(8) < 7,
            faults: Faults::choose(choices),
            kinds: swarm.kinds(),
            up_window_max: if swarm.bulk { BULK_WINDOW_MAX } else { 65_536 },
            config,
        }
    }
}

/// A moment at which clocks tend to go wrong.
fn choose_start(choices: &mut Choices) -> u64 {
    let powers = [0, 1 << 12, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 36, 1 << 44];
    let around_ms: u64 = choices.pick(&powers);
    (around_ms * 1_000).saturating_sub(choices.magnitude(1, 20_000_000)) + choices.below(1_000)
}

fn choose_config(choices: &mut Choices) -> Config {
    let prefix_bytes = match choices.below(8) {
        0..=3 => 23,
        4 => 0,
        _ => choices.magnitude(1, 4096) as usize,
    };
    let read_buffer_bytes = match choices.below(4) {
        3 => choices.magnitude(4_096, 65_536),
        _ => choices.magnitude(1, 4_096),
    };
    let listen = choices.between(1, 3) as usize;
    Config {
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); listen],
        prefix: b"from server back[rust]:".iter().copied().cycle().take(prefix_bytes).collect(),
        framing: choices.pick(&[Framing::Chunk, Framing::Line, Framing::Raw]),
        read_buffer_bytes: read_buffer_bytes as usize,
        read_deadline_ms: choose_deadline(choices),
        write_deadline_ms: choose_deadline(choices),
        verdict_wait_ms: match choices.below(4) {
            0 => 2_000,
            1 => 0,
            _ => choices.magnitude(1, 500),
        },
        drain_ms: choices.magnitude(1, 8_192) - 1,
        tick_ms: choices.between(1, 10),
        retry_ms: choices.magnitude(1, 40),
        accept_retry_ms: choices.magnitude(1, 150),
        max_connections: match choices.below(4) {
            0 | 1 => 4_096,
            2 => choices.between(1, 8) as usize,
            _ => choices.between(1, 40) as usize,
        },
        max_per_ip: match choices.below(12) {
            11 => Some(choices.between(1, 20) as u32),
            _ => None,
        },
        overload: choices.pick(&[Overload::Wait, Overload::Wait, Overload::Wait, Overload::Shed]),
        backlog: choices.pick(&[4096, 1, 5, 128]),
        asks_kernel: choices.below(12) < 11,
        max_age_ms: match choices.below(6) {
            5 => Some(choices.magnitude(20, 20_000)),
            _ => None,
        },
        output_memory_bytes: match choices.below(6) {
            5 => Some(choices.magnitude(1, 50_000)),
            _ => None,
        },
        accepts_per_turn: choices.pick(&[512, 1, 2, 7]),
        bytes_per_visit: choices.pick(&[65_536, 1, 1_500, 5_000]),
        bytes_per_turn: choices.pick(&[1 << 20, 1, 5_000, 40_000]),
        expiries_per_turn: choices.pick(&[1024, 1, 2, 9]),
        reaps_per_turn: choices.pick(&[1024, 1, 3, 9]),
        clock_interval: choices.pick(&[64, 1, 5]),
        endings_max: if choices.below(16) == 15 { choices.below(3) as usize } else { 1 << 16 },
        ..Config::default()
    }
}

fn choose_deadline(choices: &mut Choices) -> Option<u64> {
    match choices.below(8) {
        0 => Some(10_000),
        1 => None,
        2 | 3 => Some(choices.magnitude(500, 60_000)),
        4 => Some(choices.magnitude(1, 500)),
        _ => Some(choices.between(5, 100)),
    }
}
