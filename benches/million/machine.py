"""Facts about the machine: its memory, its sockets, and its processes."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Optional


class Missing(Exception):
    """This machine cannot run it; the text gives the reason."""


def meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise Missing(f"/proc/meminfo has no {name}")


def sockstat() -> dict[str, int]:
    """TCP counters of this network namespace; `mem`, pages of buffers, counts the whole machine."""
    for line in Path("/proc/self/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()[1:]
            return {name: int(count) for name, count in zip(words[::2], words[1::2])}
    raise Missing("/proc/net/sockstat has no TCP")


def netstat(name: str) -> int:
    lines = Path("/proc/self/net/netstat").read_text().splitlines()
    extensions = [line.split() for line in lines if line.startswith("TcpExt:")]
    return int(dict(zip(*extensions)).get(name, 0))


def memory(pids: list[int]) -> dict[str, int]:
    """Memory of these processes: with shared pages divided among them (Pss), and with shared pages
    counted in each (Rss)."""
    sums = {"pss": 0, "rss": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name.lower() in sums:
                sums[name.lower()] += int(rest.split()[0]) * 1024
    return sums


def cpu_s(pid: int) -> Optional[float]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    try:
        return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    release = ".".join(platform.release().split(".")[:2])
    gib = meminfo("MemTotal") / 2**30
    processor = names[0] if names else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, {gib:.1f} GiB, Linux {release}"
