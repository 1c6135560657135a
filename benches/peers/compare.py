#!/usr/bin/env python3
"""Compares closecall with echo servers of other kinds, in one run.

Builds the peers that this machine can build, names those that it cannot, and measures all of them
in turns, on pinned cores, with the load client of ../limit. See README.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, Callable, Iterator, Optional

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent / "limit"), str(HERE.parent / "fair")]
import rounds
from arguments import Parser, add_outputs, sizes, some_of, whole, window
from crowd import GAP_MS, POLITE, compile_crowd, fair
from measuring import (
    ACTIVE,
    CHURN_PARALLEL,
    CLOSECALL,
    ECHO_SIZE,
    MEMORY_BASE,
    Bench,
    Environment,
    Failure,
    bytes_per_connection,
    choose_cores,
    churn_sources,
    compile_c,
    enough_files,
    expire,
    machine,
    measure,
    raise_file_limit,
    say,
    table,
    tell_overflows,
)
from rounds import markdown_table, publish, run_rounds
from servers import PEERS, Contestant, build_peers, closecall, the_floor

EXPERIMENTS = ("echo", "churn", "memory", "deadline", "fair")
YARDSTICK = "c"
FLOODERS = 1000
# Reasons why the C program does not take part in an experiment; neither is a failure.
NOT_FOR_IT = ("no deadline", "keeps no rest of a reply")
# The largest number of rounds of experiments that take long or hardly vary.
ROUNDS_MAX = {"memory": 3, "deadline": 3, "fair": 3}


# --- what is measured -----------------------------------------------------------------------


@dataclass
class Cell(rounds.Cell):
    ratios: list[float] = field(default_factory=list)  # to the yardstick, within a round

    def value(self) -> Optional[float]:
        return median(s["value"] for s in self.samples) if self.samples else None

    def ratio(self) -> Optional[float]:
        return median(self.ratios) if self.ratios else None

    def spread(self) -> float:
        """The difference between the rounds, as a share of the ratio."""
        return (max(self.ratios) - min(self.ratios)) / median(self.ratios) if self.ratios else 0


# The sample that one server gives in one round. It is told the port of the churn before.
Sampler = Callable[[Contestant, int], dict[str, Any]]


@dataclass
class Column:
    """One experiment at one size, and a cell for each server."""

    experiment: str
    connections: int
    title: str
    unit: str
    sampler: Sampler
    cells: dict[str, Cell] = field(default_factory=dict)

    def show(self, key: str) -> str:
        cell = self.cells.get(key)
        if cell is None:
            return "-"
        if cell.failure:
            return cell.failure
        value, ratio = cell.value(), cell.ratio()
        if value is None:
            return "-"
        if self.experiment == "memory":
            return f"{value:,.0f} B"
        if self.experiment == "deadline":
            quiet = median(s["quiet_p999_us"] for s in cell.samples)
            return f"{quiet:,.0f} -> {value:,.0f} µs"
        if self.experiment == "fair":
            return f"{cell.middle('p50_ms'):,.1f} / {value:,.1f} ms"
        return f"{value:.2f} µs" + (f" {ratio:.2f}x" if ratio else "")


def plan(options: argparse.Namespace, bench: Bench) -> list[Column]:
    def echo(count: int) -> Sampler:
        arguments = (count, options.seconds, ECHO_SIZE)
        return lambda server, _: cpu(measure(bench, server.program, "echo", arguments, 0))

    def churn(server: Contestant, port: int) -> dict[str, Any]:
        arguments = (options.seconds, CHURN_PARALLEL, sources())
        return cpu(measure(bench, server.program, "churn", arguments, port))

    def cpu(result: dict[str, Any]) -> dict[str, Any]:
        return {"value": result["cpu_us"], **result}

    def memory(server: Contestant, _: int) -> dict[str, Any]:
        return {"value": bytes_per_connection(bench, server.program, most)}

    def deadline(server: Contestant, _: int) -> dict[str, Any]:
        result = expire(bench, server.program, most)
        if result["fin"] != most:
            raise Failure(f"only {result['fin']:,} of {most:,} silent ones ended by a FIN")
        return {"value": result["burst_p999_us"], **result}

    def polite(server: Contestant, _: int) -> dict[str, Any]:
        result = fair(bench, server.program, FLOODERS)
        return {"value": result["p99_ms"], **result}

    most = max(options.connections)
    sources = cache(churn_sources)  # called when the churn begins, because it may wait
    columns = []
    if "echo" in options.only:
        for count in options.connections:
            columns.append(Column("echo", count, f"echo, {count:,}", "µs", echo(count)))
    if "churn" in options.only:
        columns.append(Column("churn", CHURN_PARALLEL, "churn", "µs", churn))
    if "memory" in options.only and most > MEMORY_BASE:
        columns.append(Column("memory", most, "idle memory", "B", memory))
    elif "memory" in options.only:
        say(f"memory: skipped, it needs more than {MEMORY_BASE:,} --connections")
    if "deadline" in options.only:
        columns.append(Column("deadline", most, "p99.9, quiet -> expiry", "µs", deadline))
    if "fair" in options.only:
        title = f"polite p50 / p99, {FLOODERS:,} flooders"
        columns.append(Column("fair", FLOODERS, title, "ms", polite))
    return [c for c in columns if enough_files(c.title, c.connections + ACTIVE)]


def run_column(column: Column, servers: list[Contestant], rounds: int) -> None:
    for server in servers:
        column.cells[server.key] = Cell()
        if column.experiment == "deadline" and not server.has_deadline:
            column.cells[server.key].failure = NOT_FOR_IT[0]
        if column.experiment == "fair" and not server.keeps_rest:
            column.cells[server.key].failure = NOT_FOR_IT[1]
    port = 0

    def take(server: Contestant) -> dict[str, Any]:
        nonlocal port
        sample = column.sampler(server, port)
        if column.experiment == "churn":  # see TIME_WAIT in measuring.py
            port = sample["port"]
        return sample

    def tell(samples: dict[str, dict[str, Any]], number: str) -> None:
        tell_round(column, samples, number)

    run_rounds(column.title, column.cells, servers, rounds, take, tell)


def tell_round(column: Column, samples: dict[str, dict[str, Any]], number: str) -> None:
    yardstick = samples.get(YARDSTICK, {}).get("value")
    compared = column.experiment in ("echo", "churn") and yardstick
    texts = []
    for key, sample in samples.items():
        text = f"{key} {sample['value']:,.2f} {column.unit}"
        if compared:
            ratio = sample["value"] / yardstick
            column.cells[key].ratios.append(ratio)
            text += f" ({ratio:.2f})"
        texts.append(text)
    say(f"{column.title}, round {number}: {', '.join(texts)}")
    tell_overflows(sum(s.get("time_wait_overflows", 0) for s in samples.values()))
    for key, sample in samples.items():
        if sample.get("slow_connects"):
            say(f"  warning: {key}: {sample['slow_connects']:,} handshakes took over 100 ms")


# --- the report -----------------------------------------------------------------------------


@dataclass
class Report:
    options: argparse.Namespace
    bench: Bench
    servers: list[Contestant]
    skipped: dict[str, str]
    columns: list[Column]
    interrupted: bool = False

    def lines(self) -> list[list[str]]:
        head = ["server", *(c.title for c in self.columns)]
        return [head, *([s.key, *(c.show(s.key) for c in self.columns)] for s in self.servers)]

    def notes(self) -> Iterator[str]:
        made = {c.experiment for c in self.columns}
        if made & {"echo", "churn"}:
            yield (
                "echo, churn: CPU time of the server per echo with that number of connections, and "
                f"per connect, echo, close ({CHURN_PARALLEL} at once); x is the ratio to c in the same "
                f"round. Rounds: {self.options.rounds}, of {self.options.seconds:g} s; medians."
            )
        spread = max((cell.spread() for c in self.columns for cell in c.cells.values()), default=0)
        if spread:
            yield (
                f"The ratios of one cell differ by up to {spread:.0%} between the rounds, which "
                "shows the noise of the machine."
            )
        if "memory" in made:
            yield "idle memory: growth of resident memory per silent connection."
        if "deadline" in made:
            yield (
                f"p99.9: of {ACTIVE} active connections, before and while "
                f"{max(self.options.connections):,} read deadlines expire."
            )
        if "fair" in made:
            yield (
                f"polite: how long {POLITE} clients wait for the reply to a small request, sent "
                f"{GAP_MS} ms after the last reply, while {FLOODERS:,} others never stop sending."
            )
        for key, text in self.skipped.items():
            yield f"{key}: skipped: {text}"
        if self.interrupted:
            yield "Interrupted: missing figures were not measured."

    def text(self) -> str:
        return "\n".join(["", table(self.lines()), "", *self.notes()])

    def markdown(self) -> str:
        head, *rows = self.lines()
        whats = {s.key: s.what for s in self.servers}
        named = [[f"`{key}`", whats[key], *cells] for key, *cells in rows]
        return "\n".join(
            [
                *markdown_table([[head[0], "", *head[1:]], *named], texts={0, 1}),
                "",
                *(f"{note}  " for note in self.notes()),
                f"Machine: {machine(self.bench)['processor']}, {os.cpu_count()} cores, server and "
                f"client on one each; {', '.join(s.version for s in self.servers if s.version)}.",
                "",
            ]
        )

    def json(self) -> dict[str, Any]:
        return {
            "tool": "compare",
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
                    "experiment": c.experiment,
                    "connections": c.connections,
                    "unit": c.unit,
                    "server": key,
                    "value": cell.value(),
                    "ratio": cell.ratio(),
                    "ratios": cell.ratios,
                    "failure": cell.failure or None,
                    "samples": cell.samples,
                }
                for c in self.columns
                for key, cell in c.cells.items()
            ],
        }


# --- the command line -----------------------------------------------------------------------


def parse(arguments: list[str]) -> argparse.Namespace:
    keys = tuple(peer.key for peer in PEERS)
    usual = (key for key in keys if key != "tokio-1k")
    parser = Parser(prog="compare.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        type=some_of(EXPERIMENTS),
        default=",".join(EXPERIMENTS),
        metavar="LIST",
        help="experiments to run (default: %(default)s)",
    )
    parser.add_argument(
        "--peers",
        type=some_of(keys),
        default=",".join(usual),
        metavar="LIST",
        help="servers to measure beside closecall and the C program (default: %(default)s)",
    )
    parser.add_argument(
        "--connections",
        type=sizes,
        default="50,1000,19000",
        metavar="LIST",
        help="sizes for echo; memory and deadline take the largest (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=whole, default=5, help="rounds; memory and deadline have at most three (default: 5)"
    )
    parser.add_argument(
        "--seconds", type=window, default=3, help="length of a window (default: 3)"
    )
    parser.add_argument(
        "--server",
        default=str(CLOSECALL),
        metavar="PATH",
        help="the closecall program to measure (default: target/release/closecall)",
    )
    add_outputs(parser)
    options = parser.parse_args(arguments)
    command = ["python3", "benches/peers/compare.py", *map(shlex.quote, arguments)]
    options.command = " ".join(command)
    return options


def minutes(columns: list[Column], servers: int, options: argparse.Namespace) -> float:
    """An estimate that includes the start and end of each window."""
    each = {"echo": options.seconds + 1, "churn": options.seconds + 1, "memory": 3, "deadline": 18}
    each["fair"] = 6
    rounds = (min(options.rounds, ROUNDS_MAX.get(c.experiment, options.rounds)) for c in columns)
    return sum(each[c.experiment] * n for c, n in zip(columns, rounds)) * servers / 60


def run(options: argparse.Namespace) -> int:
    if sys.platform != "linux":
        raise Environment("this needs Linux: epoll and /proc")
    raise_file_limit()
    compile_c()
    compile_crowd()
    peers, skipped = build_peers(options.peers)
    servers = [the_floor(), closecall(options.server), *peers]
    bench = Bench(*choose_cores(), options.seconds)
    for server in servers:
        server.program.log().unlink(missing_ok=True)
    report = Report(options, bench, servers, skipped, plan(options, bench))
    expected = minutes(report.columns, len(servers), options)
    say(f"about {max(1, round(expected))} min; Ctrl-C prints the results so far")
    try:
        for column in report.columns:
            limit = ROUNDS_MAX.get(column.experiment, options.rounds)
            run_column(column, servers, min(options.rounds, limit))
    except KeyboardInterrupt:
        report.interrupted = True
    publish(options, report.text(), report.markdown(), report.json())
    if report.interrupted:
        return 130
    ours = [c.cells[key] for c in report.columns for key in ("c", "closecall")]
    return int(any(cell.failure not in ("", *NOT_FOR_IT) for cell in ours))


def main() -> int:
    # Makes `kill` behave as Ctrl-C does: it ends the children and prints the results so far.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = parse(sys.argv[1:])
    try:
        return run(options)
    except Environment as error:
        say(f"compare: {error}")
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
