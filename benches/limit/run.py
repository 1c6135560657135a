#!/usr/bin/env python3
"""How near is closecall to the limit?

Measures `closecall serve` side by side with the least that an epoll echo server can do (server.c),
on pinned cores and in turns, and prints ratios with the goals next to them. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import select
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Optional, TypeVar

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "target" / "limit"
CLIENT = BUILD / "client"
FLOOR = BUILD / "server"

HOST = "127.0.0.1"
ECHO_SIZE = 64
CHURN_PARALLEL = 64
MEMORY_BASE = 1000
ACTIVE = 20
OPENING_RATE = 30_000
FILES_RESERVE = 100
SETTLE_SECONDS = 0.02
LISTEN = "127.0.0.1:{port}"

GOAL_ECHO = 1.03
GOAL_CHURN = 1.05
GOAL_VERDICT = 1.05
GOAL_MEMORY = 128
GOAL_DEADLINE_MS = (10_000, 10_100)
GOAL_ACTIVE = 2.0

EXPERIMENTS = ("echo", "churn", "verdict", "memory", "deadline")
UNPROBED = ("--verdict-wait", "0s", "--no-probes")


class Failure(Exception):
    """A measurement that could not be made; the others go on."""


class NotListening(Failure):
    """A server that did not start; with a port that was asked for, somebody else may have it."""


class Environment(Exception):
    """Something is missing here: nothing can be measured at all."""


@dataclass(frozen=True)
class Program:
    """A server to measure. `{port}` in an argument is replaced by the port to listen on."""

    name: str
    path: Path
    arguments: tuple[str, ...]

    def command(self, port: int) -> list[str]:
        return [str(self.path), *(a.replace("{port}", str(port)) for a in self.arguments)]

    def log(self) -> Path:
        return BUILD / f"{self.name}.log"


@dataclass
class Settings:
    floor: Program
    server: Program
    rounds: int
    seconds: float
    connections: list[int]
    server_cpu: int
    client_cpu: int
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


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- processes: everything started here is killed here, by its own id -----------------------


AnyRunning = TypeVar("AnyRunning", bound="Running")


class Running:
    """A child process on a core of its own; killed when the block is left, however that happens."""

    def __init__(self, command: list[str], cpu: int, stderr: Any = None) -> None:
        # What the measurer's shell says about logs and limits must not change the measurement.
        environment = {
            name: value
            for name, value in os.environ.items()
            if name != "RUST_LOG" and not name.startswith("CLOSECALL_")
        }
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=environment,
                preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
            )
        except OSError as error:
            raise Failure(f"cannot start {command[0]}: {error.strerror}") from error

    def __enter__(self: AnyRunning) -> AnyRunning:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass

    def line(self, timeout: float) -> str:
        """The next line on its stdout; empty if it ended or did not say anything in time."""
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        return self.process.stdout.readline().strip() if ready else ""


class Server(Running):
    """A server that is listening, and what /proc knows about it."""

    def __init__(self, program: Program, cpu: int, port: int = 0) -> None:
        self.program = program
        with open(program.log(), "a", encoding="utf-8") as log:
            super().__init__(program.command(port), cpu, stderr=log)
        try:
            line = self.line(timeout=10)
            if not line.startswith("listening on "):
                raise NotListening(f"{program.name} does not listen; its log is {program.log()}")
            self.port = int(line.rsplit(":", 1)[1])
        except BaseException:
            self.__exit__()
            raise

    def proc(self, name: str) -> Path:
        if self.process.poll() is not None:
            raise Failure(
                f"{self.program.name} ended by itself ({self.process.returncode}); "
                f"its log is {self.program.log()}"
            )
        return Path("/proc", str(self.process.pid), name)

    def cpu_ns(self) -> int:
        """Time on a processor so far, user and system, of all its threads."""
        threads = self.proc("task").iterdir()
        return sum(int((t / "schedstat").read_text().split()[0]) for t in threads)

    def rss_bytes(self) -> int:
        # Not statm: the kernel keeps those numbers with a tolerance of many pages.
        for line in self.proc("smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise Failure("no Rss in smaps_rollup")

    def open_files(self) -> int:
        return len(os.listdir(self.proc("fd")))

    def wait_for_files(self, count: int) -> None:
        """Connected is not yet accepted: waits until the server has so many descriptors."""
        end = time.monotonic() + 5
        while self.open_files() < count:
            if time.monotonic() > end:
                raise Failure(f"{self.program.name} does not accept everybody")
            time.sleep(0.01)


class Client(Running):
    """The generator, and its protocol of `start`, `stop` and a JSON line."""

    def __init__(self, settings: Settings, mode: str, port: int, *arguments: object) -> None:
        command = [str(CLIENT), mode, HOST, str(port), *map(str, arguments)]
        super().__init__(command, settings.client_cpu)

    def expect(self, moment: str, timeout: float) -> None:
        line = self.line(timeout)
        if line != moment:
            raise Failure(f"the client did not reach `{moment}`")

    def proceed(self) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise Failure("the client ended by itself") from error

    def result(self, timeout: float) -> dict[str, Any]:
        line = self.line(timeout)
        if not line:
            raise Failure("the client gave no result")
        result: dict[str, Any] = json.loads(line)
        return result


def check(result: dict[str, Any]) -> dict[str, Any]:
    if result["mismatches"] or result["errors"]:
        raise Failure(f"{result['mismatches']} mismatches, {result['errors']} errors")
    return result


# --- echo and churn: processor time of the server -------------------------------------------


def measure(
    settings: Settings, program: Program, mode: str, arguments: tuple[object, ...], port: int
) -> dict[str, Any]:
    """One window with a fresh server and a fresh client."""
    overflows = time_wait_overflows()
    with Server(program, settings.server_cpu, port) as server:
        with Client(settings, mode, server.port, *arguments) as client:
            client.expect("start", timeout=60)
            time.sleep(SETTLE_SECONDS)
            before = server.cpu_ns()
            client.proceed()
            client.expect("stop", timeout=settings.seconds + 60)
            time.sleep(SETTLE_SECONDS)
            used = server.cpu_ns() - before
            client.proceed()
            result = check(client.result(timeout=60))
        if not result["echoes"] or not used:
            raise Failure("not one echo, or a kernel without schedstat")
        result["cpu_us"] = used / 1000 / result["echoes"]
        result["port"] = server.port
        result["time_wait_overflows"] = time_wait_overflows() - overflows
        return result


def side_by_side(
    settings: Settings, label: str, mode: str, arguments: tuple[object, ...], same_port: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rounds: both programs in each, in turns A B, B A, A B, so that a drift hits both."""
    floor: list[dict[str, Any]] = []
    server: list[dict[str, Any]] = []
    port = 0
    for number in range(settings.rounds):
        pair = [(settings.floor, floor), (settings.server, server)]
        for program, results in pair if number % 2 == 0 else reversed(pair):
            try:
                results.append(measure(settings, program, mode, arguments, port))
            except NotListening:
                if port == 0:
                    raise
                results.append(measure(settings, program, mode, arguments, 0))
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
    overflows = floor["time_wait_overflows"] + server["time_wait_overflows"]
    if overflows:
        say(
            f"  beware: TIME_WAIT overflowed {overflows:,} times, and those connections end with "
            "a reset. Wait a minute between runs or raise net.ipv4.tcp_max_tw_buckets"
        )


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
    """The same program twice, once without what the verdict asks and waits for."""
    server = settings.server
    blind = Program("unprobed", server.path, (*server.arguments, *UNPROBED))
    pair = replace(settings, floor=blind)
    what = "verdict, beside no probes"
    arguments = (settings.seconds, CHURN_PARALLEL, churn_sources())
    floor, server_results = side_by_side(pair, what, "churn", arguments, same_port=True)
    return [cpu_row(pair, what, GOAL_VERDICT, floor, server_results)]


# --- TIME_WAIT ------------------------------------------------------------------------------
#
# The client of the churn closes first, so it keeps each pair of addresses in TIME_WAIT for a
# minute. Beyond tcp_max_tw_buckets the kernel drops the pair at once and answers the server's FIN
# with a reset: a different ending, and a different cost. On loopback Linux gives a pair out again
# after a second, so the remedy is to use no more pairs than the table holds: few source addresses,
# and the same server port in every round.


def sysctl(name: str) -> list[int]:
    return [int(n) for n in Path("/proc/sys/net/ipv4", name).read_text().split()]


def time_waits() -> int:
    words = Path("/proc/net/sockstat").read_text().split()
    return int(words[words.index("tw") + 1])


def time_wait_overflows() -> int:
    lines = Path("/proc/net/netstat").read_text().splitlines()
    extensions = [line.split() for line in lines if line.startswith("TcpExt:")]
    return int(dict(zip(*extensions)).get("TCPTimeWaitOverflow", 0))


def churn_sources() -> int:
    """How many source addresses to use; waits if earlier runs still fill the table."""
    buckets = sysctl("tcp_max_tw_buckets")[0]
    low, high = sysctl("ip_local_port_range")
    ports = high - low + 1
    if sysctl("tcp_tw_reuse")[0] == 0:
        return 64
    sources = max(1, int(0.95 * buckets / ports))
    room = max(0, buckets - sources * ports)
    if time_waits() > room:
        say(f"churn: {time_waits():,} connections in TIME_WAIT have to expire, up to a minute")
    end = time.monotonic() + 65
    while time_waits() > room and time.monotonic() < end:
        time.sleep(0.5)
    return sources


# --- memory ---------------------------------------------------------------------------------


def bytes_per_connection(settings: Settings, program: Program, most: int) -> float:
    """What the resident memory grows by, from 1,000 silent connections to `most` of them."""
    with Server(program, settings.server_cpu) as server:
        files = server.open_files()
        with Client(settings, "hold", server.port, MEMORY_BASE) as base:
            base.expect("start", timeout=60)
            server.wait_for_files(files + MEMORY_BASE)
            before = server.rss_bytes()
            with Client(settings, "hold", server.port, most - MEMORY_BASE) as others:
                others.expect("start", timeout=60)
                server.wait_for_files(files + most)
                growth = server.rss_bytes() - before
                others.proceed()
                check(others.result(timeout=60))
            base.proceed()
            check(base.result(timeout=60))
    return growth / (most - MEMORY_BASE)


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
    with Server(settings.server, settings.server_cpu) as server:
        arguments = (silent, ACTIVE, OPENING_RATE)
        with Client(settings, "deadline", server.port, *arguments) as client:
            result = check(client.result(timeout=120))
    tell_deadline(what, result)
    return deadline_rows(what, result)


def tell_deadline(what: str, result: dict[str, Any]) -> None:
    say(
        f"{what}: opened in {result['open_s']:.2f} s; {result['fin']:,} ended by a FIN, "
        f"{result['other']:,} by anything else, "
        f"{result['silent'] - result['fin'] - result['other']:,} not at all"
    )
    for phase in ("quiet", "burst"):
        say(
            f"  {ACTIVE} active, {phase}: {result[phase + '_echoes']:,} echoes, "
            f"p50 {result[phase + '_p50_us']:,.0f}, p99.9 {result[phase + '_p999_us']:,.0f}, "
            f"longest {result[phase + '_max_us']:,.0f} µs"
        )
    if result["slow_connects"]:
        say(
            f"  beware: {result['slow_connects']:,} handshakes took over 100 ms (the backlog was "
            "full), and that is counted as silence"
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


def raise_file_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def enough_files(what: str, connections: int) -> bool:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY or connections + FILES_RESERVE <= limit:
        return True
    say(
        f"{what}: skipped, it needs {connections + FILES_RESERVE:,} open files and the hard limit "
        f"is {limit:,} (ulimit -Hn)"
    )
    return False


def compile_c() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    for target, sources in ((FLOOR, ["server.c"]), (CLIENT, ["client.c", "generator.c"])):
        command = [*shlex.split(compiler), "-O2", "-Wall", "-Wextra", "-o", str(target)]
        try:
            subprocess.run([*command, *(str(HERE / s) for s in sources)], check=True)
        except OSError as error:
            raise Environment(f"no C compiler ({compiler}): install one or set CC") from error
        except subprocess.CalledProcessError as error:
            raise Environment(f"{', '.join(sources)} does not compile") from error


def choose_cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        say("one core only: server and client share it, and the figures are of little use")
    return cores[0], cores[min(1, len(cores) - 1)]


def executable(path: str, remedy: str) -> Path:
    found = Path(path).resolve()
    if not os.access(found, os.X_OK) or found.is_dir():
        raise Environment(f"there is no program {path}: {remedy}")
    return found


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        default=",".join(EXPERIMENTS),
        metavar="LIST",
        help="which experiments (default: %(default)s)",
    )
    parser.add_argument(
        "--connections",
        default="50,1000,19000",
        metavar="LIST",
        help="sizes for echo; memory and deadline take the largest (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=7, help="of echo, churn and verdict (default: 7)")
    parser.add_argument("--seconds", type=float, default=3, help="length of a window (default: 3)")
    parser.add_argument(
        "--server",
        default=str(ROOT / "target" / "release" / "closecall"),
        metavar="PATH",
        help="the closecall to measure (default: target/release/closecall)",
    )
    parser.add_argument(
        "--server-arg",
        action="append",
        default=[],
        metavar="ARG",
        help="one more argument for `closecall serve`; give it as --server-arg=--option=value",
    )
    parser.add_argument(
        "--against",
        metavar="PATH",
        help="measure against this server (another closecall, say) and not server.c",
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
        help="measure the floor against itself: what the ratios read when nothing differs",
    )
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    options = parser.parse_args(arguments)

    options.only = options.only.split(",")
    unknown = [name for name in options.only if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"--only: no experiment {unknown[0]!r}; there are {', '.join(EXPERIMENTS)}")
    try:
        options.connections = [int(n) for n in options.connections.split(",")]
    except ValueError:
        parser.error("--connections: a list of numbers, as in 50,1000")
    if min(options.connections) < 1 or options.rounds < 1 or options.seconds <= 0:
        parser.error("--connections, --rounds and --seconds are greater than zero")
    return options


def choose_programs(options: argparse.Namespace) -> tuple[Program, Program]:
    if options.against:
        path = executable(options.against, "give --against the path of a server")
        floor = Program("against", path, tuple(shlex.split(options.against_args)))
    else:
        floor = Program("server.c", FLOOR, ("{port}",))
    if options.noise:
        return floor, Program("itself", floor.path, floor.arguments)
    path = executable(options.server, "build it with `cargo build --release`, or say --server PATH")
    arguments = ("serve", "--listen", LISTEN, *options.server_arg)
    return floor, Program("closecall", path, arguments)


# --- the report -----------------------------------------------------------------------------


def print_table(settings: Settings, rows: list[Row]) -> None:
    names = settings.floor.name, settings.server.name
    head = ["", *names, "ratio", "min..max", "goal", ""]
    lines = [head, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    print()
    for line in lines:
        first, *others = [f"{cell:>{width}}" for cell, width in zip(line, widths)]
        print("  ".join([f"{first.strip():<{widths[0]}}", *others]).rstrip())
    print("\nServer CPU time per echo or cycle; medians of the rounds; ratio within each round.")


def write_json(path: str, settings: Settings, rows: list[Row], failures: list[str]) -> None:
    report = {
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "server_cpu": settings.server_cpu,
            "client_cpu": settings.client_cpu,
        },
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


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def run(options: argparse.Namespace) -> int:
    if sys.platform != "linux":
        raise Environment("it needs Linux: epoll and /proc")
    raise_file_limit()
    compile_c()
    floor, server = choose_programs(options)
    server_cpu, client_cpu = choose_cores()
    settings = Settings(
        floor,
        server,
        options.rounds,
        options.seconds,
        options.connections,
        server_cpu,
        client_cpu,
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
    # So that `kill` unwinds as Ctrl-C does, and the children are killed.
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
