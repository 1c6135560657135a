#!/usr/bin/env python3
"""closecall beside echo servers of other kinds, in one run.

Builds the peers that this machine can build, names those that it cannot, and measures all of them
in turns, on pinned cores, with the load client of ../limit. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, Callable, Iterator, NoReturn, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "limit"))
from measuring import (
    ACTIVE,
    CHURN_PARALLEL,
    CLOSECALL,
    ECHO_SIZE,
    FLOOR,
    LISTEN,
    MEMORY_BASE,
    ROOT,
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

HERE = Path(__file__).resolve().parent
BUILD = ROOT / "target" / "peers"
EXPERIMENTS = ("echo", "churn", "memory", "deadline")
YARDSTICK = "c"
# Each of these takes long or hardly varies: no more rounds than that.
ROUNDS_MAX = {"memory": 3, "deadline": 3}


# --- who takes part -------------------------------------------------------------------------


@dataclass(frozen=True)
class Peer:
    """A server of another kind: how to build it here, and what is missing if that fails."""

    key: str
    what: str
    tool: str
    build: list[str]
    path: Path
    remedy: str
    version: Callable[[], str]
    folder: Path = HERE


@dataclass(frozen=True)
class Contestant:
    key: str
    what: str
    version: str
    program: Program
    has_deadline: bool = True


def first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.split("\n", 1)[0].strip()


def locked_tokio() -> str:
    lock = (HERE / "tokio" / "Cargo.lock").read_text(encoding="utf-8")
    found = re.search(r'name = "tokio"\nversion = "([^"]+)"', lock)
    return f"tokio {found[1]}" if found else ""


CC = shlex.split(os.environ.get("CC", "cc"))
CXX = shlex.split(os.environ.get("CXX", "c++"))
FLAGS = ["-O2", "-Wall", "-Wextra"]

PEERS = (
    Peer(
        "libuv",
        "C, libuv: callbacks, a timer each",
        CC[0],
        [*CC, *FLAGS, "-o", str(BUILD / "libuv"), "libuv.c", "-luv"],
        BUILD / "libuv",
        "install a C compiler and libuv's header (Debian: libuv1-dev)",
        lambda: f"libuv {first_line('pkg-config', '--modversion', 'libuv') or '(unknown)'}",
    ),
    Peer(
        "tokio",
        "Rust, tokio: a task each, one thread",
        "cargo",
        [*"cargo build --release --locked --quiet --target-dir".split(), str(BUILD / "tokio")],
        BUILD / "tokio" / "release" / "closecall-peer-tokio",
        "install Rust, and `cargo fetch --locked` in benches/peers/tokio where there is a network",
        locked_tokio,
        HERE / "tokio",
    ),
    Peer(
        "go",
        "Go: a goroutine each",
        "go",
        ["go", "build", "-o", str(BUILD / "go")],
        BUILD / "go",
        "install Go 1.19 or later (Debian: golang-go)",
        lambda: first_line("go", "version").removeprefix("go version "),
        HERE / "go",
    ),
    Peer(
        "threads",
        "C++: a thread each, blocking",
        CXX[0],
        [*CXX, *FLAGS, "-pthread", "-o", str(BUILD / "threads"), "threads.cpp"],
        BUILD / "threads",
        "install a C++ compiler (Debian: g++) or set CXX",
        lambda: first_line(*CXX, "--version"),
    ),
)


def build(peer: Peer) -> Optional[str]:
    """Why it cannot be had here; None: it stands."""
    if not shutil.which(peer.tool):
        return f"there is no `{peer.tool}`: {peer.remedy}"
    say(f"building {peer.key}")
    done = subprocess.run(peer.build, cwd=peer.folder, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if "error" in line] or ["it does not build"]
    return f"{lines[0].strip()}: {peer.remedy}"


def contestants(options: argparse.Namespace) -> tuple[list[Contestant], dict[str, str]]:
    """Who is measured, and who is not and why."""
    path = executable(options.server, "build it with `cargo build --release`, or say --server PATH")
    arguments = ("serve", "--listen", LISTEN)
    found = [
        Contestant(
            "c",
            "C, epoll: nothing but the echo",
            first_line(*CC, "--version"),
            Program("c", FLOOR, ("{port}",)),
            has_deadline=False,
        ),
        Contestant(
            "closecall",
            "closecall serve",
            first_line(str(path), "--version"),
            Program("closecall", path, arguments),
        ),
    ]
    skipped = {}
    BUILD.mkdir(parents=True, exist_ok=True)
    for peer in PEERS:
        if peer.key not in options.peers:
            continue
        reason = build(peer)
        if reason:
            skipped[peer.key] = reason
            say(f"{peer.key}: skipped: {reason}")
            continue
        program = Program(peer.key, peer.path, ("{port}",))
        found.append(Contestant(peer.key, peer.what, peer.version(), program))
    return found, skipped


# --- what is measured -----------------------------------------------------------------------


@dataclass
class Cell:
    """What one server did in one experiment."""

    samples: list[dict[str, Any]] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)  # to the yardstick, within a round
    failure: str = ""

    def value(self) -> Optional[float]:
        return median(s["value"] for s in self.samples) if self.samples else None

    def ratio(self) -> Optional[float]:
        return median(self.ratios) if self.ratios else None

    def spread(self) -> float:
        """How far the rounds differ, as a share of the ratio."""
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

    most = max(options.connections)
    sources = cache(churn_sources)  # asked when the churn begins: it may have to wait
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
    return [c for c in columns if enough_files(c.title, c.connections + ACTIVE)]


def in_turns(servers: list[Contestant], number: int) -> list[Contestant]:
    """Each order is followed by its reverse, and another one begins after the two."""
    start = number // 2 % len(servers)
    turned = servers[start:] + servers[:start]
    return turned if number % 2 == 0 else turned[::-1]


def run_column(column: Column, servers: list[Contestant], rounds: int) -> None:
    for server in servers:
        column.cells[server.key] = Cell()
        if column.experiment == "deadline" and not server.has_deadline:
            column.cells[server.key].failure = "no deadline"
    port = 0
    for number in range(rounds):
        this_round: dict[str, dict[str, Any]] = {}
        for server in in_turns(servers, number):
            cell = column.cells[server.key]
            if cell.failure:
                continue
            logged = log_size(server)
            try:
                sample = column.sampler(server, port)
            except (Failure, OSError) as failure:
                cell.failure = reason(server, logged, failure)
                say(f"{column.title}: {server.key}: {cell.failure}")
                continue
            cell.samples.append(sample)
            this_round[server.key] = sample
            if column.experiment == "churn":  # see TIME_WAIT in measuring.py
                port = sample["port"]
        tell_round(column, this_round, f"{number + 1}/{rounds}")


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
            say(f"  beware: {key}: {sample['slow_connects']:,} handshakes took over 100 ms")


def log_size(server: Contestant) -> int:
    log = server.program.log()
    return log.stat().st_size if log.exists() else 0


def reason(server: Contestant, logged: int, failure: Exception) -> str:
    """The peers are silent: what one of them has said is why it failed."""
    if server.key != "closecall":
        with open(server.program.log(), encoding="utf-8", errors="replace") as log:
            log.seek(logged)
            lines = [line.strip() for line in log if line.strip()]
        if lines:
            return lines[0]
    return failure.what if isinstance(failure, Failure) else str(failure)


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
                "echo, churn: CPU time of the server per echo at so many connections and per "
                f"connect, echo, close ({CHURN_PARALLEL} at once); x is the ratio to c in the same "
                f"round. Rounds: {self.options.rounds}, of {self.options.seconds:g} s; medians."
            )
        spread = max((cell.spread() for c in self.columns for cell in c.cells.values()), default=0)
        if spread:
            yield (
                f"The ratios of one cell differ by up to {spread:.0%} between the rounds: that is "
                "how noisy the machine was."
            )
        if "memory" in made:
            yield "idle memory: growth of resident memory per silent connection."
        if "deadline" in made:
            yield (
                f"p99.9: of {ACTIVE} active connections, in quiet and while "
                f"{max(self.options.connections):,} read deadlines expire."
            )
        for key, text in self.skipped.items():
            yield f"{key}: skipped: {text}"
        if self.interrupted:
            yield "Interrupted: what is missing was not measured."

    def text(self) -> str:
        return "\n".join(["", table(self.lines()), "", *self.notes()])

    def markdown(self) -> str:
        head, *rows = self.lines()
        marks = ["---", *["---:"] * len(self.columns)]
        whats = {s.key: s.what for s in self.servers}
        named = [[f"`{key}`", whats[key], *cells] for key, *cells in rows]
        lines = [[head[0], "", *head[1:]], [marks[0], "---", *marks[1:]], *named]
        return "\n".join(
            [
                *("| " + " | ".join(line) + " |" for line in lines),
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

    def publish(self) -> None:
        """The files first: a closed pipe takes the table only."""
        if self.options.json:
            text = json.dumps(self.json(), indent=1, ensure_ascii=False)
            Path(self.options.json).write_text(text + "\n", encoding="utf-8")
        if self.options.markdown:
            Path(self.options.markdown).write_text(self.markdown(), encoding="utf-8")
        try:
            print(self.text(), flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- the command line -----------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage: --help has that."""
        say(f"compare: {message}")
        sys.exit(2)


def whole(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return number


def sizes(text: str) -> list[int]:
    return sorted({whole(part) for part in text.split(",")})


def window(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, up to 3600")
    return seconds


def some_of(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parts(text: str) -> list[str]:
        chosen = [part for part in text.split(",") if part]
        for part in chosen:
            if part not in known:
                raise argparse.ArgumentTypeError(f"no {part!r}; there are {', '.join(known)}")
        return chosen

    return parts


def writable(path: str) -> str:
    """Found out now, not after the measurement."""
    if Path(path).is_dir() or not os.access(Path(path).resolve().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"nothing can be written to {path!r}")
    return path


def parse(arguments: list[str]) -> argparse.Namespace:
    keys = tuple(peer.key for peer in PEERS)
    parser = Parser(prog="compare.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        type=some_of(EXPERIMENTS),
        default=",".join(EXPERIMENTS),
        metavar="LIST",
        help="which experiments (default: %(default)s)",
    )
    parser.add_argument(
        "--peers",
        type=some_of(keys),
        default=",".join(keys),
        metavar="LIST",
        help="which servers beside closecall and the C program (default: %(default)s)",
    )
    parser.add_argument(
        "--connections",
        type=sizes,
        default="50,1000,19000",
        metavar="LIST",
        help="sizes for echo; memory and deadline take the largest (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=whole, default=5, help="memory and deadline: three at most (default: 5)"
    )
    parser.add_argument(
        "--seconds", type=window, default=3, help="length of a window (default: 3)"
    )
    parser.add_argument(
        "--server",
        default=str(CLOSECALL),
        metavar="PATH",
        help="the closecall to measure (default: target/release/closecall)",
    )
    parser.add_argument(
        "--json", type=writable, metavar="FILE", help="write every figure there"
    )
    parser.add_argument(
        "--markdown", type=writable, metavar="FILE", help="write the table there, as Markdown"
    )
    options = parser.parse_args(arguments)
    command = ["python3", "benches/peers/compare.py", *map(shlex.quote, arguments)]
    options.command = " ".join(command)
    return options


def minutes(columns: list[Column], servers: int, options: argparse.Namespace) -> float:
    """Roughly; a window's start and end included."""
    each = {"echo": options.seconds + 1, "churn": options.seconds + 1, "memory": 3, "deadline": 18}
    rounds = (min(options.rounds, ROUNDS_MAX.get(c.experiment, options.rounds)) for c in columns)
    return sum(each[c.experiment] * n for c, n in zip(columns, rounds)) * servers / 60


def run(options: argparse.Namespace) -> int:
    if sys.platform != "linux":
        raise Environment("it needs Linux: epoll and /proc")
    raise_file_limit()
    compile_c()
    servers, skipped = contestants(options)
    bench = Bench(*choose_cores(), options.seconds)
    for server in servers:
        server.program.log().unlink(missing_ok=True)
    report = Report(options, bench, servers, skipped, plan(options, bench))
    expected = minutes(report.columns, len(servers), options)
    say(f"about {max(1, round(expected))} min; Ctrl-C prints what there is")
    try:
        for column in report.columns:
            limit = ROUNDS_MAX.get(column.experiment, options.rounds)
            run_column(column, servers, min(options.rounds, limit))
    except KeyboardInterrupt:
        report.interrupted = True
    report.publish()
    if report.interrupted:
        return 130
    ours = [c.cells[key] for c in report.columns for key in ("c", "closecall")]
    return int(any(cell.failure not in ("", "no deadline") for cell in ours))


def main() -> int:
    # `kill` ends it as Ctrl-C does: with the children gone and what there is printed.
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
