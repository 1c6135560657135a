"""Raises kernel settings (sysctl) for a run, and restores them however the run ends.

The old values are written to a file, with fsync, before the first setting is changed. A run that is
killed leaves that file, and the next run restores the settings first. The file is locked during a run,
and the lock ends with its process. It is in /run, which a restart of the machine empties, as a restart
resets the settings.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Callable

STATE = Path("/run/closecall-million.json")
ROOT = Path("/proc/sys")


class Busy(Exception):
    """Another run is under way."""


class Refused(Exception):
    """A setting cannot be changed here."""


def at_least(old: str, wanted: tuple[int, ...]) -> str:
    """Raises each number of a setting to the wanted value, and lowers none."""
    return " ".join(str(max(int(number), least)) for number, least in zip(old.split(), wanted))


class Settings:
    """The settings that all network namespaces share. To be used as a context."""

    def __init__(self, say: Callable[[str], None], state: Path = STATE, root: Path = ROOT) -> None:
        self.say, self.root = say, root
        self.state = os.open(state, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.state, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.state)
            raise Busy(f"another run is under way: it has {state}") from error
        # What is open before the process enters a namespace is that of the machine, also after.
        self.files: dict[str, int] = {}

    def __enter__(self) -> Settings:
        self.put_back("a run that was killed had changed it")
        return self

    def __exit__(self, *_: object) -> None:
        self.put_back("as it was")
        for file in (*self.files.values(), self.state):
            os.close(file)

    def read(self, name: str) -> str:
        return " ".join(os.pread(self.open(name), 4096, 0).decode().split())

    def write(self, name: str, value: str) -> None:
        os.pwrite(self.open(name), f"{value}\n".encode(), 0)

    def open(self, name: str) -> int:
        if name not in self.files:
            path = self.root / name.replace(".", "/")
            self.files[name] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        return self.files[name]

    def raise_to(self, wanted: dict[str, tuple[int, ...]]) -> None:
        """Raises settings that are lower, and reports each."""
        try:
            changes = {}
            for name, least in wanted.items():
                old = self.read(name)
                if at_least(old, least) != old:
                    changes[name] = [old, at_least(old, least)]
            self.remember(changes)
            for name, (old, new) in changes.items():
                self.say(f"{name}: {old} -> {new}, until the end of the run")
                self.write(name, new)
        except OSError as error:
            raise Refused(f"{error.filename or 'a setting'}: {error.strerror}") from error

    def remember(self, changes: dict[str, list[str]]) -> None:
        text = json.dumps(changes).encode() if changes else b""
        os.ftruncate(self.state, 0)
        os.pwrite(self.state, text, 0)
        os.fsync(self.state)

    def put_back(self, why: str) -> None:
        """Restores the settings in the file. A setting that was changed in the meantime is not restored."""
        try:
            changes = json.loads(os.pread(self.state, 1 << 16, 0) or b"{}")
        except ValueError:
            changes = {}  # the run was killed while it wrote: nothing had been changed
        for name, (old, new) in changes.items():
            now = self.read(name)
            if now == new:
                self.write(name, old)
                self.say(f"{name}: {new} -> {old}, {why}")
            elif now != old:
                self.say(f"{name}: {now} is neither the old value {old} nor ours: left alone")
        self.remember({})
