#!/usr/bin/env python3
"""Measures how long polite clients wait beside a flood, on closecall and other servers.

Builds the peers of ../peers that this machine can build, names those that it cannot, and measures
all of them in turns, on pinned cores, with the crowd of crowd.c. See README.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Callable, Iterator

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent / "limit"), str(HERE.parent / "peers")]
from arguments import Parser, add_outputs, sizes, some_of, whole, window
from crowd import LATE_SILENT, POLITE, bursts, compile_crowd, drain, fair, late
from kinds import DRAIN, FAIR, LATE, Kind, bursts_kind
from measuring import (
    ACTIVE,
    CLOSECALL,
    Bench,
    Environment,
    Program,
    choose_cores,
    compile_c,
    enough_files,
    machine,
    raise_file_limit,
    say,
    table,
)
from rounds import Cell, Sample, markdown_table, publish, run_rounds
from servers import PEERS, Contestant, build_peers, closecall, the_floor

EXPERIMENTS = ("fair", "late", "expiry", "accept", "drain")
USUAL = "fair,late"
PEERS_HERE = "tokio-1k,tokio,go,libuv"
OURS = ("closecall", "before")
# Estimates that include start and end; `fair` takes the window in addition.
SECONDS_EACH = {"fair": 2.5, "late": 4, "bursts": 16, "drain": 3}


# --- what is measured -----------------------------------------------------------------------


@dataclass
class Run:
    """One experiment at one size, and a cell for each server that takes part."""

    kind: Kind
    size: int
    servers: list[Contestant]
    take: Callable[[Contestant], Sample]
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.kind.key}, {self.size:,} {self.kind.over}"

    def texts(self, key: str) -> list[str]:
        """The figures of one server, or the reason why there are none in place of the first."""
        cell = self.cells[key]
        missing = ["-"] * (len(self.kind.figures) - 1)
        if cell.failure:
            return [cell.failure, *missing]
        if not cell.samples:
            return ["-", *missing]
        medians = middle(cell)
        return [figure.show(medians) for figure in self.kind.figures]


def middle(cell: Cell) -> dict[str, Any]:
    """The median of each figure; of what is no figure, the first."""
    return {
        name: value if isinstance(value, str) else median(s[name] for s in cell.samples)
        for name, value in (cell.samples[0] if cell.samples else {}).items()
    }


def plan(options: argparse.Namespace, bench: Bench, servers: list[Contestant]) -> list[Run]:
    ours = [s for s in servers if s.key in OURS]
    runs = []

    def add(
        kind: Kind,
        size: int,
        chosen: list[Contestant],
        sample: Callable[[Bench, Program, int], Sample],
        spare: int,
    ) -> None:
        def take(server: Contestant) -> Sample:
            return sample(bench, server.program, size)

        run = Run(kind, size, chosen, take, {s.key: Cell() for s in chosen})
        if enough_files(run.title, size + spare):
            runs.append(run)

    for count in options.flooders if "fair" in options.only else ():
        add(FAIR, count, servers, fair, 2 * POLITE)
    for count in options.flooders if "late" in options.only else ():
        add(LATE, count, ours, late, LATE_SILENT)
    phases = [phase for phase in ("accept", "expiry") if phase in options.only]
    if phases:
        chosen = [s for s in servers if s.key in (*OURS, "tokio")]
        add(bursts_kind(phases), options.silent, chosen, bursts, ACTIVE)
    if "drain" in options.only:
        add(DRAIN, options.silent, [the_floor(), *ours], drain, 0)
    return runs


def execute(run: Run, rounds: int) -> None:
    def tell(samples: dict[str, Sample], number: str) -> None:
        for key, sample in samples.items():
            texts = (f"{f.title} {f.show(sample)}" for f in run.kind.figures)
            say(f"{run.title}, round {number}: {key}: {'; '.join(texts)}")
            if sample.get("slow_connects"):
                say(f"  warning: {sample['slow_connects']:,} handshakes took over 100 ms")

    run_rounds(run.title, run.cells, run.servers, rounds, run.take, tell)


# --- the report -----------------------------------------------------------------------------


@dataclass
class Report:
    options: argparse.Namespace
    bench: Bench
    servers: list[Contestant]
    skipped: dict[str, str]
    runs: list[Run]
    interrupted: bool = False

    def tables(self) -> Iterator[tuple[Kind, list[list[str]]]]:
        """A header and rows for each kind of experiment, by size and then by server."""
        for kind in dict.fromkeys(run.kind for run in self.runs):
            lines = [[kind.over, "server", *(figure.title for figure in kind.figures)]]
            for run in self.runs:
                if run.kind is kind:
                    lines += [[f"{run.size:,}", s.key, *run.texts(s.key)] for s in run.servers]
            yield kind, lines

    def notes(self) -> Iterator[str]:
        fair = [run for run in self.runs if run.kind is FAIR]
        samples = [s for run in fair for cell in run.cells.values() for s in cell.samples]
        if samples:
            shares = [sample["core_share"] for sample in samples]
            yield (
                f"The servers had their core for {min(shares):.0%} to {max(shares):.0%} of a "
                "window: the rest of the time went to other programs, or the server waited for the flood."
            )
        if self.options.rounds > 1 and samples:
            spreads = (cell.factor("p99_ms") for run in fair for cell in run.cells.values())
            yield (
                f"Between the rounds the p99 of one cell differs by a factor of up to "
                f"{max(spreads):.1f}, which shows the noise of the machine."
            )
        pressed = sum(sample["memory_pressures"] for sample in samples)
        if pressed:
            yield (
                f"The kernel ran short of memory for TCP {pressed} times (net.ipv4.tcp_mem), and then "
                "gave the connections smaller buffers."
            )
        if {sample["priority"] for sample in samples} - {"fifo"}:
            yield (
                "The polite clients could not get a real-time priority: their figures include the "
                "time that they waited for their core."
            )
        for key, text in self.skipped.items():
            yield f"{key}: skipped: {text}"
        if self.interrupted:
            yield "Interrupted: missing figures were not measured."

    def rounds(self) -> str:
        return f"Rounds: {self.options.rounds}, of {self.options.seconds:g} s in `fair`; medians."

    def text(self) -> str:
        parts = [f"\n{table(lines)}\n\n{kind.note}" for kind, lines in self.tables()]
        return "\n".join([*parts, self.rounds(), *self.notes()])

    def markdown(self) -> str:
        lines: list[str] = []
        for kind, rows in self.tables():
            rows = [rows[0], *([size, f"`{key}`", *texts] for size, key, *texts in rows[1:])]
            lines += [*markdown_table(rows, texts={1}), "", f"{kind.note}  ", ""]
        lines[-1:] = [f"{self.rounds()}  ", *(f"{note}  " for note in self.notes())]
        lines.append(
            f"Machine: {machine(self.bench)['processor']}, {os.cpu_count()} cores, server and "
            f"clients on one each; {', '.join(self.versions())}."
        )
        return "\n".join([*lines, ""])

    def versions(self) -> list[str]:
        return list(dict.fromkeys(s.version for s in self.servers if s.version))

    def json(self) -> dict[str, Any]:
        return {
            "tool": "fair",
            "command": self.options.command,
            "machine": machine(self.bench),
            "rounds": self.options.rounds,
            "seconds": self.options.seconds,
            "interrupted": self.interrupted,
            "servers": [
                {
                    "key": s.key,
                    "what": s.what,
                    "version": s.version,
                    "command": s.program.command(0),
                }
                for s in self.servers
            ],
            "skipped": self.skipped,
            "cells": [
                {
                    "experiment": run.kind.key,
                    "size": run.size,
                    "server": key,
                    "medians": middle(cell),
                    "failure": cell.failure or None,
                    "samples": cell.samples,
                }
                for run in self.runs
                for key, cell in run.cells.items()
            ],
        }


# --- the command line -----------------------------------------------------------------------


def parse(arguments: list[str]) -> argparse.Namespace:
    keys = tuple(peer.key for peer in PEERS)
    parser = Parser(prog="fair.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        type=some_of(EXPERIMENTS),
        default=USUAL,
        metavar="LIST",
        help=f"experiments to run, of {', '.join(EXPERIMENTS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--peers",
        type=some_of(keys),
        default=PEERS_HERE,
        metavar="LIST",
        help=f"servers to measure beside closecall, of {', '.join(keys)} (default: %(default)s)",
    )
    parser.add_argument(
        "--flooders",
        type=sizes,
        default="4,100,1000,2000",
        metavar="LIST",
        help="numbers of bulk senders (default: %(default)s)",
    )
    parser.add_argument(
        "--silent",
        type=whole,
        default=19_000,
        help="number of connections in expiry, accept and drain (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=whole, default=3, help="number of rounds (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=window, default=3, help="length of a window of fair (default: 3)"
    )
    parser.add_argument(
        "--server",
        default=str(CLOSECALL),
        metavar="PATH",
        help="the closecall program to measure (default: target/release/closecall)",
    )
    parser.add_argument(
        "--before", metavar="PATH", help="another closecall program, measured in the same rounds"
    )
    add_outputs(parser)
    options = parser.parse_args(arguments)
    command = ["python3", "benches/fair/fair.py", *map(shlex.quote, arguments)]
    options.command = " ".join(command)
    return options


def minutes(runs: list[Run], options: argparse.Namespace) -> float:
    each = {**SECONDS_EACH, "fair": SECONDS_EACH["fair"] + options.seconds}
    seconds = sum(each[r.kind.key] * len(r.servers) for r in runs)
    return float(seconds * options.rounds / 60)


def run(options: argparse.Namespace) -> int:
    if sys.platform != "linux":
        raise Environment("this needs Linux: epoll and /proc")
    raise_file_limit()
    compile_c()
    compile_crowd()
    servers = [closecall(options.server)]
    if options.before:
        servers.append(closecall(options.before, "before", "another closecall serve"))
    peers, skipped = build_peers(options.peers)
    servers += peers
    bench = Bench(*choose_cores(), options.seconds)
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {bench.server_cpu} or {bench.server_cpu})
    report = Report(options, bench, servers, skipped, plan(options, bench, servers))
    for server in {s.key: s for r in report.runs for s in r.servers}.values():
        server.program.log().unlink(missing_ok=True)
    say(f"about {minutes(report.runs, options):.1f} min; Ctrl-C prints the results so far")
    try:
        for one in report.runs:
            execute(one, options.rounds)
    except KeyboardInterrupt:
        report.interrupted = True
    publish(options, report.text(), report.markdown(), report.json())
    if report.interrupted:
        return 130
    return int(any(one.cells[k].failure for one in report.runs for k in one.cells if k in OURS))


def main() -> int:
    # Makes `kill` behave as Ctrl-C does: it ends the children and prints the results so far.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = parse(sys.argv[1:])
    try:
        return run(options)
    except Environment as error:
        say(f"fair: {error}")
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
