"""How many processes a number of connections takes, and how many connections fit on a machine."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

# Files of a server that are no connections, and of a process of the generator.
FILES_RESERVED = 64
# SO_REUSEPORT spreads connections by a hash: around the mean of a server lie six times its root.
SPREAD = 6
# Both ends of a connection: kernel, server and generator together. Measured: 4,500 to 7,000.
BYTES_EACH = 7_000
# What a process of either kind takes before its first connection.
PROCESS_BYTES = 3 << 20
# What is left to the rest of the machine.
SPARE_BYTES = 512 << 20
PAGE = 4096
# The ports of the namespace, for each source address.
PORTS = (1024, 65535)
# Messages a second while all connections are held, one of each: what two cores carry beside.
RATE = 20_000
# The fewest seconds that connections are held.
HOLD_S = 2


@dataclass(frozen=True)
class Plan:
    """One run."""

    connections: int
    processes: int
    rate: int

    @property
    def hold_ms(self) -> int:
        """In this time each connection is due once, in turn."""
        return -(-self.connections * 1000 // self.rate)

    @property
    def limit_s(self) -> float:
        """Nothing takes longer."""
        return 180 + self.hold_ms / 1000 + self.connections / 1_000

    def memory(self) -> int:
        return self.connections * BYTES_EACH + 2 * self.processes * PROCESS_BYTES + SPARE_BYTES

    def settings(self, files_open: int, pages: int) -> dict[str, tuple[int, ...]]:
        """What the settings of the machine have to be at least, with this many files open and pages
        of memory there. A page of buffers for each end, but no more than half of the memory."""
        most = min(2 * self.connections, pages // 2)
        return {
            "fs.file-max": (files_open + 2 * self.connections + 100_000,),
            "fs.epoll.max_user_watches": (2 * self.connections + 100_000,),
            "net.ipv4.tcp_mem": (most // 2, most * 3 // 4, most),
        }


def processes(connections: int, open_files: int, cores: int) -> int:
    """How many servers share the connections, so that none of them runs out of files."""
    return min(connections, max(cores, -int(-connections // mean(open_files))))


def mean(open_files: int) -> float:
    """The most connections of a server on average: mean + SPREAD * sqrt(mean) have files."""
    return float((sqrt(SPREAD**2 / 4 + max(open_files - FILES_RESERVED, 1)) - SPREAD / 2) ** 2)


def plan(connections: int, open_files: int, cores: int) -> Plan:
    rate = max(1, min(RATE, connections // HOLD_S))
    return Plan(connections, processes(connections, open_files, cores), rate)


def fits(available: int, open_files: int, cores: int) -> int:
    """How many connections that much memory is enough for, in whole thousands."""
    each = BYTES_EACH + 2 * PROCESS_BYTES / mean(open_files)
    most = (available - SPARE_BYTES - 2 * (cores + 1) * PROCESS_BYTES) / each
    return max(0, int(most) // 1000 * 1000)
