"""The results of a run, and its failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, Optional

from plan import PAGE, Plan


@dataclass
class Figures:
    """What is measured beside the report of the generator. Times in seconds, memory in bytes."""

    opened_s: Optional[float] = None
    closed_s: Optional[float] = None
    servers_pss: int = 0
    servers_rss: int = 0
    generator_pss: int = 0
    kernel: int = 0
    slab: int = 0
    buffer_pages_most: int = 0
    time_wait_most: int = 0
    servers_cpu_s: float = 0.0
    generator_cpu_s: float = 0.0
    time_wait_overflows: int = 0
    memory_pressures: int = 0


def seconds(time: Optional[float]) -> str:
    """A few thousand connections open or close between two looks at the machine."""
    return f"{time} s" if time is not None else "too short to be measured"


def rows(
    plan: Plan, figures: Figures, report: dict[str, Any], theirs: dict[str, int]
) -> Iterator[tuple[str, str]]:
    """The rows of the table: name and value."""
    mib, gib = 2**20, 2**30
    each = (figures.kernel + figures.servers_pss + figures.generator_pss) / plan.connections
    held = report["verdicts"].get("local.done", 0)
    yield "connections held to the end", f"{held:,} of {plan.connections:,}"
    yield "processes", f"{plan.processes} servers, {plan.processes} of the generator"
    yield "time to open, with the first reply", seconds(figures.opened_s)
    yield "messages answered while held", f"{report['echoes']:,} in {report['duration_s']:.1f} s"
    yield "wrong replies, errors", f"{report['mismatches']}, {sum(report['errors'].values())}"
    latency = report["latency_us"]
    if latency:
        times = (f"{latency[name] / 1000:.2f} ms" for name in ("p50", "p99"))
        yield "reply, p50 and p99", ", ".join(times)
    yield "time to close", seconds(figures.closed_s)
    yield "endings, reported by the clients", counts(report["verdicts"])
    yield "endings, reported by the servers", counts(theirs)
    servers = (figures.servers_pss / mib, figures.servers_pss / plan.connections)
    yield "memory of all servers (PSS)", "{:,.0f} MiB, {:.0f} bytes each".format(*servers)
    yield "the same with shared pages counted in each (RSS)", f"{figures.servers_rss / mib:,.0f} MiB"
    yield "memory of the generator (PSS)", f"{figures.generator_pss / mib:,.0f} MiB"
    yield "memory of the kernel, both ends", f"{figures.kernel / gib:.2f} GiB"
    yield "all of that for a connection, both ends", f"{each:,.0f} bytes"
    yield "most buffers while closing, whole machine", f"{figures.buffer_pages_most * PAGE / mib:,.0f} MiB"
    yield "CPU time of the servers", f"{figures.servers_cpu_s:.0f} s"
    yield "CPU time of the generator", f"{figures.generator_cpu_s:.0f} s"


def counts(verdicts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in verdicts.items()) or "none"


def failures(plan: Plan, report: dict[str, Any], theirs: dict[str, int]) -> Iterator[str]:
    """The requirements that the run does not meet."""
    number = plan.connections
    if report["echoes"] < number or report["unanswered"]:
        yield f"messages answered while held: {report['echoes']:,} of {number:,}"
    if report["mismatches"] or report["errors"] or report["interrupted"]:
        yield f"{report['mismatches']} wrong replies, errors: {counts(report['errors'])}"
    if report["verdicts"] != {"local.done": number}:
        yield f"the clients' ends: {counts(report['verdicts'])}"
    # One more is the generator's check of the server.
    if theirs != {"peer_fin.delivered": number + 1}:
        yield f"the servers' ends: {counts(theirs)}"
