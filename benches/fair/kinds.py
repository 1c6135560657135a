"""The tables of fair.py: the figures of each experiment and their explanations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from crowd import ACTIVE_GAP_MS, GAP_MS, LATE_DEADLINE_MS, LATE_SILENT, POLITE
from measuring import ACTIVE


@dataclass(frozen=True)
class Figure:
    """A column of a table."""

    title: str
    show: Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class Kind:
    """An experiment: its figures and their explanation."""

    key: str
    over: str  # what the sizes are numbers of
    figures: tuple[Figure, ...]
    note: str


def pair(title: str, prefix: str) -> Figure:
    return Figure(
        f"{title}, p50 / p99 ms",
        lambda m: f"{m[prefix + 'p50_ms']:,.1f} / {m[prefix + 'p99_ms']:,.1f}",
    )


def tail(title: str, phase: str) -> Figure:
    return Figure(
        f"{title}, p99 / p99.9 µs",
        lambda m: f"{m[phase + '_p99_us']:,.0f} / {m[phase + '_p999_us']:,.0f}",
    )


FAIR = Kind(
    "fair",
    "flooders",
    (
        pair("established", ""),
        pair("new connections", "fresh_"),
        Figure("flood, MiB/s", lambda m: f"{m['mib_per_s']:,.0f}"),
        Figure("CPU, µs/MiB", lambda m: f"{m['cpu_us_per_mib']:,.0f}"),
    ),
    f"fair: {POLITE} established clients each send 64 bytes, wait for the whole reply and then {GAP_MS} "
    f"ms; {POLITE} others do the same on a new connection each time, and their time begins with the "
    "connect. The flooders always send and always read. MiB are those that came back to them; CPU is the server's.",
)
LATE = Kind(
    "late",
    "flooders",
    (
        Figure(
            "deadline late by, p50 / max ms",
            lambda m: f"{m['late_p50_ms']:,.0f} / {m['late_max_ms']:,.0f}",
        ),
        Figure("SIGTERM to listener closed, ms", lambda m: f"{m['stopped_ms']:,.0f}"),
    ),
    f"late: {LATE_SILENT} silent connections beside the flood, with --read-deadline "
    f"{LATE_DEADLINE_MS} ms, and then a SIGTERM.",
)
DRAIN = Kind(
    "drain",
    "idle",
    (
        Figure("first FIN, ms", lambda m: f"{m['first_ms']:,.1f}"),
        Figure("last FIN, ms", lambda m: f"{m['last_ms']:,.1f}"),
        Figure("server CPU, ms", lambda m: f"{m['cpu_ms']:,.1f}"),
    ),
    "drain: from SIGTERM until the client has received the FIN, and the server's CPU time until "
    "the last one. `c` makes only the system calls: a shutdown and an SIOCOUTQ for each.",
)


def bursts_kind(phases: list[str]) -> Kind:
    titles = {"accept": "new connections arriving", "expiry": "deadlines expiring"}
    figures = [tail("quiet", "quiet"), *(tail(titles[phase], phase) for phase in phases)]
    note = (
        f"bursts: {ACTIVE} connections echo in a closed loop with a pause of {ACTIVE_GAP_MS} ms: "
        "before the silent ones arrive, while they arrive, and while their deadlines expire, in one run. "
        "A pause of the machine delays all of them at once, and one pause is enough to set the p99.9 of a "
        "phase."
    )
    return Kind("bursts", "silent", tuple(figures), note)
