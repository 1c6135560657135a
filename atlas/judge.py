"""Judges the captures: what passes a proxy, what it changes, and where they contradict the lab.

Everything here is pure; test_atlas.py has its tests. A play is one client of the lab, as both devices
saw it. Through a proxy it is two connections, or one if the proxy never opened the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Optional

from capture import Connection

# What closecall puts before each reply.
PREFIX_BYTES = 23

# From good to bad.
PASSED, CHANGED, LOST = "passed", "changed", "lost"

# In place of an ending that reaches the server.
NO_CONNECTION, HELD_OPEN = "no connection", "held open"

# With a FIN, and then a reset that answered the reply.
REFUSED = ("peer_fin.reply_refused", "peer_fin.reply_discarded")

# The client does not wait for its reply, so it cannot lose one.
EAGER = ("S3 race", "S3 pipelined", "S8b", "S15", "S16b", "S17")

# Endings that the lab accepts in a race, in addition to those captured directly. A FIN alone is accepted
# where the reply can be quicker: the client's TCP must have all of it.
RACES = {
    "S3 race": {"FIN RST", "RST"},
    "S3 pipelined": {"FIN RST", "RST"},
    "S6b": {"FIN RST", "FIN"},
    "S8b": {"RST"},
    "S16b": {"FIN RST", "FIN"},
}

Line = dict[str, Any]  # of a close log, or a row of the lab


@dataclass(frozen=True)
class Play:
    client: Connection
    server: Optional[Connection]

    @property
    def line(self) -> Optional[Line]:
        """Its line in the server's close log."""
        return self.server.line if self.server else None

    @property
    def got(self) -> int:
        """Bytes of the reply that the client's TCP acknowledged."""
        return self.client.near.acked

    @property
    def reply(self) -> int:
        """Bytes of the whole reply, if the server answers all that the client sent."""
        return self.client.near.sent + PREFIX_BYTES if self.client.near.sent else 0


def reaches_server(play: Play) -> str:
    """The ending segments that the server received, as long as it had not ended its side first."""
    if play.server is None:
        return NO_CONNECTION
    near, far = play.server.near.ends, play.server.far.ends
    if far and (not near or far[0][0] < near[0][0]):
        return HELD_OPEN
    return play.server.near.ending or HELD_OPEN


def reaches_client(play: Play) -> str:
    """The first ending segment that the client received; "" for none."""
    return play.client.far.ends[0][1] if play.client.far.ends else ""


def is_ended_by_server(play: Play) -> bool:
    """Whether the client received an end before it ended its own side."""
    near, far = play.client.near.ends, play.client.far.ends
    return bool(far) and (not near or far[0][0] < near[0][0])


def is_lost(play: Play) -> bool:
    return play.got < play.reply


def is_called_delivered(play: Play) -> bool:
    """Acknowledged towards the server, but the client's TCP did not receive all that the server sent."""
    return is_acknowledged(play) and play.server is not None and play.got < play.server.far.sent


def is_acknowledged(play: Play) -> bool:
    """The server received a FIN, and the acknowledgement of everything that it sent."""
    server = play.server
    if server is None or not server.far.sent or reaches_server(play) != "FIN":
        return False
    return server.near.acked >= server.far.sent


@dataclass(frozen=True)
class Cell:
    """The effect of a proxy on one ending."""

    change: str
    text: str  # "=", or what it becomes
    got: Optional[tuple[int, int]] = None  # if a reply is lost: bytes received, bytes of the whole reply
    called_delivered: bool = False  # acknowledged towards the server, but not received by the client


def cell(name: str, direct: list[Play], through: list[Play], waits: bool) -> Cell:
    """`waits`: the client is still connected when the server ends its side, and sees how.

    `direct` may have plays of other runs: the direct way is the same for all proxies.
    """
    told = any(map(is_called_delivered, through))
    whole = name not in EAGER and all(play.reply and not is_lost(play) for play in direct)
    losers = [play for play in through if is_lost(play)]
    if whole and losers:
        worst = min(losers, key=lambda play: play.got / play.reply)
        return Cell(LOST, "lost", (worst.got, worst.reply), told)
    right = {*map(reaches_server, direct), *RACES.get(name, ())}
    # Without a proxy, acknowledged bytes have arrived.
    wrong = [it for it in through if reaches_server(it) not in right or is_called_delivered(it)]
    changes = sorted({*map(reaches_server, wrong)})
    if changes:
        return Cell(CHANGED, " or ".join(changes), None, told)
    if waits and name not in RACES:
        # Where the client only waits for the server's end, a later one does not count.
        first = any(map(is_ended_by_server, direct))
        seen = {reaches_client(it) if is_ended_by_server(it) or not first else "" for it in through}
        ends = sorted(seen - {*map(reaches_client, direct)})
        if ends:
            texts = [f"client: {word or 'no end'}" for word in ends]
            return Cell(CHANGED, " or ".join(texts), None, told)
    return Cell(PASSED, "=", None, told)


# --- one connection among many ----------------------------------------------------------------


def join(clients: list[Connection], servers: list[Connection]) -> dict[int, Connection]:
    """The connection to the server for each of those to the proxy, by their index.

    The lab plays one client after the other, and each sends a message of its own. A connection to the
    server belongs to the youngest client that had connected before and sent the same; one without a
    message to the youngest that is left.
    """
    found: dict[int, Connection] = {}
    for server in sorted(servers, key=lambda it: not it.near.head):
        for index in reversed(range(len(clients))):
            client = clients[index]
            same = client.near.head.startswith(server.near.head)
            if index not in found and same and client.at <= server.at:
                found[index] = server
                break
    return found


def assign(servers: list[Connection], log: list[Line]) -> list[Line]:
    """Gives each connection its line, and returns the lines that are left. A port may be used again: the
    lines of one address come in the order of its connections."""
    by_address: dict[str, list[Connection]] = {}
    for server in servers:
        by_address.setdefault(f"{server.client[0]}:{server.client[1]}", []).append(server)
    left = []
    for line in log:
        waiting = by_address.get(line["peer"])
        if waiting:
            waiting.pop(0).line = line
        else:
            left.append(line)
    return left


def ended(line: Line) -> float:
    """When the line was written, in seconds, a few milliseconds taken off."""
    at = datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp()
    return at - 0.01


def began(line: Line) -> float:
    """When its connection began, in seconds, a few milliseconds taken off."""
    return ended(line) - float(line["duration_ms"]) / 1000


# --- claims -----------------------------------------------------------------------------------


def line_contradictions(line: Line, server: Connection) -> list[str]:
    """Where a line of the close log contradicts the packets on the server's side."""
    verdict, near, far = line["verdict"], server.near, server.far
    fin, rst = near.ended("FIN") is not None, near.ended("RST") is not None
    found = []
    if verdict.startswith("peer_fin.") and not fin:
        found.append(f"the close log has {verdict}, but no FIN reached the server")
    if verdict.startswith("peer_reset.") or verdict in REFUSED:
        if not rst:
            found.append(f"the close log has {verdict}, but no RST reached the server")
    if verdict in ("peer_fin.probe", "peer_reset.probe") and near.sent:
        found.append(f"the close log has {verdict}, but {near.sent} bytes reached the server")
    if line["fin_received"] and not fin:
        found.append("the close log has a received FIN, but none reached the server")
    # A FIN that arrives after the line was written is not in it.
    at = near.ended("FIN")
    if line["fin_received"] is False and near.fin_acked and at is not None and at < ended(line):
        found.append("the close log has no received FIN, but one was acknowledged")
    if verdict in ("peer_fin.delivered", "peer_fin.half_close_served") and near.acked < far.sent:
        found.append(
            f"the close log has {verdict}, but {far.sent - near.acked} bytes are not acknowledged"
        )
    # Behind a closed window a FIN stays in the send queue, and a reset ends it.
    if verdict == "timeout.read" and not far.ends:
        found.append("the close log has timeout.read, but the server sent neither FIN nor RST")
    if verdict == "timeout.write_stall" and far.ended("RST") is None:
        found.append("the close log has timeout.write_stall, but the server sent no RST")
    if line["rx"] > near.sent:
        found.append(
            f"the close log has {line['rx']} bytes in, but {near.sent} reached the server"
        )
    if far.sent > line["tx"]:
        found.append(f"the close log has {line['tx']} bytes out, but {far.sent} left the server")
    return found


def seen_contradictions(name: str, seen: Line, play: Play) -> list[str]:
    """Where the end that the lab's client reports contradicts the packets on the client's side."""
    far, found = play.client.far, []
    word = {"fin": "FIN", "reset": "RST", None: None}[seen["end"]]
    if word and far.ended(word) is None:
        there = far.ending or "no end at all"
        found.append(f"the lab reports that its client saw a {word}, but its side has {there}")
    reply = seen["reply"]
    if reply and reply["got"] > far.sent:
        found.append(f"the lab reports {reply['got']} bytes received, but its side has {far.sent}")
    # A client that closes at once may have counted before the reply arrived.
    if reply and name not in EAGER and play.got > reply["got"]:
        found.append(f"the lab reports {reply['got']} bytes received, but {play.got} are acknowledged")
    return found


def change_contradictions(name: str, via: Line, told: Cell, through: list[Play]) -> list[str]:
    """Where the change that the lab reports contradicts the captures. Without a verdict from behind the
    proxy the lab reports no change, and the reason."""
    change = via["change"]
    if via["note"] is not None and change == "same":
        return []
    lost = told.change == LOST or told.called_delivered
    if change == "same" and (told.change != PASSED or lost):
        return [f"the lab reports no change, but the captures show: {told.text}"]
    if change == "differs" and lost:
        return ["the lab reports no lost reply, but the captures show one"]
    # The same client: it does not count bytes that arrived later.
    late = name in EAGER and any(
        is_acknowledged(it) and it.client.near.ended("RST") for it in through
    )
    if change == "lost" and not lost and not late:
        return [f"the lab reports a lost reply, but the captures show: {told.text}"]
    return []


def row_contradictions(side: Line, line: Optional[Line]) -> list[str]:
    """Whether a row shows the line of its own connection."""
    if side["verdict"] is None:
        return []
    if line is None:
        return [f"the lab reports {side['verdict']}, but the close log has no line for that connection"]
    if (line["verdict"], line["rx"]) != (side["verdict"], side["evidence"]["rx"]):
        return [
            f"the lab reports {side['verdict']}, but the line of that connection has {line['verdict']}"
        ]
    return []
