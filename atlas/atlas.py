#!/usr/bin/env python3
"""Plays closecall's lab through real TCP proxies, and captures the packets on both sides of each.

Each proxy runs in its own network namespaces. docs/PROXIES.md is written from the captures on both
sides; a capture that contradicts the lab or the server's close log fails the run. See README.md.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent / "benches" / "limit"), str(HERE.parent / "benches" / "peers")]
from arguments import Parser, some_of, whole, writable
from capture import Capture, Connection
from jobs import in_parallel, interruptible
from judge import (
    Cell,
    Line,
    Play,
    assign,
    began,
    cell,
    change_contradictions,
    line_contradictions,
    row_contradictions,
    seen_contradictions,
)
from measuring import CLOSECALL, Environment, executable, say
from network import (
    CLIENT,
    CLIENT_ADDRESS,
    PROXY_ADDRESS,
    PROXY_PORT,
    SERVER,
    SERVER_ADDRESS,
    SERVER_PORT,
    Failure,
    Network,
    Process,
    removes_leftovers,
)
from page import page
from plays import Found, Row, Side, plays
from proxies import PROXIES, TARGET, Proxy, Stage, program

# Short deadlines: the lab waits for each of them twice.
DEADLINE = "2s"
PATIENCE = "6s"
LAB_SECONDS = 240.0
READY_SECONDS = 20.0
HELLO = b"is it ready?"

BY_KEY = {proxy.key: proxy for proxy in PROXIES}

# Rows that are races, here or in a proxy, and that the lab plays only once: they get additional runs.
ONCE = "S3 pipelined,S6,S6b,S6c,S8,S8b,S16b"

TOOLS = {"ip": "iproute2", "ss": "iproute2"}


@dataclass
class Examined:
    """The results of the lab through one proxy, and of its captures."""

    key: str
    version: str
    found: list[tuple[Row, Optional[Found]]]
    left: list[Line]  # of the close log, without a connection
    servers: list[Connection]
    cells: dict[str, Cell] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)


# --- one proxy ------------------------------------------------------------------------------


def examine(proxy: Proxy, closecall: str, options: Any) -> Examined:
    folder = TARGET / "atlas" / proxy.key.replace(" ", "_")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "close.log"
    with Network(folder) as network:
        deadlines = ["--read-deadline", DEADLINE, "--write-deadline", DEADLINE]
        address = f"{SERVER_ADDRESS}:{SERVER_PORT}"
        serve = [closecall, "serve", "--listen", address, "--close-log", str(log), *deadlines]
        server = network.starts(SERVER, serve, "server.log")
        network.waits_for(SERVER, SERVER_ADDRESS, SERVER_PORT, server)
        stage = Stage(network, folder)
        proxy.start(stage)
        is_ready(network, stage.last, log)
        start = time.time()
        with Capture(network) as capture:
            rows = plays_the_lab(network, closecall, log, options.repeat, options.scenarios)
            for _ in range(options.again if options.scenarios is None else 0):
                rows += plays_the_lab(network, closecall, log, 1, ONCE)
            if capture.lost():
                raise Failure("the capture lost packets: the machine is too busy")
        log_lines = [line for line in lines(log) if began(line) >= start]
        clients, servers = capture.sides()
    direct = [it for it in clients if it.server == (SERVER_ADDRESS, SERVER_PORT)]
    through = [it for it in clients if it.server == (PROXY_ADDRESS, PROXY_PORT)]
    behind = [it for it in servers if it.client[0] != CLIENT_ADDRESS]
    beside = [it for it in servers if it.client[0] == CLIENT_ADDRESS]
    left = assign(servers, log_lines)
    found = plays(rows, Side(direct, beside), Side(through, behind))
    return Examined(proxy.key, proxy.version(), found, left, servers)


def is_ready(network: Network, process: Optional[Process], log: Path) -> None:
    """Waits until an echo arrives through the proxy and the server has logged its end."""
    give_up = time.monotonic() + READY_SECONDS
    while not (network.enters(CLIENT, echoes) and any(it["rx"] == len(HELLO) for it in lines(log))):
        if process is not None and process.is_over():
            raise Failure(f"the program ended at once: {process.said()}")
        if time.monotonic() > give_up:
            said = f": {process.said()}" if process is not None else ""
            raise Failure(f"no echo arrived through it in time{said}")
        time.sleep(0.1)


def echoes() -> bool:
    try:
        with socket.create_connection((PROXY_ADDRESS, PROXY_PORT), timeout=2) as client:
            client.sendall(HELLO)
            return client.recv(1000).endswith(HELLO)
    except OSError:
        return False


def lines(log: Path) -> list[Line]:
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def plays_the_lab(
    network: Network, closecall: str, log: Path, repeat: int, only: Optional[str]
) -> list[Row]:
    words = [closecall, "lab", f"{SERVER_ADDRESS}:{SERVER_PORT}"]
    words += ["--via", f"{PROXY_ADDRESS}:{PROXY_PORT}", "--observe", str(log)]
    words += ["--format", "json", "--patience", PATIENCE, "--repeat", str(repeat)]
    words += ["--only", only] if only else []
    output = network.folder / "lab.json"
    output.unlink(missing_ok=True)
    process = network.starts(CLIENT, words, "lab.log", output)
    try:
        code = process.child.wait(LAB_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failure(f"the lab did not end within {LAB_SECONDS:.0f} s") from None
    if code not in (0, 1):
        raise Failure(f"the lab: exit code {code}: {process.said()}")
    rows: list[Row] = json.loads(output.read_text(encoding="utf-8"))["rows"]
    return rows


# --- all of them ----------------------------------------------------------------------------


def judge(everything: list[Examined]) -> None:
    """Without a proxy all runs are alike, so the direct plays of all proxies are used together."""
    direct: dict[str, list[Play]] = defaultdict(list)
    for it in everything:
        for row, found in it.found:
            direct[row["id"]] += found.direct if found else []
    for it in everything:
        through: dict[str, list[Play]] = defaultdict(list)
        waits: dict[str, bool] = {}
        for row, found in it.found:
            name = row["id"]
            if found is None:
                it.contradictions.append(f"{name}: the lab played it, but the capture is incomplete")
                continue
            through[name] += found.through
            waits[name] = row["seen"]["end"] is not None
            told = cell(name, direct[name], found.through, waits[name])
            it.contradictions += [f"{name}: {claim}" for claim in claims(row, found, told)]
        for name, its in through.items():
            it.cells[name] = cell(name, direct[name], its, waits[name])
        for line in it.left:
            it.contradictions.append(f"the close log has {line['peer']}, but no capture has it")
        for server in it.servers:
            wrong = line_contradictions(server.line, server) if server.line else []
            it.contradictions += [f"{server.line['peer']}: {text}" for text in wrong if server.line]


def claims(row: Row, found: Found, told: Cell) -> list[str]:
    """Where the lab's report of this row contradicts the captures."""
    name, via = row["id"], row["via"]
    wrong = change_contradictions(name, via, told, found.through)
    wrong += seen_contradictions(name, via["seen"], found.shown)
    wrong += row_contradictions(via, found.shown.line)
    if row["race"] is None:  # of a race the row has the usual verdict, not that of one run
        wrong += row_contradictions(row, found.shown_direct.line)
    return wrong


def as_json(it: Examined) -> dict[str, Any]:
    return {
        "proxy": it.key,
        "version": it.version,
        "cells": {name: asdict(told) for name, told in it.cells.items()},
        "contradictions": it.contradictions,
        "rows": [
            {
                "id": row["id"],
                "direct": [play_as_json(play) for play in found.direct] if found else None,
                "through": [play_as_json(play) for play in found.through] if found else None,
                "lab": row,
            }
            for row, found in it.found
        ],
    }


def play_as_json(play: Play) -> dict[str, Any]:
    """One play, as both captures saw it."""
    return {
        "from_client": play.client.near.ending,
        "to_server": play.server.near.ending if play.server else None,
        "from_server": play.server.far.ending if play.server else None,
        "to_client": play.client.far.ending,
        "got": play.got,
        "reply": play.reply,
        "verdict": play.line["verdict"] if play.line else None,
    }


def run(options: Any) -> int:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Environment("network namespaces and packet sockets need Linux and root")
    for tool, package in TOOLS.items():
        if program(tool) is None:
            raise Environment(f"there is no `{tool}`: apt-get install {package}")
    closecall = str(executable(options.server, "build it with `cargo build --release`"))
    removes_leftovers()
    (TARGET / "atlas").mkdir(parents=True, exist_ok=True)
    skipped = {key: missing for key in options.only if (missing := BY_KEY[key].missing())}
    for key, missing in skipped.items():
        say(f"{key}: not tested: {missing}")
    chosen = [key for key in BY_KEY if key in options.only and key not in skipped]
    done: dict[str, Examined] = {}
    failed: dict[str, str] = {}

    def one(key: str) -> Examined:
        return examine(BY_KEY[key], closecall, options)

    # The slow ones are at the end of the list.
    for key, result in in_parallel(chosen[::-1], one, options.jobs):
        if isinstance(result, Failure):
            failed[key] = str(result)
        else:
            done[key] = result
        what = f"failed: {result}" if isinstance(result, Failure) else "played"
        say(f"{key}: {what} ({len(done) + len(failed)} of {len(chosen)})")
    examined = [done[key] for key in chosen if key in done]
    judge(examined)
    report = {
        "tool": "atlas",
        "command": options.command,
        "deadline": DEADLINE,
        "patience": PATIENCE,
        "repeat": options.repeat,
        "again": options.again,
        "skipped": skipped,
        "failed": failed,
        "proxies": [as_json(it) for it in examined],
    }
    if options.merge:
        report = merged(json.loads(Path(options.merge).read_text(encoding="utf-8")), report)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return publish(report, options.markdown)


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Adds the proxies of an earlier run that this run has not played."""
    found = {it["proxy"]: it for it in [*old["proxies"], *new["proxies"]]}
    proxies = [found[key] for key in BY_KEY if key in found]
    failed = {key: why for key, why in old["failed"].items() if key not in found}
    skipped = {**old["skipped"], **new["skipped"]}
    return {
        **old,
        "proxies": proxies,
        "failed": {**failed, **new["failed"]},
        "skipped": {key: why for key, why in skipped.items() if key not in found},
    }


def publish(report: dict[str, Any], markdown: Optional[str]) -> int:
    """Writes the page, unless the captures contradict it."""
    wrong = [f"{it['proxy']}: {text}" for it in report["proxies"] for text in it["contradictions"]]
    wrong += [f"{key}: {text}" for key, text in report["failed"].items()]
    for text in wrong:
        say(f"atlas: {text}")
    if wrong:
        say("atlas: no page was written, because of the contradictions and failures above")
        return 1
    if markdown:
        Path(markdown).write_text(page(report), encoding="utf-8")
    return 0


# --- the command line -----------------------------------------------------------------------


def parse(arguments: list[str]) -> Any:
    keys = tuple(BY_KEY)
    parser = Parser(prog="atlas.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        type=some_of(keys),
        default=",".join(keys),
        metavar="LIST",
        help="proxies to test, of: %(default)s (default: all)",
    )
    parser.add_argument("--scenarios", metavar="LIST", help="endings to play, as for `lab --only`")
    parser.add_argument(
        "--repeat", type=whole, default=40, help="number of runs of a race (default: %(default)s)"
    )
    parser.add_argument(
        "--again",
        type=whole,
        default=4,
        help=f"number of additional runs of {ONCE} (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs", type=whole, default=3, help="number of proxies at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--server",
        default=str(CLOSECALL),
        metavar="PATH",
        help="the closecall program (default: target/release/closecall)",
    )
    parser.add_argument("--json", type=writable, metavar="FILE", help="write all results to FILE")
    parser.add_argument("--markdown", type=writable, metavar="FILE", help="write the page to FILE")
    parser.add_argument(
        "--render", metavar="FILE", help="only write the page, from the JSON of an earlier run"
    )
    parser.add_argument(
        "--merge",
        metavar="FILE",
        help="keep the other proxies from the JSON of an earlier run",
    )
    options = parser.parse_args(arguments)
    options.command = shlex.join(["python3", "atlas/atlas.py", *arguments])
    return options


def main() -> int:
    interruptible()
    options = parse(sys.argv[1:])
    try:
        if options.render:
            text = Path(options.render).read_text(encoding="utf-8")
            return publish(json.loads(text), options.markdown)
        return run(options)
    except Environment as error:
        say(f"atlas: {error}")
        return 3
    except KeyboardInterrupt:
        say("atlas: interrupted: nothing was written")
        return 130


if __name__ == "__main__":
    sys.exit(main())
