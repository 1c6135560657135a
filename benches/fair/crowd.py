"""Controls the crowd (crowd.c): each function is one run with a fresh server and returns its figures.

Shared by fair.py and ../peers/compare.py. No module of ../peers is needed here.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator

from measuring import (
    ACTIVE,
    GENERATOR,
    OPENING_RATE,
    ROOT,
    Bench,
    Client,
    Failure,
    Program,
    Server,
    compile_program,
    netstat,
)

CROWD = ROOT / "target" / "fair" / "crowd"

POLITE = 10
GAP_MS = 100
WARM_UP_S = 1.0  # of the flood, until the queues are full
LATE_SILENT = 100
LATE_DEADLINE_MS = 2000
ACTIVE_GAP_MS = 1
QUIET_S = 2.0
MARGIN_NS = 100_000_000  # the effect of a burst lasts a little longer than the burst
EVER = (0, 2**63)


def compile_crowd() -> None:
    compile_program(CROWD, [Path(__file__).with_name("crowd.c"), *GENERATOR])


class Crowd(Client):
    """One process of the crowd, at the moment before it begins."""

    def __init__(self, bench: Bench, mode: str, port: int, *arguments: object) -> None:
        super().__init__(bench, mode, port, *arguments, path=CROWD)
        try:
            self.expect("start", timeout=60)
        except BaseException:
            self.__exit__()
            raise

    def ask(self, text: str = "", timeout: float = 30) -> dict[str, Any]:
        self.proceed(text)
        return self.result(timeout)


def third_core(bench: Bench) -> Bench:
    """A free core, if there is one, is used only by the polite clients."""
    others = os.sched_getaffinity(0) - {bench.server_cpu, bench.client_cpu}
    return replace(bench, client_cpu=min(others, default=bench.client_cpu))


# --- fair: polite clients beside a flood ----------------------------------------------------


def fair(bench: Bench, program: Program, flooders: int) -> dict[str, Any]:
    """The waiting times of polite clients, established and new, and the throughput of the flood."""
    quiet, pressures = third_core(bench), netstat("TCPMemoryPressures")
    with ExitStack() as running:
        start = running.enter_context
        server = start(Server(program, bench.server_cpu))
        polite = start(Crowd(quiet, "polite", server.port, POLITE, GAP_MS))
        fresh = start(Crowd(quiet, "fresh", server.port, POLITE, GAP_MS))
        flood = start(Crowd(bench, "flood", server.port, flooders))
        flood.proceed()
        time.sleep(WARM_UP_S)
        polite.proceed()
        fresh.proceed()
        before, cpu_before = flood.ask(), server.cpu_ns()
        time.sleep(bench.seconds)
        after, used = flood.ask(), server.cpu_ns() - cpu_before
        polite.proceed()
        fresh.proceed()
        figures = {**waits(polite, ""), **waits(fresh, "fresh_")}
    echoed = after["received_bytes"] - before["received_bytes"]
    elapsed = (after["at_ns"] - before["at_ns"]) / 1e9
    if not echoed:
        raise Failure("the flood got nothing back")
    figures["mib_per_s"] = echoed / 2**20 / elapsed
    figures["cpu_us_per_mib"] = used / 1e3 / (echoed / 2**20)
    figures["core_share"] = used / 1e9 / elapsed
    figures["memory_pressures"] = netstat("TCPMemoryPressures") - pressures
    return figures


def waits(polite: Crowd, prefix: str) -> dict[str, Any]:
    """Of the exchanges that began in the window, whenever they ended."""
    polite.expect("stop", timeout=30)
    took = polite.ask("%d %d" % EVER)
    if not took["echoes"]:
        raise Failure("not one polite exchange")
    return {
        f"{prefix}exchanges": took["echoes"],
        f"{prefix}p50_ms": took["p50_us"] / 1e3,
        f"{prefix}p99_ms": took["p99_us"] / 1e3,
        f"{prefix}max_ms": took["max_us"] / 1e3,
        f"{prefix}unanswered": took["unanswered"],
        "priority": took["priority"],
    }


# --- late: deadlines and the stop of closecall, under the flood -----------------------------


def late(bench: Bench, program: Program, flooders: int) -> dict[str, Any]:
    """How late silent connections are ended, and how long after SIGTERM the listener is closed."""
    arguments = (*program.arguments, "--read-deadline", f"{LATE_DEADLINE_MS}ms")
    hasty = replace(program, arguments=arguments)
    with ExitStack() as running:
        start = running.enter_context
        server = start(Server(hasty, bench.server_cpu))
        flood = start(Crowd(bench, "flood", server.port, flooders))
        silent = start(Crowd(third_core(bench), "silent", server.port, LATE_SILENT, OPENING_RATE))
        silent.proceed()
        silent.expect("opened", timeout=30)
        flood.proceed()
        ended = silent.result(timeout=LATE_DEADLINE_MS / 1e3 + 60)
        if ended["fin"] != LATE_SILENT:
            raise Failure(f"only {ended['fin']} of {LATE_SILENT} silent ones ended by a FIN")
        flood.ask()  # it is still there
        stopped_ms = stop(server)
    return {
        **{f"late_{q}_ms": ended[f"fin_{q}_ms"] - LATE_DEADLINE_MS for q in ("min", "p50", "max")},
        "stopped_ms": stopped_ms,
    }


def stop(server: Server) -> float:
    """Milliseconds from SIGTERM until no socket listens on the port."""
    patience_s = 30
    with first_in_line():
        sent = time.monotonic()
        os.kill(server.pid(), signal.SIGTERM)
        while listens(server.port):
            if time.monotonic() - sent > patience_s:
                raise Failure(f"it still listens {patience_s} s after SIGTERM")
            time.sleep(0.0005)
        return (time.monotonic() - sent) * 1e3


def listens(port: int) -> bool:
    """Reads /proc instead of connecting: a connect would be one more new connection."""
    with open("/proc/net/tcp", encoding="ascii") as sockets:
        next(sockets)
        for line in sockets:  # the listeners come first
            _, local, _, state, *_ = line.split()
            if state != "0A":
                return False
            if int(local.rsplit(":", 1)[1], 16) == port:
                return True
    return False


@contextmanager
def first_in_line() -> Iterator[None]:
    """This script shares a core with the flood, and must not wait for that core to see an event."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pass
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


# --- bursts: many new connections, many deadlines, many endings -----------------------------


def bursts(bench: Bench, program: Program, silent: int) -> dict[str, Any]:
    """p99.9 of active connections: before others arrive, while they arrive, while their deadlines expire."""
    with ExitStack() as running:
        start = running.enter_context
        server = start(Server(program, bench.server_cpu))
        active = start(Crowd(third_core(bench), "polite", server.port, ACTIVE, ACTIVE_GAP_MS))
        crowd = start(Crowd(bench, "silent", server.port, silent, OPENING_RATE))
        active.proceed()
        time.sleep(WARM_UP_S)
        began = time.monotonic_ns()
        time.sleep(QUIET_S)
        crowd.proceed()
        crowd.expect("opened", timeout=60)
        ended = crowd.result(timeout=90)
        time.sleep(2 * MARGIN_NS / 1e9)
        active.proceed()
        active.expect("stop", timeout=30)
        if ended["fin"] != silent:
            raise Failure(f"only {ended['fin']:,} of {silent:,} silent ones ended by a FIN")
        phases = {
            "quiet": (began, ended["opening_ns"]),
            "accept": (ended["opening_ns"], ended["opened_ns"] + MARGIN_NS),
            "expiry": (ended["first_fin_ns"] - MARGIN_NS, ended["last_fin_ns"] + MARGIN_NS),
        }
        figures = {"slow_connects": ended["slow_connects"]}
        for phase, (begin, end) in phases.items():
            took = active.ask(f"{begin} {end}")
            for name in ("echoes", "p50_us", "p99_us", "p999_us", "max_us"):
                figures[f"{phase}_{name}"] = took[name]
    return figures


def drain(bench: Bench, program: Program, idle: int) -> dict[str, Any]:
    """From SIGTERM until the last of the idle connections has its FIN: time, and CPU time."""
    with Server(program, bench.server_cpu) as server:
        files = server.open_files()
        with Crowd(bench, "silent", server.port, idle, OPENING_RATE) as crowd:
            crowd.proceed()
            crowd.expect("opened", timeout=60)
            server.wait_for_files(files + idle)
            cpu_before, sent = server.cpu_ns(), time.monotonic_ns()
            os.kill(server.pid(), signal.SIGTERM)
            ended = crowd.result(timeout=60)
            used = server.cpu_ns() - cpu_before
    if ended["fin"] != idle:
        raise Failure(f"only {ended['fin']:,} of {idle:,} idle ones ended by a FIN")
    return {
        "first_ms": (ended["first_fin_ns"] - sent) / 1e6,
        "last_ms": (ended["last_fin_ns"] - sent) / 1e6,
        "cpu_ms": used / 1e6,
    }
