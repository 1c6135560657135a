"""Assigns the connections of a capture to the rows of the lab. Pure, like judge.py.

The lab plays its rows in order: directly, then through the proxy. Between two rows it checks
that the server still answers. Each connection sends its own message, and 192 in a row have different
lengths, so the length identifies the connection of a row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Callable, Optional

from capture import Connection
from judge import Play, join

# A client that fills all buffers sends more than this, and not all bytes that send() took are transmitted.
FULL_BYTES = 100_000

NOTHING_SENT = {"S7": "FIN", "S7b": "RST", "S8": "RST"}


Row = dict[str, Any]  # of the lab's report


@dataclass(frozen=True)
class Found:
    """The plays of one row, directly and through the proxy, and those that the row shows. Of a race the
    row shows the last direct run, and the worst run through the proxy."""

    direct: list[Play]
    through: list[Play]
    shown_direct: Play
    shown: Play


def sent_in(side: Row) -> int:
    """How many bytes the client of this row, or of its way through the proxy, handed to its kernel:
    "→ 14 bytes → 14 bytes → FIN" are 28."""
    return sum(map(int, re.findall(r"→ (\d+) bytes", side["wire"])))


def is_it(row: Row, side: Row) -> Callable[[Connection], bool]:
    sent = sent_in(side)
    if row["id"] in NOTHING_SENT:
        ending = NOTHING_SENT[row["id"]]
        return lambda it: not it.near.sent and it.near.ending == ending
    if sent > FULL_BYTES:
        return lambda it: FULL_BYTES < it.near.sent <= sent
    return lambda it: it.near.sent == sent


def runs_of(side: Row) -> int:
    race = side.get("race")
    return race["runs"] if race else 1


class Side:
    """The connections of one way, directly or through the proxy."""

    def __init__(self, clients: list[Connection], servers: list[Connection]) -> None:
        self.clients, self.servers = clients, join(clients, servers)

    def play(self, index: int) -> Play:
        return Play(self.clients[index], self.servers.get(index))

    def first(self, start: int, matches: Callable[[Connection], bool]) -> Optional[int]:
        found = (it for it in range(start, len(self.clients)) if matches(self.clients[it]))
        return next(found, None)


def plays(rows: list[Row], direct: Side, through: Side) -> list[tuple[Row, Optional[Found]]]:
    """Each row that was played both ways, and its plays; None if the capture is incomplete."""
    found: list[tuple[Row, Optional[Found]]] = []
    start = 0
    for row in rows:
        if row["seen"] is None:
            continue
        runs = runs_of(row)
        shown = direct.first(start + runs - 1, is_it(row, row))
        if shown is not None:
            start = shown + 1
        if row["via"] is not None:
            found.append((row, None if shown is None else both_ways(row, shown, direct, through)))
    return found


def both_ways(row: Row, shown: int, direct: Side, through: Side) -> Optional[Found]:
    """`shown` is the last run of the row directly. The runs of a race stand together, and those through
    the proxy begin after the direct ones."""
    began, via = direct.clients[shown].at, row["via"]
    first = through.first(0, lambda it: it.at > began)
    worst = None if first is None else through.first(first, is_it(row, via))
    if first is None or worst is None:
        return None
    block = range(first, first + runs_of(via)) if via.get("race") else range(worst, worst + 1)
    if worst not in block or block[-1] >= len(through.clients):
        return None
    return Found(
        [direct.play(it) for it in range(shown + 1 - runs_of(row), shown + 1)],
        [through.play(it) for it in block],
        direct.play(shown),
        through.play(worst),
    )
