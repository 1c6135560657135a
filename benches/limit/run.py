#!/usr/bin/env python3
"""Compares closecall with a minimal epoll echo server.

Measures `closecall serve` beside a server that only waits, receives and sends (server.c), on pinned
cores and in turns, and prints the ratios and their goals. See README.md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Optional

from measuring import (
    ACTIVE,
    CHURN_PARALLEL,
    CLOSECALL,
    ECHO_SIZE,
    FLOOR,
    LISTEN,
    MEMORY_BASE,
    Bench,
    Environment,
    Failure,
    Program,
    bytes_per_connection,
    choose_cores,
    churn_sources,
    compile_c,
    enough_files,
    executable,
    expire,
    machine,
    measure,
    raise_file_limit,
    say,
    table,
    tell_overflows,
)

GOAL_ECHO = 1.03
GOAL_CHURN = 1.05
GOAL_VERDICT = 1.05
GOAL_MEMORY = 128
GOAL_DEADLINE_MS = (10_000, 10_100)
GOAL_ACTIVE = 2.0

EXPERIMENTS = ("echo", "churn", "verdict", "memory", "deadline")
UNPROBED = ("--verdict-wait", "0s", "--no-probes")


@dataclass
class Settings(Bench):
    floor: Program
    server: Program
    rounds: int
    connections: list[int]
    goals: bool  # they are meant for closecall against server.c


@dataclass
class Row:
    """One line of the table."""

    what: str
    floor: str = ""
    server: str = ""
    ratio: str = ""
    spread: str = ""
    goal: str = ""
    reached: Optional[bool] = None
    raw: dict[str, Any] = field(default_factory=dict)

    def cells(self) -> list[str]:
        verdict = "" if self.reached is None else "reached" if self.reached else "missed"
        return [self.what, self.floor, self.server, self.ratio, self.spread, self.goal, verdict]


# --- echo and churn: processor time of the server -------------------------------------------


def side_by_side(
    settings: Settings, label: str, mode: str, arguments: tuple[object, ...], same_port: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rounds: both programs in each, in turns A B, B A, A B, so that a drift affects both."""
    floor: list[dict[str, Any]] = []
    server: list[dict[str, Any]] = []
    port = 0
    for number in range(settings.rounds):
        pair = [(settings.floor, floor), (settings.server, server)]
        for program, results in pair if number % 2 == 0 else reversed(pair):
            results.append(measure(settings, program, mode, arguments, port))
            port = results[-1]["port"] if same_port else 0
        tell_round(settings, f"{label} round {number + 1}/{settings.rounds}", floor[-1], server[-1])
    return floor, server


def tell_round(
    settings: Settings, label: str, floor: dict[str, Any], server: dict[str, Any]
) -> None:
    def figures(program: Program, result: dict[str, Any]) -> str:
        rate = result["echoes"] / result["seconds"]
        latency = f"p50 {result['p50_us']:,.0f} p99 {result['p99_us']:,.0f} µs"
        return f"{program.name} {result['cpu_us']:.3f} µs ({rate:,.0f}/s, {latency})"

    ratio = server["cpu_us"] / floor["cpu_us"]
    say(
        f"{label}: {figures(settings.floor, floor)}  "
        f"{figures(settings.server, server)}  ratio {ratio:.3f}"
    )
    tell_overflows(floor["time_wait_overflows"] + server["time_wait_overflows"])


def cpu_row(
    settings: Settings,
    what: str,
    goal: float,
    floor: list[dict[str, Any]],
    server: list[dict[str, Any]],
) -> Row:
    ratios = [s["cpu_us"] / f["cpu_us"] for f, s in zip(floor, server)]
    ratio = median(ratios)
    return Row(
        what,
        floor=f"{median(f['cpu_us'] for f in floor):.3f} µs",
        server=f"{median(s['cpu_us'] for s in server):.3f} µs",
        ratio=f"{ratio:.3f}",
        spread=f"{min(ratios):.3f}..{max(ratios):.3f}",
        goal=f"<= {goal}" if settings.goals else "",
        reached=ratio <= goal if settings.goals else None,
        raw={"ratio": ratio, "ratios": ratios, "floor": floor, "server": server},
    )


def run_echo(settings: Settings) -> list[Row]:
    rows = []
    for connections in settings.connections:
        what = f"echo, {connections:,} connections"
        if enough_files(what, connections):
            arguments = (connections, settings.seconds, ECHO_SIZE)
            floor, server = side_by_side(settings, what, "echo", arguments, same_port=False)
            rows.append(cpu_row(settings, what, GOAL_ECHO, floor, server))
    return rows


def run_churn(settings: Settings) -> list[Row]:
    what = f"churn, {CHURN_PARALLEL} at once"
    arguments = (settings.seconds, CHURN_PARALLEL, churn_sources())
    floor, server = side_by_side(settings, what, "churn", arguments, same_port=True)
    return [cpu_row(settings, what, GOAL_CHURN, floor, server)]


def run_verdict(settings: Settings) -> list[Row]:
    """The same program twice, once without the probes and the wait of the verdict."""
    server = settings.server
    blind = Program("unprobed", server.path, (*server.arguments, *UNPROBED))
    pair = replace(settings, floor=blind)
    what = "verdict, beside no probes"
    arguments = (settings.seconds, CHURN_PARALLEL, churn_sources())
    floor, server_results = side_by_side(pair, what, "churn", arguments, same_port=True)
    return [cpu_row(pair, what, GOAL_VERDICT, floor, server_results)]


# --- memory ---------------------------------------------------------------------------------


def run_memory(settings: Settings) -> list[Row]:
    most = max(settings.connections)
    what = f"memory, {MEMORY_BASE:,} to {most:,} silent"
    if most <= MEMORY_BASE:
        say(f"{what}: skipped, it needs more than {MEMORY_BASE:,} --connections")
        return []
    if not enough_files(what, most):
        return []
    floor = bytes_per_connection(settings, settings.floor, most)
    server = bytes_per_connection(settings, settings.server, most)
    names = settings.floor.name, settings.server.name
    say(f"{what}: {names[0]} {floor:.1f}, {names[1]} {server:.1f} bytes each")
    return [
        Row(
            what,
            floor=f"{floor:.1f} B",
            server=f"{server:.1f} B",
            goal=f"<= {GOAL_MEMORY} B" if settings.goals else "",
            reached=server <= GOAL_MEMORY if settings.goals else None,
            raw={"floor": floor, "server": server},
        )
    ]


# --- deadline -------------------------------------------------------------------------------


def run_deadline(settings: Settings) -> list[Row]:
    silent = max(settings.connections)
    what = f"deadline, {silent:,} silent"
    if not enough_files(what, silent + ACTIVE):
        return []
    say(f"{what}: takes 15 to 40 seconds")
    result = expire(settings, settings.server, silent)
    tell_deadline(what, result)
    return deadline_rows(what, result)


def tell_deadline(what: str, result: dict[str, Any]) -> None:
    say(
        f"{what}: opened in {result['open_s']:.2f} s; {result['fin']:,} ended by a FIN, "
        f"{result['other']:,} otherwise, "
        f"{result['silent'] - result['fin'] - result['other']:,} not ended"
    )
    for phase in ("quiet", "burst"):
        say(
            f"  {ACTIVE} active, {phase}: {result[phase + '_echoes']:,} echoes, "
            f"p50 {result[phase + '_p50_us']:,.0f}, p99.9 {result[phase + '_p999_us']:,.0f}, "
            f"longest {result[phase + '_max_us']:,.0f} µs"
        )
    if result["slow_connects"]:
        say(
            f"  warning: {result['slow_connects']:,} handshakes took over 100 ms (the backlog was "
            "full), which counts as silence"
        )


def deadline_rows(what: str, result: dict[str, Any]) -> list[Row]:
    earliest, latest = GOAL_DEADLINE_MS
    first, last = result["fin_min_ms"], result["fin_max_ms"]
    quiet, burst = result["quiet_p999_us"], result["burst_p999_us"]
    ratio = burst / quiet if quiet else 0.0
    return [
        Row(
            what,
            server=f"{first:,.1f}..{last:,.1f} ms",
            goal=f"{earliest:,}..{latest:,} ms",
            reached=result["fin"] == result["silent"] and earliest <= first and last <= latest,
            raw=result,
        ),
        Row(
            f"  {ACTIVE} active meanwhile, p99.9",
            server=f"{quiet:,.0f} -> {burst:,.0f} µs",
            ratio=f"{ratio:.2f}",
            goal=f"<= {GOAL_ACTIVE:g}",
            reached=0 < ratio <= GOAL_ACTIVE,
            raw={"ratio": ratio},
        ),
    ]


# --- preparation ----------------------------------------------------------------------------


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        default=",".join(EXPERIMENTS),
        metavar="LIST",
        help="experiments to run (default: %(default)s)",
    )
    parser.add_argument(
        "--connections",
        default="50,1000,19000",
        metavar="LIST",
        help="sizes for echo; memory and deadline take the largest (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="rounds of echo, churn and verdict (default: 7)"
    )
    parser.add_argument("--seconds", type=float, default=3, help="length of a window (default: 3)")
    parser.add_argument(
        "--server",
        default=str(CLOSECALL),
        metavar="PATH",
        help="the closecall program to measure (default: target/release/closecall)",
    )
    parser.add_argument(
        "--server-arg",
        action="append",
        default=[],
        metavar="ARG",
        help="an additional argument for `closecall serve`, as --server-arg=--option=value",
    )
    parser.add_argument(
        "--against",
        metavar="PATH",
        help="measure against this server instead of server.c, for instance another closecall",
    )
    parser.add_argument(
        "--against-args",
        default=f"serve --listen {LISTEN}",
        metavar="ARGS",
        help="its arguments, with {port} for the port (default: %(default)s)",
    )
    parser.add_argument(
        "--noise",
        action="store_true",
        help="measure server.c against itself: the ratios show the noise",
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    options = parser.parse_args(arguments)

    options.only = options.only.split(",")
    unknown = [name for name in options.only if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"--only: no experiment {unknown[0]!r}; the experiments are {', '.join(EXPERIMENTS)}")
    try:
        options.connections = [int(n) for n in options.connections.split(",")]
    except ValueError:
        parser.error("--connections: a list of numbers, as in 50,1000")
    if min(options.connections) < 1 or options.rounds < 1 or options.seconds <= 0:
        parser.error("--connections, --rounds and --seconds must be greater than zero")
    return options


def choose_programs(options: argparse.Namespace) -> tuple[Program, Program]:
    if options.against:
        path = executable(options.against, "give --against the path of a server")
        floor = Program("against", path, tuple(shlex.split(options.against_args)))
    else:
        floor = Program("server.c", FLOOR, ("{port}",))
    if options.noise:
        return floor, Program("itself", floor.path, floor.arguments)
    path = executable(options.server, "build it with `cargo build --release`, or give --server PATH")
    arguments = ("serve", "--listen", LISTEN, *options.server_arg)
    return floor, Program("closecall", path, arguments)


# --- the report -----------------------------------------------------------------------------


def print_table(settings: Settings, rows: list[Row]) -> None:
    names = settings.floor.name, settings.server.name
    head = ["", *names, "ratio", "min..max", "goal", ""]
    print("\n" + table([head, *(row.cells() for row in rows)]))
    print("\nServer CPU time per echo or cycle; medians of the rounds; ratio within each round.")


def write_json(path: str, settings: Settings, rows: list[Row], failures: list[str]) -> None:
    report = {
        "machine": machine(settings),
        "programs": [settings.floor.command(0), settings.server.command(0)],
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "results": [
            {"what": row.what.strip(), "goal": row.goal, "reached": row.reached, **row.raw}
            for row in rows
        ],
        "failures": failures,
    }
    Path(path).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def run(options: argparse.Namespace) -> int:
    if sys.platform != "linux":
        raise Environment("this needs Linux: epoll and /proc")
    raise_file_limit()
    compile_c()
    floor, server = choose_programs(options)
    server_cpu, client_cpu = choose_cores()
    settings = Settings(
        server_cpu,
        client_cpu,
        options.seconds,
        floor,
        server,
        options.rounds,
        options.connections,
        goals=not (options.noise or options.against),
    )
    for program in (floor, server):
        program.log().unlink(missing_ok=True)

    experiments = {
        "echo": run_echo,
        "churn": run_churn,
        "verdict": run_verdict,
        "memory": run_memory,
        "deadline": run_deadline,
    }
    rows: list[Row] = []
    failures: list[str] = []
    for name in options.only:
        if name in ("verdict", "deadline") and options.noise:
            say(f"{name}: skipped, it measures closecall alone")
            continue
        try:
            rows += experiments[name](settings)
        except (Failure, OSError) as failure:
            failures.append(f"{name}: {failure}")
            say(f"FAILED: {failures[-1]}")
    print_table(settings, rows)
    for text in failures:
        print(f"FAILED: {text}")
    if options.json:
        write_json(options.json, settings, rows, failures)
    return 1 if failures else 0


def main() -> int:
    # Makes `kill` behave as Ctrl-C does, so that the children are killed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = parse(sys.argv[1:])
    try:
        return run(options)
    except Environment as error:
        say(f"limit: {error}")
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
