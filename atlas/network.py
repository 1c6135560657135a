"""Three network namespaces in a row: the client, the proxy, the server.

The proxy's namespace forwards, so the client also reaches the server directly. All programs in
the namespaces are started here, and ended by their process ids. The namespaces are removed at the end,
also after Ctrl-C. If a run is killed, the next run removes its namespaces.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Callable, Optional, TypeVar

CLIENT, PROXY, SERVER = "client", "proxy", "server"

CLIENT_ADDRESS = "10.77.1.1"
PROXY_ADDRESS = "10.77.1.2"  # as the client sees it
PROXY_BEHIND = "10.77.2.2"  # as the server sees it
SERVER_ADDRESS = "10.77.2.1"

# Fixed ports are safe here: the namespaces are empty, and ephemeral ports begin at 32768.
PROXY_PORT = 9001
SERVER_PORT = 9000

# The devices on which both sides are captured.
CLIENT_DEVICE, SERVER_DEVICE = "client0", "server0"

# For each socket. By default the kernel lets buffers grow until the lab's clients cannot fill them.
BUFFER_BYTES_MAX = 1 << 20

CLONE_NEWNET = 0x4000_0000
READY_SECONDS = 20.0
END_SECONDS = 3.0

T = TypeVar("T")


class Failure(Exception):
    """Something could not be started or failed; the text gives the reason."""


def command(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise Failure(f"`{' '.join(words)}`: {reason[0] if reason else done.returncode}")


class Process:
    """A program in a namespace, in its own session, with its output in files."""

    def __init__(self, words: list[str], log: Path, output: Path) -> None:
        self.log = log
        with open(log, "ab") as errors, open(output, "ab") as written:
            self.child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=errors,
                start_new_session=True,
            )

    def is_over(self) -> bool:
        return self.child.poll() is not None

    def said(self) -> str:
        """The end of its output, for a report of what went wrong."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) if lines else "it said nothing"

    def end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.child.pid, number)
            except ProcessLookupError:
                pass
            try:
                self.child.wait(END_SECONDS)
                return
            except subprocess.TimeoutExpired:
                continue


class Network:
    """A context in which the three namespaces exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = {it: f"atlas-{os.getpid()}-{it}" for it in (CLIENT, PROXY, SERVER)}
        self.processes: list[Process] = []

    def __enter__(self) -> Network:
        try:
            self.build()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.remove()

    def build(self) -> None:
        for name in self.names.values():
            command("ip", "netns", "add", name)
            command("ip", "-n", name, "link", "set", "lo", "up")
        self.joins(CLIENT, CLIENT_DEVICE, CLIENT_ADDRESS, "front0", PROXY_ADDRESS)
        self.joins(SERVER, SERVER_DEVICE, SERVER_ADDRESS, "back0", PROXY_BEHIND)
        self.sets(PROXY, "ip_forward", "1")
        for where in self.names:
            self.sets(where, "tcp_rmem", f"4096 131072 {BUFFER_BYTES_MAX}")
            self.sets(where, "tcp_wmem", f"4096 16384 {BUFFER_BYTES_MAX}")

    def sets(self, where: str, name: str, value: str) -> None:
        command(*self.inside(where), "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/{name}")

    def joins(self, where: str, device: str, address: str, other: str, gateway: str) -> None:
        """A link between `where` and the proxy's namespace, and the route through it."""
        end, middle = self.names[where], self.names[PROXY]
        peer = ["peer", "name", other, "netns", middle]
        command("ip", "-n", end, "link", "add", device, "type", "veth", *peer)
        for name, its, ip in ((end, device, address), (middle, other, gateway)):
            command("ip", "-n", name, "address", "add", f"{ip}/24", "dev", its)
            command("ip", "-n", name, "link", "set", its, "up")
        command("ip", "-n", end, "route", "add", "default", "via", gateway)

    def inside(self, where: str) -> list[str]:
        return ["ip", "netns", "exec", self.names[where]]

    def starts(
        self, where: str, words: list[str], log: str, output: Optional[Path] = None
    ) -> Process:
        """`output` is for stdout; without it both go to the log."""
        path = self.folder / log
        process = Process([*self.inside(where), *words], path, output or path)
        self.processes.append(process)
        return process

    def enters(self, where: str, act: Callable[[], T]) -> T:
        """Runs `act` on its own thread, which has moved into the namespace: a socket that it opens
        stays there."""
        results: list[T] = []
        errors: list[BaseException] = []

        def moved() -> None:
            try:
                with open(f"/run/netns/{self.names[where]}", "rb") as file:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(file.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                results.append(act())
            except BaseException as error:  # it is raised again on the caller's thread
                errors.append(error)

        thread = threading.Thread(target=moved)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def waits_for(self, where: str, address: str, port: int, process: Optional[Process]) -> None:
        """Waits until a program listens there. It asks the kernel, because a connect would be one more client."""
        give_up = time.monotonic() + READY_SECONDS
        while not self.listens(where, address, port):
            if process is not None and process.is_over():
                raise Failure(f"the program ended at once: {process.said()}")
            if time.monotonic() > give_up:
                said = f": {process.said()}" if process is not None else ""
                raise Failure(f"nothing listens on {address}:{port} in time{said}")
            time.sleep(0.02)

    def listens(self, where: str, address: str, port: int) -> bool:
        words = [*self.inside(where), "ss", "-Htln", f"sport = :{port}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"ss: {done.stderr.strip()}")
        locals_ = [line.split()[3].rsplit(":", 1)[0] for line in done.stdout.splitlines()]
        return any(it in (address, "0.0.0.0", "*", "[::]") for it in locals_)

    def remove(self) -> None:
        """Ends the programs in the namespaces, by id, and removes these; also after a failed start."""
        with Uninterrupted():
            for process in reversed(self.processes):
                process.end()
            self.processes.clear()
            for name in self.names.values():
                removes(name)


class Uninterrupted:
    """A second Ctrl-C must not leave namespaces behind."""

    def __enter__(self) -> None:
        self.before = {
            it: signal.signal(it, signal.SIG_IGN) for it in (signal.SIGINT, signal.SIGTERM)
        }

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def removes(name: str) -> None:
    """Ends the processes in a namespace and removes it. A daemon may have left its session, not its namespace."""
    listed = subprocess.run(
        ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
    )
    for pid in listed.stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def removes_leftovers() -> None:
    """Removes the namespaces of a run whose process has ended."""
    folder = Path("/run/netns")
    for path in folder.iterdir() if folder.is_dir() else ():
        found = re.fullmatch(r"atlas-(\d+)-(client|proxy|server)", path.name)
        if found and not Path("/proc", found[1]).exists():
            removes(path.name)


def packet_socket(device: str, buffer_bytes: int) -> socket.socket:
    """Sees every packet of a device, in and out, with the kernel's time."""
    all_protocols = 0x0003
    so_timestampns, so_rcvbufforce = 35, 33
    it = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(all_protocols))
    it.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, buffer_bytes)
    it.setsockopt(socket.SOL_SOCKET, so_timestampns, 1)
    it.bind((device, all_protocols))
    it.setblocking(False)
    return it
