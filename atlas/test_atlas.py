#!/usr/bin/env python3
"""Tests of the pure part: segments, connections, what a proxy changed, and contradictions.

python3 atlas/test_atlas.py
"""

from __future__ import annotations

import socket
import struct
import sys
import unittest
from pathlib import Path
from typing import Any, Optional

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent / "benches" / "limit")]  # measuring.py, for servers.py
from atlas import merged
from capture import ACK, FIN, RST, SYN, Address, Connection, Segment, ahead, connections, parse
from judge import (
    CHANGED,
    LOST,
    PASSED,
    Cell,
    Play,
    assign,
    began,
    cell,
    change_contradictions,
    join,
    line_contradictions,
    row_contradictions,
    seen_contradictions,
)
from page import COLUMNS, of_column
from plays import Side, plays

CLIENT, PROXY, SERVER = ("10.77.1.1", 40_000), ("10.77.1.2", 9001), ("10.77.2.1", 9000)
BEHIND = ("10.77.2.2", 50_000)


def frame(source: Address, target: Address, flags: int, payload: bytes, seq: int = 7) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", source[1], target[1], seq, 9, 5 << 4, flags, 1000, 0, 0)
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(payload), 0, 0, 64, 6, 0) + addresses
    return bytes(12) + b"\x08\x00" + ip + tcp + payload


class Talk:
    """Writes the segments of one connection, with a clock that ticks once a segment."""

    def __init__(self, client: Address, server: Address, at: float = 0.0, first: int = 100) -> None:
        self.ends = (client, server)
        self.seq = [first, 0xFFFF_FFF0]  # the server's numbers soon wrap
        self.at = at
        self.segments: list[Segment] = []

    def says(self, side: int, flags: int, payload: bytes = b"") -> Talk:
        self.at += 0.001
        ack = self.seq[1 - side] if flags & ACK else 0
        ends = self.ends if side == 0 else self.ends[::-1]
        size = len(payload)
        self.segments.append(
            Segment(self.at, *ends, self.seq[side], ack, flags, size, payload[:48])
        )
        self.seq[side] = (self.seq[side] + size + bool(flags & (SYN | FIN))) & 0xFFFF_FFFF
        return self

    def opens(self) -> Talk:
        return self.says(0, SYN).says(1, SYN | ACK).says(0, ACK)

    def connection(self) -> Connection:
        [one] = connections(self.segments, {9000, 9001})
        return one


def talk(
    story: str, request: bytes = b"x" * 14, client: Address = CLIENT, at: float = 0.0
) -> Connection:
    """A connection from a story: > request, < reply, a an ACK of the client's, F and R its ends, f and
    r those of the server."""
    it = Talk(client, SERVER if client == BEHIND else PROXY, at).opens()
    steps: dict[str, tuple[int, int, bytes]] = {
        ">": (0, ACK, request),
        "<": (1, ACK, b"y" * (23 + len(request))),
        "a": (0, ACK, b""),
        "F": (0, FIN | ACK, b""),
        "R": (0, RST, b""),
        "f": (1, FIN | ACK, b""),
        "r": (1, RST, b""),
    }
    for step in story:
        it.says(*steps[step])
    return it.connection()


def play(client: str, server: Optional[str]) -> Play:
    return Play(talk(client), None if server is None else talk(server, client=BEHIND))


def line(verdict: str, **changed: Any) -> dict[str, Any]:
    both = {"peer": "", "time": "1970-01-01T00:00:09Z", "duration_ms": 0}
    return {"verdict": verdict, "fin_received": None, "rx": 14, "tx": 37, **both, **changed}


class Runs(unittest.TestCase):
    def test_what_is_played_later_is_no_longer_left_out(self) -> None:
        def run(played: list[str], failed: dict[str, str], skipped: dict[str, str]) -> Any:
            proxies = [{"proxy": key} for key in played]
            return {"proxies": proxies, "failed": failed, "skipped": skipped}

        old = run(["nginx"], {"socat": "no port"}, {"Envoy": "no `envoy`", "pen": "no `pen`"})
        new = run(["socat", "Envoy"], {"nginx": "no port"}, {})
        both = merged(old, new)
        self.assertEqual({it["proxy"] for it in both["proxies"]}, {"nginx", "socat", "Envoy"})
        self.assertEqual(both["failed"], {"nginx": "no port"})
        self.assertEqual(both["skipped"], {"pen": "no `pen`"})


class Segments(unittest.TestCase):
    def test_a_segment_is_read_from_its_first_bytes(self) -> None:
        whole = frame(CLIENT, PROXY, ACK | FIN, b"z" * 1000)
        segment = parse(whole[:192], 1.5)
        assert segment is not None
        self.assertEqual((segment.source, segment.target), (CLIENT, PROXY))
        self.assertEqual((segment.seq, segment.size, segment.at), (7, 1000, 1.5))
        self.assertEqual(segment.head, b"z" * 48)
        self.assertTrue(segment.has(FIN) and not segment.has(RST))

    def test_what_is_no_tcp_or_is_cut_is_none(self) -> None:
        whole = frame(CLIENT, PROXY, ACK, b"")
        for wrong in (b"", whole[:40], b"\x86\xdd".join([whole[:12], whole[14:]])):
            self.assertIsNone(parse(wrong, 0.0))

    def test_padding_of_a_short_frame_is_no_payload(self) -> None:
        segment = parse(frame(CLIENT, PROXY, ACK, b"") + bytes(6), 0.0)
        assert segment is not None
        self.assertEqual((segment.size, segment.head), (0, b""))

    def test_numbers_wrap(self) -> None:
        self.assertEqual(ahead(5, 0xFFFF_FFFB), 10)
        self.assertEqual(ahead(0xFFFF_FFFB, 5), -10)


class Connections(unittest.TestCase):
    def test_bytes_acknowledgements_and_ends(self) -> None:
        it = talk("><aFf")
        self.assertEqual((it.near.sent, it.far.sent, it.near.acked), (14, 37, 37))
        self.assertEqual((it.near.ending, it.far.ending), ("FIN", "FIN"))

    def test_a_reply_without_an_ack_has_not_arrived(self) -> None:
        it = talk(">F<RR")
        self.assertEqual((it.far.sent, it.near.acked), (37, 0))
        self.assertEqual(it.near.ending, "FIN RST", "each once, in their order")

    def test_what_is_sent_again_counts_once(self) -> None:
        it = Talk(CLIENT, PROXY).opens().says(0, ACK, b"x" * 14)
        it.segments.append(it.segments[-1])
        self.assertEqual(it.connection().near.sent, 14)

    def test_a_port_that_is_used_again_is_another_connection(self) -> None:
        first = Talk(CLIENT, PROXY).opens().says(0, RST).segments
        second = Talk(CLIENT, PROXY, first=9_000).opens().says(0, FIN | ACK).segments
        endings = [it.near.ending for it in connections(first + second, {9001})]
        self.assertEqual(endings, ["RST", "FIN"])


class Cells(unittest.TestCase):
    def test_what_is_the_same_passes(self) -> None:
        same = cell("S4", [play("><aR", "><aR")], [play("><aR", "><aR")], False)
        self.assertEqual(same, Cell(PASSED, "="))

    def test_a_reset_that_becomes_a_fin(self) -> None:
        told = cell("S4", [play("><aR", "><aR")], [play("><aR", "><aF")], False)
        self.assertEqual(told, Cell(CHANGED, "FIN"))

    def test_a_reply_that_a_half_closer_gets_no_more(self) -> None:
        told = cell("S6", [play(">F<af", ">F<af")], [play(">Ff", ">F<R")], True)
        self.assertEqual(told, Cell(LOST, "lost", (0, 37)))

    def test_a_reply_that_is_lost_while_the_server_is_told_that_it_arrived(self) -> None:
        direct = [play(">F<R", ">F<R")]
        told = cell("S16b", direct, [play(">F<R", ">F<af")], False)
        self.assertEqual(told, Cell(CHANGED, "FIN", None, True))

    def test_a_race_may_end_as_it_does_without_the_proxy(self) -> None:
        direct = [play(">F<R", ">F<R"), play("><aR", "><aR")]
        self.assertEqual(cell("S3 race", direct, [play("><aR", "><aR")], False).change, PASSED)

    def test_a_reply_that_was_quicker_than_the_client_is_no_change(self) -> None:
        direct = [play(">F<R", ">F<R")]
        self.assertEqual(cell("S16b", direct, [play("><aF", "><aF")], False).change, PASSED)

    def test_a_server_that_gives_up_is_not_told_that_its_reply_arrived(self) -> None:
        told = cell(
            "S17", [play("><ar", "><ar")], [play("><ar", "><afF"), play(">", "><afF")], False
        )
        self.assertFalse(told.called_delivered)

    def test_a_server_that_never_sees_the_client(self) -> None:
        told = cell("S7", [play("F", "F")], [play("F", None)], False)
        self.assertEqual(told, Cell(CHANGED, "no connection"))

    def test_a_server_that_has_to_end_it_itself(self) -> None:
        told = cell("S1", [play("><aF", "><aF")], [play("><aF", "><afF")], False)
        self.assertEqual(told, Cell(CHANGED, "held open"))

    def test_an_end_of_the_servers_that_the_client_sees_otherwise(self) -> None:
        told = cell("S17", [play("><arF", "><ar")], [play("><afF", "><ar")], True)
        self.assertEqual(told, Cell(CHANGED, "client: FIN"))

    def test_an_end_of_the_servers_that_comes_when_the_client_has_given_up(self) -> None:
        direct = [play("><afF", "><afF")]
        self.assertEqual(cell("S9", direct, direct, True), Cell(PASSED, "="))
        told = cell("S9", direct, [play("><aFf", "><afF")], True)
        self.assertEqual(told, Cell(CHANGED, "client: no end"))

    def test_a_column_shows_each_of_its_endings_once_and_the_bad_ones_first(self) -> None:
        column = next(it for it in COLUMNS if it.title == "half-close")
        cells = {"S6": Cell(PASSED, "="), "S6c": Cell(LOST, "lost", (0, 37), True)}
        self.assertEqual(of_column(cells, column), "**lost** †, =")
        self.assertEqual(of_column({}, column), "?")


class Contradictions(unittest.TestCase):
    def test_a_verdict_needs_its_segments(self) -> None:
        self.assertEqual(line_contradictions(line("peer_reset.reply_acked"), talk("><aR")), [])
        [wrong] = line_contradictions(line("peer_reset.reply_acked"), talk("><aF"))
        self.assertEqual(
            wrong, "the close log has peer_reset.reply_acked, but no RST reached the server"
        )
        [wrong] = line_contradictions(line("peer_fin.delivered"), talk("><aR"))
        self.assertTrue(wrong.endswith("no FIN reached the server"), wrong)
        [wrong] = line_contradictions(line("peer_fin.delivered"), talk(">F<"))
        self.assertTrue(wrong.endswith("37 bytes are not acknowledged"), wrong)
        self.assertEqual(line_contradictions(line("peer_fin.reply_refused"), talk(">F<R")), [])
        [wrong] = line_contradictions(line("peer_fin.reply_refused"), talk(">F<"))
        self.assertTrue(wrong.endswith("no RST reached the server"), wrong)
        [wrong] = line_contradictions(line("timeout.read"), talk("><aF"))
        self.assertTrue(wrong.endswith("the server sent neither FIN nor RST"), wrong)
        [wrong] = line_contradictions(line("timeout.write_stall"), talk("><af"))
        self.assertTrue(wrong.endswith("the server sent no RST"), wrong)

    def test_a_fin_that_was_acknowledged_is_known_to_a_line_that_came_later(self) -> None:
        timed_out = line("timeout.read", fin_received=False)
        [wrong] = line_contradictions(timed_out, talk("><afFf"))
        self.assertTrue(wrong.endswith("no received FIN, but one was acknowledged"), wrong)
        early = {**timed_out, "time": "1970-01-01T00:00:00Z"}
        self.assertEqual(line_contradictions(early, talk("><afFf")), [])
        self.assertEqual(line_contradictions(timed_out, talk("><afF")), [], "out of order")

    def test_bytes_are_compared(self) -> None:
        [wrong] = line_contradictions(line("peer_fin.delivered", rx=15), talk("><aF"))
        self.assertTrue(wrong.endswith("15 bytes in, but 14 reached the server"), wrong)
        [wrong] = line_contradictions(line("peer_fin.delivered", tx=36), talk("><aF"))
        self.assertTrue(wrong.endswith("36 bytes out, but 37 left the server"), wrong)

    def test_what_the_client_saw_was_on_its_side(self) -> None:
        seen = {"end": "reset", "reply": {"got": 37, "of": 37}}
        self.assertEqual(seen_contradictions("S6", seen, play("><ar", None)), [])
        [wrong] = seen_contradictions("S6", seen, play("><af", None))
        self.assertEqual(wrong, "the lab reports that its client saw a RST, but its side has FIN")
        [wrong] = seen_contradictions("S6", {**seen, "end": None}, play(">F", None))
        self.assertTrue(wrong.endswith("37 bytes received, but its side has 0"), wrong)
        [wrong] = seen_contradictions("S6", {"end": None, "reply": {"got": 0}}, play("><a", None))
        self.assertTrue(wrong.endswith("0 bytes received, but 37 are acknowledged"), wrong)

    def test_the_labs_word_for_the_change(self) -> None:
        passed, changed, lost = Cell(PASSED, "="), Cell(CHANGED, "FIN"), Cell(LOST, "lost", (0, 37))
        for word, told in (("same", passed), ("differs", changed), ("lost", lost)):
            self.assertEqual(
                change_contradictions("S6", {"change": word, "note": None}, told, []), []
            )
        wrong = [("same", changed), ("same", lost), ("differs", lost), ("lost", changed)]
        for word, told in wrong:
            self.assertEqual(
                len(change_contradictions("S6", {"change": word, "note": None}, told, [])),
                1,
                (word, told),
            )


class Joins(unittest.TestCase):
    def test_a_connection_belongs_to_the_client_that_sent_the_same(self) -> None:
        clients = [talk(">", b"one", at=1.0), talk(">", b"two", at=2.0), talk("F", at=3.0)]
        late = talk(">", b"one", BEHIND, at=2.5)
        silent = talk("F", client=BEHIND, at=3.5)
        self.assertEqual(join(clients, [silent, late]), {0: late, 2: silent})

    def test_a_connection_without_a_client_is_left(self) -> None:
        self.assertEqual(join([talk(">", b"one", at=2.0)], [talk("F", client=BEHIND, at=1.0)]), {})

    def test_a_row_is_found_by_its_length_and_the_runs_of_a_race_stand_together(self) -> None:
        def side(sent: int, runs: int = 0) -> dict[str, Any]:
            wire = f"→ {sent} bytes → FIN"
            return {"seen": {}, "wire": wire, "race": {"runs": runs} if runs else None}

        def clients(at_and_size: dict[int, int]) -> Side:
            talks = [talk(">", b"x" * size, at=at) for at, size in at_and_size.items()]
            return Side(talks, [])

        # 15, 19, 31 and 43 are questions how the server is; 41 is the worst run of the race.
        direct = clients({1: 14, 2: 15, 5: 16, 6: 17, 7: 18, 8: 19})
        through = clients({3: 30, 4: 31, 9: 40, 10: 41, 11: 42, 12: 43})
        rows = [
            {"id": "S1", **side(14), "via": side(30)},
            {"id": "S3 race", **side(18, 3), "via": side(41, 3)},
            {"id": "S4", **side(99), "via": side(98)},
            {"id": "S20", "seen": None, "via": None},
        ]
        both = plays(rows, direct, through)
        self.assertEqual([(row["id"], it is None) for row, it in both][2:], [("S4", True)])
        found = {row["id"]: it for row, it in both if it is not None}
        sent = {
            name: [[it.client.near.sent for it in way] for way in (its.direct, its.through)]
            for name, its in found.items()
        }
        self.assertEqual(sent, {"S1": [[14], [30]], "S3 race": [[16, 17, 18], [40, 41, 42]]})
        race = found["S3 race"]
        self.assertEqual(race.shown_direct.client.near.sent, 18)
        self.assertEqual(race.shown.client.near.sent, 41)

    def test_a_row_shows_the_line_of_its_own_connection(self) -> None:
        row = {"verdict": "peer_fin.delivered", "evidence": {"rx": 14}}
        self.assertEqual(row_contradictions(row, line("peer_fin.delivered")), [])
        self.assertEqual(len(row_contradictions(row, line("peer_reset.probe"))), 1)
        self.assertEqual(len(row_contradictions(row, line("peer_fin.delivered", rx=15))), 1)
        self.assertEqual(len(row_contradictions(row, None)), 1)
        self.assertEqual(row_contradictions({"verdict": None}, None), [])

    def test_lines_are_joined_by_the_port_at_the_server_which_may_be_used_again(self) -> None:
        one, two = talk(">", client=BEHIND, at=1.0), talk(">", client=BEHIND, at=2.0)
        first = line("peer_fin.delivered", peer="10.77.2.2:50000")
        second, other = {**first, "verdict": "peer_reset.probe"}, {**first, "peer": "10.77.2.2:1"}
        self.assertEqual(assign([one, two], [first, other, second]), [other])
        self.assertEqual((one.line, two.line), (first, second))

    def test_a_line_tells_when_its_connection_began(self) -> None:
        it = line("peer_fin.delivered", time="1970-01-01T00:00:05.500Z", duration_ms=1500)
        self.assertAlmostEqual(began(it), 4.0, delta=0.02)

    def test_a_proxy_may_put_two_messages_into_one_segment(self) -> None:
        two = Talk(CLIENT, PROXY, at=1.0).opens().says(0, ACK, b"one").says(0, ACK, b"two")
        server = talk(">", b"onetwo", BEHIND, at=2.0)
        client = two.connection()
        self.assertEqual(client.near.head, b"onetwo")
        self.assertEqual(join([client], [server]), {0: server})


if __name__ == "__main__":
    unittest.main()
