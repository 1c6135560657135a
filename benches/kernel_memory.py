#!/usr/bin/env python3
"""Measures the kernel memory of an idle TCP connection on this machine, in bytes.

    python3 benches/kernel_memory.py                     # as many pairs as the open files allow
    python3 benches/kernel_memory.py --pairs 2000 --rounds 3

The loop keeps 120 bytes for a connection (`cargo bench --bench scale`); the kernel keeps more. The
bench connects pairs over loopback. After each step it reads the growth of the slabs by name
(/proc/slabinfo, which needs root), of all slabs together (Slab in /proc/meminfo), of MemAvailable and
of the page count in /proc/net/sockstat.

Both ends are on this machine, so the steps separate them. First, the pairs alone: their memory is
halved, because both ends are alike (socket, inode, file, dentry). Then one end of each pair, the
server's, is registered with epoll. Then each pair exchanges a message, after which no memory should
remain in use. Two processes hold the pairs, so that each end counts against its own limit of open files.

The kernel merges slabs of equal size, so an object may appear under the name of another slab: an epoll
registration is one eventpoll_epi and one eventpoll_pwq, and the latter takes 64 bytes under any name.
Other processes open files and need memory as well. The medians of the rounds are therefore shown with
their range, and slabs for files are not in the sum. MemAvailable includes everything, so it is
meaningful only on a machine without other work.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import select
import socket
import sys
import time
from statistics import median
from typing import Callable

PAIRS_MAX = 19_000
FILES_RESERVE = 64
BACKLOG = 256
MESSAGE = b"Hi,here is glp"
# A slab that grew by less than this for each end is not shown.
BYTES_MIN = 2.0
# Slabs of files and memory maps: used by other processes, or by the reads of /proc here.
OTHERS = ("ext4", "proc_inode", "inode_cache", "shmem", "buffer_head", "radix_tree", "vm_area", "btrfs")
SETTLE_SECONDS = 0.3
# A round is discarded when other processes opened or closed more sockets than this share of the pairs.
SHARE_MAX = 0.002
TRIES = 4


def slabs() -> dict[str, int]:
    """Bytes of all objects in use, by the name of their slab."""
    found = {}
    with open("/proc/slabinfo", encoding="ascii") as lines:
        for line in lines:
            words = line.split()
            if len(words) > 6 and words[1].isdigit():
                found[words[0]] = int(words[1]) * int(words[3])
    return found


def meminfo(name: str) -> int:
    with open("/proc/meminfo", encoding="ascii") as lines:
        for line in lines:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/meminfo does not have {name}")


def sockstat(name: str) -> int:
    """A counter of TCP: sockets (alloc), or pages charged for the data in its queues (mem)."""
    with open("/proc/net/sockstat", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("TCP:"):
                words = line.split()
                return int(words[words.index(name) + 1])
    raise SystemExit(f"/proc/net/sockstat does not have {name} for TCP")


Reading = dict[str, float]


def read() -> Reading:
    # Freed objects return to their slabs a moment later (RCU).
    time.sleep(SETTLE_SECONDS)
    reading: Reading = {f"slab {name}": size for name, size in slabs().items()}
    reading["all slabs"] = meminfo("Slab")
    reading["MemAvailable"] = -meminfo("MemAvailable")
    reading["queues"] = sockstat("mem") * resource.getpagesize()
    reading["sockets"] = sockstat("alloc")
    return reading


def grown(before: Reading, after: Reading, pairs: int) -> Reading:
    return {name: (after[name] - before.get(name, 0)) / pairs for name in after}


class Clients:
    """A process that holds the client ends and follows one order at a time."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.orders, theirs = socket.socketpair()
        self.process = os.fork()
        if self.process == 0:
            status = 1
            try:
                self.orders.close()
                serve_orders(theirs, address)
                status = 0
            finally:
                os._exit(status)
        theirs.close()

    def tell(self, order: str) -> None:
        self.orders.sendall(order.encode().ljust(32))

    def wait(self) -> None:
        if self.orders.recv(1) != b".":
            raise SystemExit("the client process has died")

    def end(self) -> None:
        self.orders.close()
        os.waitpid(self.process, 0)


def serve_orders(orders: socket.socket, address: tuple[str, int]) -> None:
    held: list[socket.socket] = []
    while order := orders.recv(32, socket.MSG_WAITALL):
        verb, count = order.split()
        if verb == b"connect":
            for _ in range(int(count)):
                client = socket.socket()
                client.connect(address)
                held.append(client)
        elif verb == b"ask":
            for client in held:
                client.sendall(MESSAGE)
        elif verb == b"listen":
            for client in held:
                client.recv(len(MESSAGE), socket.MSG_WAITALL)
        orders.sendall(b".")


def one_round(pairs: int) -> dict[str, Reading]:
    """The growth in each step, in bytes for a pair."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    poll = select.epoll()
    clients = Clients(listener.getsockname())
    held: list[socket.socket] = []

    def connect() -> None:
        while len(held) < pairs:
            batch = min(BACKLOG, pairs - len(held))
            clients.tell(f"connect {batch}")
            held.extend(listener.accept()[0] for _ in range(batch))
            clients.wait()

    def watch() -> None:
        for server in held:
            poll.register(server, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def talk() -> None:
        clients.tell("ask 0")
        clients.wait()
        for server in held:
            server.sendall(server.recv(len(MESSAGE)))
        clients.tell("listen 0")
        clients.wait()

    steps: list[tuple[str, Callable[[], None]]] = [
        ("connect", connect),
        ("watch", watch),
        ("talk", talk),
    ]
    try:
        # The table of open files grows in steps and never shrinks, so it gets its full size first.
        spare = [os.dup(0) for _ in range(pairs + FILES_RESERVE // 2)]
        for descriptor in spare:
            os.close(descriptor)
        result = {}
        before = read()
        for name, step in steps:
            step()
            gc.collect()
            after = read()
            result[name] = grown(before, after, pairs)
            before = after
        return result
    finally:
        clients.end()
        poll.close()
        for server in held:
            server.close()
        listener.close()


def is_disturbed(one: dict[str, Reading]) -> bool:
    """Whether other processes opened or closed sockets during the round."""
    expected = {"connect": 2.0, "watch": 0.0, "talk": 0.0}
    return any(abs(one[step]["sockets"] - count) > SHARE_MAX for step, count in expected.items())


def quiet_rounds(pairs: int, count: int) -> list[dict[str, Reading]]:
    rounds: list[dict[str, Reading]] = []
    for _ in range(TRIES * count):
        one = one_round(pairs)
        if is_disturbed(one):
            print("a round is discarded: other processes opened or closed sockets", file=sys.stderr)
            continue
        rounds.append(one)
        if len(rounds) == count:
            return rounds
    raise SystemExit("other processes open and close too many sockets: try again when the machine is quieter")


def middle(rounds: list[dict[str, Reading]], step: str, name: str) -> float:
    return median(one[step].get(name, 0.0) for one in rounds)


def spread(rounds: list[dict[str, Reading]], step: str, name: str, share: float) -> str:
    values = [one[step].get(name, 0.0) * share for one in rounds]
    return f"{min(values):.0f} to {max(values):.0f}"


def table(rounds: list[dict[str, Reading]], pairs: int) -> list[str]:
    rows = [
        f"{pairs:,} pairs, {len(rounds)} rounds, Linux {platform.release()}; bytes, medians",
        "",
        "| what | for each end | range |",
        "|---|---:|---:|",
    ]

    def add(what: str, step: str, name: str, share: float) -> float:
        value = middle(rounds, step, name) * share
        rows.append(f"| {what} | {value:.0f} | {spread(rounds, step, name, share)} |")
        return value

    names = sorted({name for one in rounds for name in one["connect"] if is_about_sockets(name)})
    total = 0.0
    for step, title, share in (("connect", "a socket", 0.5), ("watch", "its registration", 1.0)):
        known = [(middle(rounds, step, name) * share, name) for name in names]
        for value, name in sorted(known, reverse=True):
            if value >= BYTES_MIN:
                total += add(f"{title}: {name[5:]}", step, name, share)
    add("either end, all slabs and whole pages", "connect", "all slabs", 0.5)
    add("the registration, all slabs and whole pages", "watch", "all slabs", 1.0)
    add("left after a message, both ends, all slabs", "talk", "all slabs", 1.0)
    add("left after a message in queues, both ends", "talk", "queues", 1.0)
    add("either end, by MemAvailable", "connect", "MemAvailable", 0.5)
    rows += ["", f"A server's end, registered with epoll: {total:,.0f} bytes, the sum of the objects above."]
    return rows


def is_about_sockets(name: str) -> bool:
    if not name.startswith("slab "):
        return False
    slab = name.removeprefix("slab ")
    if slab in ("sock_inode_cache", "lsm_inode_cache"):
        return True
    return not any(other in slab for other in OTHERS)


def main() -> int:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=min(PAIRS_MAX, files - FILES_RESERVE))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--json", metavar="FILE", type=argparse.FileType("w"), help="write every round to FILE, in bytes for a pair"
    )
    options = parser.parse_args()
    room = files - FILES_RESERVE
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    if not 1 <= options.pairs <= room:
        parser.error(f"--pairs: 1 to {room}, the limit with {files} open files (ulimit -Hn)")
    if not os.access("/proc/slabinfo", os.R_OK):
        print("/proc/slabinfo cannot be read: this needs Linux and root (sudo)", file=sys.stderr)
        return 3
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    one_round(min(options.pairs, 500))  # memory that is allocated once and kept
    rounds = quiet_rounds(options.pairs, options.rounds)
    print("\n".join(table(rounds, options.pairs)))
    if options.json:
        json.dump({"pairs": options.pairs, "rounds": rounds}, options.json, indent=1)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
