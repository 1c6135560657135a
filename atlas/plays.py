"""Which connections of a capture belong to which row of the lab. Pure, like judge.py.

The lab plays its rows in order: directly, then through the proxy. Between two of them it asks whether
the server is still well. Each connection sends a message of its own, and 192 in a row have different
lengths, so the length says which one a row is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional

from capture import Address, Connection
from judge import PREFIX_BYTES, Line, Play, join

# A client that fills all buffers sends more than this, and not all that send() took gets to the wire.
FULL_BYTES = 100_000

NOTHING_SENT = {"S7": "FIN", "S7b": "RST", "S8": "RST"}


@dataclass(frozen=True)
class Found:
    """The plays of one row, directly and through the proxy, and those that the row shows: of a race
    directly the last run, and through the proxy the worst one."""

    direct: list[Play]
    through: list[Play]
    shown_direct: Play
    shown: Play


def sent_in(side: Optional[dict[str, Any]]) -> Optional[int]:
    """How many bytes the client of this row, or of its way through the proxy, handed to its kernel."""
    seen = side and side["seen"]
    return seen["reply"]["of"] - PREFIX_BYTES if seen and seen["reply"] else None


def is_it(row: dict[str, Any], side: dict[str, Any]) -> Callable[[Connection], bool]:
    sent = sent_in(side)
    if row["id"] in NOTHING_SENT:
        ending = NOTHING_SENT[row["id"]]
        return lambda it: not it.near.sent and it.near.ending == ending
    if sent is None:
        return lambda it: False
    if sent > FULL_BYTES:
        return lambda it: FULL_BYTES < it.near.sent <= sent
    return lambda it: it.near.sent == sent


def runs_of(side: dict[str, Any]) -> int:
    race = side.get("race")
    return race["runs"] if race else 1


class Side:
    """The connections of one way, directly or through the proxy, and what the server says of them."""

    def __init__(
        self, clients: list[Connection], servers: list[Connection], log: list[Line]
    ) -> None:
        self.clients = clients
        self.servers = join(clients, servers)
        self.lines: dict[Address, Line] = {}
        for line in log:
            host, port = line["peer"].rsplit(":", 1)
            self.lines[host, int(port)] = line

    def play(self, index: int) -> Play:
        server = self.servers.get(index)
        line = self.lines.get(server.client) if server else None
        return Play(self.clients[index], server, line)

    def first(self, start: int, matches: Callable[[Connection], bool]) -> Optional[int]:
        found = (it for it in range(start, len(self.clients)) if matches(self.clients[it]))
        return next(found, None)


def plays(rows: list[dict[str, Any]], direct: Side, through: Side) -> dict[str, Found]:
    """By the row's id. A row that was not played both ways, or that the capture has not, is left out."""
    found, next_direct = {}, 0
    for row in rows:
        if row["seen"] is None:
            continue
        runs = runs_of(row)
        shown = direct.first(next_direct + runs - 1, is_it(row, row))
        if shown is None:
            continue
        next_direct = shown + 1
        if row["via"] is None:
            continue
        # The runs of a race stand together, and begin right after the direct ones.
        began = direct.clients[shown].at
        matches = is_it(row, row["via"])
        first = through.first(0, lambda it, began=began: it.at > began)  # type: ignore[misc]
        worst = None if first is None else through.first(first, matches)
        if first is None or worst is None:
            continue
        block = range(first, first + runs_of(row["via"])) if row["via"].get("race") else [worst]
        if worst not in block:
            continue
        found[row["id"]] = Found(
            [direct.play(it) for it in range(shown + 1 - runs, shown + 1)],
            [through.play(it) for it in block if it < len(through.clients)],
            direct.play(shown),
            through.play(worst),
        )
    return found
