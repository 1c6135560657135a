"""Shared parts of the benches: processes on their own cores, their figures in /proc, one window of
load with a fresh server and a fresh client, and the state of TIME_WAIT.

Used by run.py (closecall beside server.c), ../peers/compare.py (closecall beside other servers) and
../fair/fair.py (a few polite clients beside a flood).
"""

from __future__ import annotations

import json
import os
import platform
import resource
import select
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "target" / "limit"
CLIENT = BUILD / "client"
GENERATOR = [HERE / "generator.c", HERE / "silent.c"]
FLOOR = BUILD / "server"
CLOSECALL = ROOT / "target" / "release" / "closecall"

HOST = "127.0.0.1"
ECHO_SIZE = 64
CHURN_PARALLEL = 64
MEMORY_BASE = 1000
ACTIVE = 20
OPENING_RATE = 30_000
FILES_RESERVE = 100
SETTLE_SECONDS = 0.02
LISTEN = "127.0.0.1:{port}"


class Failure(Exception):
    """A measurement that failed; the others continue. The hint names the place to look."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__("; ".join(text for text in (what, hint) if text))
        self.what = what


class NotListening(Failure):
    """A server that did not start; another program may have the requested port."""


class Environment(Exception):
    """Something is missing on this machine, so nothing can be measured."""


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

    def hint(self) -> str:
        return f"its log is {self.log()}"


@dataclass
class Bench:
    """The cores of the two sides, and the length of a window."""

    server_cpu: int
    client_cpu: int
    seconds: float


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- processes: everything started here is killed here, by its own id -----------------------


AnyRunning = TypeVar("AnyRunning", bound="Running")


class Running:
    """A child process on its own core; killed whenever the block ends."""

    def __init__(self, command: list[str], cpu: int, stderr: Any = None) -> None:
        # Settings of the user's shell for logs and limits must not change the measurement.
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
        """The next line on its stdout; empty if it ended or wrote nothing in time."""
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        return self.process.stdout.readline().strip() if ready else ""


class Server(Running):
    """A server that is listening, and its figures in /proc."""

    def __init__(self, program: Program, cpu: int, port: int = 0) -> None:
        self.program = program
        with open(program.log(), "a", encoding="utf-8") as log:
            super().__init__(program.command(port), cpu, stderr=log)
        try:
            line = self.line(timeout=10)
            if not line.startswith("listening on "):
                raise NotListening(f"{program.name} does not listen", program.hint())
            self.port = int(line.rsplit(":", 1)[1])
        except BaseException:
            self.__exit__()
            raise

    def pid(self) -> int:
        if self.process.poll() is not None:
            what = f"{self.program.name} ended by itself ({self.process.returncode})"
            raise Failure(what, self.program.hint())
        return self.process.pid

    def proc(self, name: str) -> Path:
        return Path("/proc", str(self.pid()), name)

    def cpu_ns(self) -> int:
        """CPU time so far, user and system, of all threads, including ended ones."""
        # clock_getcpuclockid(3) of another process, which Python lacks: MAKE_PROCESS_CPUCLOCK with
        # CPUCLOCK_SCHED. It is the sum that schedstat shows for each thread as long as it lives.
        try:
            return time.clock_gettime_ns((~self.pid() << 3) | 2)
        except OSError as error:
            raise Failure(f"no CPU clock of {self.program.name}: {error.strerror}") from error

    def rss_bytes(self) -> int:
        # Not statm: the kernel keeps those numbers with a tolerance of many pages.
        for line in self.proc("smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise Failure("no Rss in smaps_rollup")

    def open_files(self) -> int:
        return len(os.listdir(self.proc("fd")))

    def wait_for_files(self, count: int) -> None:
        """Waits until the server has `count` descriptors: a connected client may not be accepted yet."""
        end = time.monotonic() + 5
        while self.open_files() < count:
            if time.monotonic() > end:
                raise Failure(f"{self.program.name} does not accept all connections")
            time.sleep(0.01)


class Client(Running):
    """The generator, and its protocol of `start`, `stop` and a JSON line."""

    def __init__(
        self, bench: Bench, mode: str, port: int, *arguments: object, path: Path = CLIENT
    ) -> None:
        command = [str(path), mode, HOST, str(port), *map(str, arguments)]
        self.complaints = tempfile.TemporaryFile()
        super().__init__(command, bench.client_cpu, stderr=self.complaints)

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self.complaints.close()

    def complaint(self) -> str:
        """The first error that it found."""
        lines = os.pread(self.complaints.fileno(), 4096, 0).decode(errors="replace").splitlines()
        return f" ({lines[0]})" if lines else ""

    def expect(self, moment: str, timeout: float) -> None:
        line = self.line(timeout)
        if line != moment:
            raise Failure(f"the client did not reach `{moment}`{self.complaint()}")

    def proceed(self, text: str = "") -> None:
        assert self.process.stdin
        try:
            self.process.stdin.write(f"{text}\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise Failure(f"the client ended by itself{self.complaint()}") from error

    def result(self, timeout: float) -> dict[str, Any]:
        """Its figures, if every reply was right and there was no other error."""
        line = self.line(timeout)
        if not line:
            raise Failure(f"the client gave no result{self.complaint()}")
        result: dict[str, Any] = json.loads(line)
        for what in ("mismatches", "errors"):
            if result[what]:
                raise Failure(f"{result[what]:,} {what}{self.complaint()}")
        return result


# --- one window of load ---------------------------------------------------------------------


def measure(
    bench: Bench, program: Program, mode: str, arguments: tuple[object, ...], port: int
) -> dict[str, Any]:
    """One window with a fresh server and a fresh client; on any port if the given one is taken."""
    try:
        return measure_on(bench, program, mode, arguments, port)
    except NotListening:
        if port == 0:
            raise
        return measure_on(bench, program, mode, arguments, 0)


def measure_on(
    bench: Bench, program: Program, mode: str, arguments: tuple[object, ...], port: int
) -> dict[str, Any]:
    overflows = time_wait_overflows()
    with Server(program, bench.server_cpu, port) as server:
        with Client(bench, mode, server.port, *arguments) as client:
            client.expect("start", timeout=60)
            time.sleep(SETTLE_SECONDS)
            before = server.cpu_ns()
            client.proceed()
            client.expect("stop", timeout=bench.seconds + 60)
            time.sleep(SETTLE_SECONDS)
            used = server.cpu_ns() - before
            client.proceed()
            result = client.result(timeout=60)
        if not result["echoes"] or not used:
            raise Failure("no echo, or a kernel without CPU clocks")
        result["cpu_us"] = used / 1000 / result["echoes"]
        result["port"] = server.port
        result["time_wait_overflows"] = time_wait_overflows() - overflows
        return result


# --- TIME_WAIT ------------------------------------------------------------------------------
#
# The client of the churn closes first, so it keeps each pair of addresses in TIME_WAIT for a
# minute. Beyond tcp_max_tw_buckets the kernel drops the pair at once and answers the server's FIN
# with a reset: a different ending, and a different cost. On loopback Linux reuses a pair after a
# second, so the bench uses no more pairs than the table holds: few source addresses, and the same
# server port in every round.


def sysctl(name: str) -> list[int]:
    return [int(n) for n in Path("/proc/sys/net/ipv4", name).read_text().split()]


def time_waits() -> int:
    words = Path("/proc/net/sockstat").read_text().split()
    return int(words[words.index("tw") + 1])


def netstat(name: str) -> int:
    """One of the kernel's extended TCP counters (TcpExt)."""
    lines = Path("/proc/net/netstat").read_text().splitlines()
    extensions = [line.split() for line in lines if line.startswith("TcpExt:")]
    return int(dict(zip(*extensions)).get(name, 0))


def time_wait_overflows() -> int:
    return netstat("TCPTimeWaitOverflow")


def churn_sources() -> int:
    """The number of source addresses to use; waits if earlier runs still fill the table."""
    buckets = sysctl("tcp_max_tw_buckets")[0]
    low, high = sysctl("ip_local_port_range")
    ports = high - low + 1
    if sysctl("tcp_tw_reuse")[0] == 0:
        return 64
    sources = max(1, int(0.95 * buckets / ports))
    room = max(0, buckets - sources * ports)
    if time_waits() > room:
        say(f"churn: {time_waits():,} connections in TIME_WAIT must expire first, up to a minute")
    end = time.monotonic() + 65
    while time_waits() > room and time.monotonic() < end:
        time.sleep(0.5)
    return sources


def tell_overflows(overflows: int) -> None:
    if overflows:
        say(
            f"  warning: TIME_WAIT overflowed {overflows:,} times, and those connections ended with "
            "a reset. Wait a minute between runs or raise net.ipv4.tcp_max_tw_buckets"
        )


# --- memory and the deadline ----------------------------------------------------------------


def bytes_per_connection(bench: Bench, program: Program, most: int) -> float:
    """The growth of resident memory, from 1,000 silent connections to `most` of them."""
    with Server(program, bench.server_cpu) as server:
        files = server.open_files()
        with Client(bench, "hold", server.port, MEMORY_BASE) as base:
            base.expect("start", timeout=60)
            server.wait_for_files(files + MEMORY_BASE)
            before = server.rss_bytes()
            with Client(bench, "hold", server.port, most - MEMORY_BASE) as others:
                others.expect("start", timeout=60)
                server.wait_for_files(files + most)
                growth = server.rss_bytes() - before
                others.proceed()
                others.result(timeout=60)
            base.proceed()
            base.result(timeout=60)
    return growth / (most - MEMORY_BASE)


def expire(bench: Bench, program: Program, silent: int) -> dict[str, Any]:
    """A few active connections, and `silent` others that reach the read deadline."""
    with Server(program, bench.server_cpu) as server:
        with Client(bench, "deadline", server.port, silent, ACTIVE, OPENING_RATE) as client:
            return client.result(timeout=120)


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
    compile_program(FLOOR, [HERE / "server.c"])
    compile_program(CLIENT, [HERE / "client.c", *GENERATOR])


def compile_program(target: Path, sources: list[Path]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    command = [*shlex.split(compiler), "-O2", "-Wall", "-Wextra", "-I", str(HERE)]
    try:
        subprocess.run([*command, "-o", str(target), *map(str, sources)], check=True)
    except OSError as error:
        raise Environment(f"no C compiler ({compiler}): install one or set CC") from error
    except subprocess.CalledProcessError as error:
        names = ", ".join(source.name for source in sources)
        raise Environment(f"{names} does not compile") from error


def choose_cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        say("only one core: server and client share it, so the figures are of little use")
    return cores[0], cores[min(1, len(cores) - 1)]


def executable(path: str, remedy: str) -> Path:
    found = Path(path).resolve()
    if not os.access(found, os.X_OK) or found.is_dir():
        raise Environment(f"there is no program {path}: {remedy}")
    return found


def machine(bench: Bench) -> dict[str, Any]:
    return {
        # Only the first two numbers of the version are needed.
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "server_cpu": bench.server_cpu,
        "client_cpu": bench.client_cpu,
    }


def table(lines: list[list[str]]) -> str:
    """Columns of equal width, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    texts = []
    for line in lines:
        first, *others = [f"{cell:>{width}}" for cell, width in zip(line, widths)]
        texts.append("  ".join([f"{first.strip():<{widths[0]}}", *others]).rstrip())
    return "\n".join(texts)


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


