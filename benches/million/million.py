#!/usr/bin/env python3
"""Holds two million TCP connections on one machine, uses each, and closes each in order.

    make million                          # as root; 2,000,000 connections
    make million CONNECTIONS=200000

The run has its own network namespace, as many processes of `closecall serve --reuse-port` as the limit
of open files requires, and `closecall load echo` with the same number of processes. Each connection
sends a message when it is opened and another one while all are held, in turn and at a fixed rate. Each
reply is compared, and both sides report how each connection ended. Settings that all namespaces share
are raised and restored (settings.py).
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Optional

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from machine import Missing, children, cpu_s, machine, meminfo, memory, netstat, sockstat
from plan import PAGE, PORTS, Plan, fits, plan
from report import Figures, failures, rows
from settings import STATE, Busy, Refused, Settings

ROOT = HERE.parents[1]
OUTPUT = ROOT / "target" / "million"
CLOSECALL = ROOT / "target" / "release" / "closecall"
# From linux/sched.h, linux/sockios.h, linux/if.h and linux/prctl.h.
CLONE_NEWNET, SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x4000_0000, 0x8913, 0x8914, 1
PR_SET_PDEATHSIG = 1
SOURCES = "127.0.1.0/24"
LOOK_S = 0.25
CPU_LOOK_S = 2.0
LIBC = ctypes.CDLL(None, use_errno=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- a namespace of its own -------------------------------------------------------------------


def enter_namespace(connections: int) -> None:
    """Gives this process and its children their own namespace with a loopback interface. The namespace and
    its settings end with the last of these processes."""
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise Missing(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    with socket.socket() as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))
    own = {
        "net/ipv4/ip_local_port_range": f"{PORTS[0]} {PORTS[1]}",
        "net/ipv4/tcp_max_tw_buckets": str(connections + 100_000),
        "net/core/somaxconn": "65535",
    }
    for name, value in own.items():
        try:
            Path("/proc/sys", name).write_text(value)
        except OSError as error:
            raise Missing(f"{name}: {error.strerror}") from error
    names = ", ".join(name.replace("/", ".") for name in own)
    say(f"entered a network namespace with its own {names}")


# --- processes: each is ended by its id, and with this process ---------------------------------


def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLOSECALL_")}
    environment["RUST_LOG"] = "error"
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C is ours
            preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            **options,
        )
    except OSError as error:
        raise Missing(f"cannot start {command[0]}: {error.strerror}") from error


def end(process: subprocess.Popen[str], patience_s: float) -> None:
    """Ends it in order, or by force if that takes too long."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def start_servers(run: Run) -> str:
    """Starts them one after the other, all on the port that the first one gets."""
    address = "127.0.0.1:0"
    for number in range(run.plan.processes):
        command = [run.program, "serve", "--listen", address, "--reuse-port"]
        command += ["--read-deadline", "1h"]
        with open(log_of(run.output, number), "w", encoding="utf-8") as log:
            run.servers.append(start(command, stdout=subprocess.PIPE, stderr=log))
        line = (run.servers[-1].stdout or sys.stdin).readline().strip()
        if not line.startswith("listening on "):
            raise Missing(f"server {number} does not listen: {log_of(run.output, number)}")
        address = line.removeprefix("listening on ")
    return address


def log_of(output: Path, number: int) -> Path:
    return output / f"server-{number}.log"


def verdicts(output: Path, count: int) -> dict[str, int]:
    """The sum of the tables that the servers print at their end."""
    sums: dict[str, int] = {}
    for number in range(count):
        for line in log_of(output, number).read_text().splitlines():
            words = line.split()
            if len(words) == 2 and "." in words[0] and words[1].replace(",", "").isdigit():
                sums[words[0]] = sums.get(words[0], 0) + int(words[1].replace(",", ""))
    return sums


# --- the run ----------------------------------------------------------------------------------


@dataclass
class Run:
    plan: Plan
    program: str
    output: Path
    servers: list[subprocess.Popen[str]] = field(default_factory=list)
    load: Optional[subprocess.Popen[str]] = None
    figures: Figures = field(default_factory=Figures)
    command: list[str] = field(default_factory=list)
    # The generator's processes, and the CPU time of each.
    cpu_s: dict[int, float] = field(default_factory=dict)

    def go(self) -> tuple[dict[str, Any], dict[str, int]]:
        """The generator's report, and the servers' verdicts."""
        try:
            address = start_servers(self)
            before = {name: meminfo(name) for name in ("MemAvailable", "Slab")}
            self.command = self.load_command(address)
            say(" ".join(["closecall", *self.command[1:]]))
            output = self.output / "load.json"
            with open(output, "w", encoding="utf-8") as stdout:
                self.load = start(self.command, stdout=stdout)
            self.watch(self.load, before)
            self.figures.servers_cpu_s = sum(cpu_s(it.pid) or 0.0 for it in self.servers)
            self.figures.time_wait_overflows = netstat("TCPTimeWaitOverflow")
            self.figures.memory_pressures = netstat("TCPMemoryPressures")
        finally:
            self.stop()
        try:
            report = json.loads(output.read_text())
        except ValueError as error:
            raise Missing("the generator gave no report; its messages are above") from error
        return report, verdicts(self.output, len(self.servers))

    def load_command(self, address: str) -> list[str]:
        plan = self.plan
        load = [self.program, "load", "echo", address, "-c", str(plan.connections)]
        load += ["--processes", str(plan.processes), "--source", SOURCES]
        load += ["--rate", str(plan.rate), "-d", f"{plan.hold_ms}ms", "--every", "off"]
        return [*load, "--timeout", "1m", "--format", "json"]

    def stop(self) -> None:
        if self.load:
            end(self.load, 10)
            # Its own processes end when it has; until then their connections are there.
            until = time.monotonic() + 60
            while any(cpu_s(pid) is not None for pid in self.cpu_s) and time.monotonic() < until:
                time.sleep(LOOK_S)
        for server in self.servers:
            if server.poll() is None:
                server.terminate()
        for server in self.servers:
            end(server, 30)

    def watch(self, load: subprocess.Popen[str], before: dict[str, int]) -> None:
        """Samples the machine until the generator has ended."""
        begin = time.monotonic()
        both_ends = 2 * self.plan.connections
        opened = closing = looked = None
        cpu, cpu_at = self.cpu_s, 0.0
        while load.poll() is None:
            now = time.monotonic()
            if now - begin > self.plan.limit_s:
                raise Missing(f"the run took longer than {self.plan.limit_s:.0f} s and was ended")
            tcp = sockstat()
            figures = self.figures
            if closing:
                figures.buffer_pages_most = max(figures.buffer_pages_most, tcp["mem"])
            figures.time_wait_most = max(figures.time_wait_most, tcp["tw"])
            if opened is None and tcp["inuse"] >= both_ends:
                opened = now
                figures.opened_s = round(now - begin, 1)
                say(f"opened {self.plan.connections:,} in {figures.opened_s} s")
            elif opened and closing is None and tcp["inuse"] < both_ends:
                closing = now
                say("closing")
            if opened and not looked and now >= opened + self.plan.hold_ms / 2000:
                looked = now
                self.look(load.pid, before)
            if now >= cpu_at + CPU_LOOK_S or not cpu:
                cpu_at = now
                for pid in (load.pid, *children(load.pid)):
                    cpu[pid] = cpu_s(pid) or cpu.get(pid, 0.0)
            time.sleep(LOOK_S)
        if closing:
            self.figures.closed_s = round(time.monotonic() - closing, 1)
        self.figures.generator_cpu_s = round(sum(cpu.values()), 1)

    def look(self, load: int, before: dict[str, int]) -> None:
        """Measures the memory while all connections are held."""
        figures = self.figures
        servers = memory([it.pid for it in self.servers])
        figures.servers_pss, figures.servers_rss = servers["pss"], servers["rss"]
        figures.generator_pss = memory([load, *children(load)])["pss"]
        taken = before["MemAvailable"] - meminfo("MemAvailable")
        # The servers' processes existed before; their memory for connections did not.
        figures.kernel = taken - figures.servers_pss - figures.generator_pss
        figures.slab = meminfo("Slab") - before["Slab"]


# --- the report -------------------------------------------------------------------------------


def publish(run: Run, report: dict[str, Any], theirs: dict[str, int]) -> int:
    lines = list(rows(run.plan, run.figures, report, theirs))
    wrong = list(failures(run.plan, report, theirs))
    width = max(len(name) for name, _ in lines)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in lines))
    print(f"\n{machine()}")
    table = ["| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in lines)]
    (run.output / "million.md").write_text("\n".join([*table, "", f"Machine: {machine()}.", ""]))
    whole = {
        "tool": "million",
        "command": f"make million CONNECTIONS={run.plan.connections}",
        "machine": machine(),
        "load": ["closecall", *run.command[1:]],
        "plan": asdict(run.plan),
        "figures": asdict(run.figures),
        "report": report,
        "server_verdicts": theirs,
        "failures": wrong,
    }
    (run.output / "million.json").write_text(json.dumps(whole, indent=2) + "\n")
    say(f"written: {run.output}/million.json and million.md")
    for what in wrong:
        say(f"million: {what}")
    return int(bool(wrong))


# --- the command line -------------------------------------------------------------------------


def room(plan: Plan, open_files: int) -> None:
    """Fails if the memory is not enough."""
    available = meminfo("MemAvailable")
    if plan.memory() > available:
        most = fits(available, open_files, os.cpu_count() or 1)
        raise Missing(
            f"{plan.connections:,} connections take about {plan.memory() / 2**30:.1f} GiB with "
            f"both ends, and {available / 2**30:.1f} GiB are available: CONNECTIONS={most} fits"
        )


def parse(arguments: list[str]) -> argparse.Namespace:
    def error(message: str) -> NoReturn:
        say(f"million: {message}")
        sys.exit(2)

    def number(text: str) -> int:
        value = int(text) if text.isdecimal() else 0
        if not 1 <= value <= 4_000_000:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 4000000")
        return value

    parser = argparse.ArgumentParser(prog="million.py", description=__doc__.splitlines()[0])
    parser.error = error  # type: ignore[method-assign]
    parser.add_argument("--connections", type=number, default=2_000_000, metavar="N")
    parser.add_argument("--program", default=str(CLOSECALL), help="the closecall program (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the results (default: %(default)s)")
    parser.add_argument("--state", type=Path, default=STATE, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    if sys.platform != "linux":
        raise Missing("this needs Linux")
    open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if os.geteuid() != 0:
        most = fits(meminfo("MemAvailable"), open_files, os.cpu_count() or 1)
        raise Missing(
            "a network namespace and kernel settings need root: sudo make million; "
            f"the memory is enough for CONNECTIONS={most}"
        )
    if not os.access(options.program, os.X_OK):
        raise Missing(f"there is no program {options.program}: cargo build --release")
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    chosen = plan(options.connections, open_files, os.cpu_count() or 1)
    options.output.mkdir(parents=True, exist_ok=True)
    with Settings(say, options.state) as settings:
        room(chosen, open_files)
        files_open = int(Path("/proc/sys/fs/file-nr").read_text().split()[0])
        settings.raise_to(chosen.settings(files_open, meminfo("MemTotal") // PAGE))
        enter_namespace(chosen.connections)
        whole = Run(chosen, options.program, options.output)
        report, theirs = whole.go()
    return publish(whole, report, theirs)


def end_on_signals() -> None:
    """Makes `kill` and a closed terminal end a run as Ctrl-C does: raised settings are restored. SIGHUP, if
    it is ignored at the start (nohup), stays ignored; SIGINT (the `&` of a shell) does not."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, signal.default_int_handler)


def main() -> int:
    end_on_signals()
    try:
        return run(parse(sys.argv[1:]))
    except (Missing, Busy, Refused) as error:
        say(f"million: {error}")
        return 3
    except KeyboardInterrupt:
        say("million: interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
