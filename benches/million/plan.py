"""The number of processes for a number of connections, and the connections that fit on a machine."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

# Files of a server, and of a process of the generator, that are not connections.
FILES_RESERVED = 64
# SO_REUSEPORT spreads connections by a hash: allow six times the square root above a server's mean.
SPREAD = 6
# Both ends of a connection: kernel, server and generator together. Measured: 4,500 to 7,000.
BYTES_EACH = 7_000
# Memory of a process of either kind before its first connection.
PROCESS_BYTES = 3 << 20
# Memory that is left for the rest of the machine.
SPARE_BYTES = 512 << 20
PAGE = 4096
# The ports of the namespace, for each source address.
PORTS = (1024, 65535)
# Messages a second while all connections are held, one of each: what two cores carry beside.
RATE = 20_000
# The shortest time that connections are held, in seconds.
HOLD_S = 2


@dataclass(frozen=True)
class Plan:
    """One run."""

    connections: int
    processes: int
    rate: int

    @property
    def hold_ms(self) -> int:
        """The time in which each connection sends once, in turn."""
        return -(-self.connections * 1000 // self.rate)

    @property
    def limit_s(self) -> float:
        """The limit on the whole run."""
        return 180 + self.hold_ms / 1000 + self.connections / 1_000

    def memory(self) -> int:
        return self.connections * BYTES_EACH + 2 * self.processes * PROCESS_BYTES + SPARE_BYTES

    def settings(self, files_open: int, pages: int) -> dict[str, tuple[int, ...]]:
        """The least values of the machine's settings, given its open files and pages of memory. Buffers get
        a page for each end, but no more than half of the memory."""
        most = min(2 * self.connections, pages // 2)
        return {
            "fs.file-max": (files_open + 2 * self.connections + 100_000,),
            "fs.epoll.max_user_watches": (2 * self.connections + 100_000,),
            "net.ipv4.tcp_mem": (most // 2, most * 3 // 4, most),
        }


def processes(connections: int, open_files: int, cores: int) -> int:
    """The number of servers that share the connections, so that none of them runs out of files."""
    return min(connections, max(cores, -int(-connections // mean(open_files))))


def mean(open_files: int) -> float:
    """The most connections of a server on average: mean + SPREAD * sqrt(mean) have files."""
    return float((sqrt(SPREAD**2 / 4 + max(open_files - FILES_RESERVED, 1)) - SPREAD / 2) ** 2)


def plan(connections: int, open_files: int, cores: int) -> Plan:
    rate = max(1, min(RATE, connections // HOLD_S))
    return Plan(connections, processes(connections, open_files, cores), rate)


def fits(available: int, open_files: int, cores: int) -> int:
    """The number of connections that this memory is enough for, in whole thousands."""
    each = BYTES_EACH + 2 * PROCESS_BYTES / mean(open_files)
    most = (available - SPARE_BYTES - 2 * (cores + 1) * PROCESS_BYTES) / each
    return max(0, int(most) // 1000 * 1000)
