"""Captures on both sides of a proxy, and assembles the segments to connections.

Segments are parsed from their first bytes only. The assembly is pure and tested in test_atlas.py;
Capture is the part that reads sockets.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Any, Iterable, Optional

from network import (
    CLIENT,
    CLIENT_DEVICE,
    PROXY_PORT,
    SERVER,
    SERVER_DEVICE,
    SERVER_PORT,
    Failure,
    Network,
    packet_socket,
)

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

# Enough for the headers with all options, and for the start of a message.
SNAP_BYTES = 192
HEAD_BYTES = 48
BUFFER_BYTES = 64 << 20
SETTLE_SECONDS = 0.3

SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_TIMESTAMPNS = 35

Address = tuple[str, int]


@dataclass(frozen=True)
class Segment:
    at: float  # seconds, the kernel's clock
    source: Address
    target: Address
    seq: int
    ack: int
    flags: int
    size: int  # bytes of payload
    head: bytes  # the beginning of them

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)


def parse(frame: bytes, at: float) -> Optional[Segment]:
    """A TCP segment over IPv4 in an Ethernet frame; None for anything else."""
    if len(frame) < 54 or frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_TCP:
        return None
    ip = frame[14:]
    header, total = (ip[0] & 0x0F) * 4, struct.unpack_from("!H", ip, 2)[0]
    tcp = ip[header:]
    if len(tcp) < 20:
        return None
    sport, dport, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", tcp)
    data = (offset >> 4) * 4
    return Segment(
        at,
        (socket.inet_ntoa(ip[12:16]), sport),
        (socket.inet_ntoa(ip[16:20]), dport),
        seq,
        ack,
        flags,
        max(total - header - data, 0),
        tcp[data : data + min(HEAD_BYTES, max(total - header - data, 0))],
    )


def ahead(one: int, other: int) -> int:
    """The distance from `other` to `one`, both of 32 bits."""
    return ((one - other + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


@dataclass
class Direction:
    """The segments that one end of a connection has sent."""

    begin: Optional[int] = None  # the sequence number of its first byte
    sent: int = 0  # bytes of payload; retransmitted bytes count once
    acked: int = 0  # bytes of the other end's payload that it acknowledged
    head: bytes = b""
    ends: list[tuple[float, str]] = field(default_factory=list)  # FIN, RST, each once
    fin_acked: bool = False  # the other end has acknowledged the FIN: it was in order

    def ended(self, word: str) -> Optional[float]:
        return next((at for at, end in self.ends if end == word), None)

    @property
    def ending(self) -> str:
        """The ending segments in their order: "FIN", "RST", "FIN RST", or "" for none."""
        return " ".join(end for _, end in self.ends)


@dataclass
class Connection:
    """A connection as one device saw it: `near` opened it, `far` accepted it."""

    client: Address
    server: Address
    at: float
    near: Direction = field(default_factory=Direction)
    far: Direction = field(default_factory=Direction)
    line: Optional[dict[str, Any]] = None  # its line in the server's close log

    def adds(self, segment: Segment) -> None:
        by_client = segment.source == self.client
        one, other = (self.near, self.far) if by_client else (self.far, self.near)
        if segment.has(SYN):
            one.begin = (segment.seq + 1) & 0xFFFF_FFFF
        if one.begin is not None and segment.size:
            place = ahead(segment.seq, one.begin)
            one.sent = max(one.sent, place + segment.size)
            # A proxy may put two messages into one segment, so the stream is compared, not the segments.
            if 0 <= place <= len(one.head) < HEAD_BYTES:
                one.head = (one.head[:place] + segment.head)[:HEAD_BYTES]
        if other.begin is not None and segment.has(ACK):
            # Not more than was sent: the acknowledgement of a FIN counts one more.
            to = ahead(segment.ack, other.begin)
            one.acked = max(one.acked, min(to, other.sent))
            other.fin_acked |= other.ended("FIN") is not None and to > other.sent
        for flag, word in ((FIN, "FIN"), (RST, "RST")):
            if segment.has(flag) and one.ended(word) is None:
                one.ends.append((segment.at, word))


def connections(segments: Iterable[Segment], ports: set[int]) -> list[Connection]:
    """The connections to one of `ports`, in the order of their SYNs."""
    known: dict[tuple[Address, Address], Connection] = {}
    every: list[Connection] = []
    for segment in segments:
        opens = segment.has(SYN) and not segment.has(ACK)
        pair = (segment.source, segment.target)
        if opens and segment.target[1] in ports:
            first = (segment.seq + 1) & 0xFFFF_FFFF
            if pair not in known or known[pair].near.begin != first:
                known[pair] = Connection(*pair, segment.at)
                every.append(known[pair])
        found = known.get(pair) or known.get((pair[1], pair[0]))
        if found is not None:
            found.adds(segment)
    return every


class Capture:
    """Reads both devices on its own thread until the context ends."""

    def __init__(self, network: Network) -> None:
        self.sockets = {
            CLIENT: network.enters(CLIENT, lambda: packet_socket(CLIENT_DEVICE, BUFFER_BYTES)),
            SERVER: network.enters(SERVER, lambda: packet_socket(SERVER_DEVICE, BUFFER_BYTES)),
        }
        self.segments: dict[str, list[Segment]] = {CLIENT: [], SERVER: []}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.reads)

    def __enter__(self) -> Capture:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        for it in self.sockets.values():
            it.close()

    def reads(self) -> None:
        places = {it: where for where, it in self.sockets.items()}
        quiet = False
        while not (quiet and self.stop.is_set()):
            ready = select.select(list(places), [], [], SETTLE_SECONDS)[0]
            quiet = not ready
            for it in ready:
                self.takes(it, self.segments[places[it]])

    def takes(self, it: socket.socket, segments: list[Segment]) -> None:
        while True:
            try:
                frame, ancillary, _, _ = it.recvmsg(SNAP_BYTES, 64)
            except BlockingIOError:
                return
            at = 0.0
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    seconds, nanos = struct.unpack("qq", data[:16])
                    at = seconds + nanos / 1e9
            segment = parse(frame, at)
            if segment is not None:
                segments.append(segment)

    def lost(self) -> int:
        """Packets that the kernel dropped for lack of space. Call it once, before the context ends."""
        drops = 0
        for it in self.sockets.values():
            drops += struct.unpack("II", it.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        return drops

    def sides(self) -> tuple[list[Connection], list[Connection]]:
        """On the client's side the connections to the proxy and to the server; on the server's side all."""
        if not self.segments[CLIENT] or not self.segments[SERVER]:
            raise Failure("the capture saw nothing")
        return (
            connections(self.segments[CLIENT], {PROXY_PORT, SERVER_PORT}),
            connections(self.segments[SERVER], {SERVER_PORT}),
        )
