#!/usr/bin/env python3
"""Draws docs/endings.svg: four endings, what `recv` returned, and what closecall logged.

Each client of the picture is played twice, against a plain recv loop (below) and against
`closecall serve`. The values and the log lines are those of this run; only the layout is fixed.
Build first: cargo build --release. `make picture` does both.
"""

from __future__ import annotations

import errno
import html
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLOSECALL = ROOT / "target" / "release" / "closecall"
PICTURE = ROOT / "docs" / "endings.svg"

PREFIX = b"from server back:"

# How the client ends, in `closecall client --end`, and the verdict that the picture is about. A
# client that closes at once races with the reply, so it is played until its FIN was first.
SCENES = [
    ("close", "reads the reply, closes", "peer_fin.delivered"),
    ("close-at-once", "closes before the reply arrives", "peer_fin.reply_refused"),
    ("half-close", "shuts down its side, reads on", "peer_fin.half_close_served"),
    ("probe", "connects and closes: a health check", "peer_fin.probe"),
]
ATTEMPTS = 200
PATIENCE_S = 60


class RecvLoop:
    """The loop that most servers have. `ended` is what its last recv returned."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.ended = ""

    def address(self) -> str:
        host, port = self.listener.getsockname()
        return f"{host}:{port}"

    def serve_one(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(PREFIX + data)
                self.ended = "0"
            except OSError as error:
                self.ended = f"-1 {errno.errorcode[error.errno or 0]}"


def play(address: str, way: str) -> None:
    subprocess.run(
        [CLOSECALL, "client", address, "--end", way],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=30,
        check=False,  # what became of it is what the servers say
    )


def recv_of(way: str) -> str:
    loop = RecvLoop()
    thread = threading.Thread(target=loop.serve_one)
    thread.start()
    play(loop.address(), way)
    thread.join(30)
    loop.listener.close()
    return loop.ended


class Serve:
    """A closecall, and the log lines of its endings."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [CLOSECALL, "serve", "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "RUST_LOG": "closecall::close=debug"},  # a probe is no news
        )
        # Whatever goes wrong: reading its log ends with the process.
        self.watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        self.watchdog.start()
        assert self.process.stdout
        self.address = self.process.stdout.readline().removeprefix("listening on ").strip()

    def __enter__(self) -> Serve:
        return self

    def __exit__(self, *_: object) -> None:
        self.watchdog.cancel()
        self.process.terminate()
        self.process.communicate()

    def ending_of(self, way: str) -> str:
        play(self.address, way)
        assert self.process.stderr
        for line in self.process.stderr:
            if match := re.search(r"closecall::close: (\S+) \S+ #\d+ (.*)", line):
                return f"{match[1]} {match[2]}"
        raise SystemExit("the server has ended")


def played() -> list[tuple[str, str, str]]:
    """For each scene: what the client does, what recv returned, and the end of the log line."""
    rows = []
    with Serve() as server:
        for way, does, verdict in SCENES:
            for _ in range(ATTEMPTS):
                ending = server.ending_of(way)
                recv = recv_of(way)
                if ending.startswith(verdict + " ") and recv == "0":
                    break
            else:
                raise SystemExit(f"{way}: no {verdict} beside a recv of 0 in {ATTEMPTS} attempts")
            rows.append((does, recv, ending))
    return rows


WIDTH, ROW, TOP, LEFT = 880, 62, 78, 24
STYLE = """
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #c9d1d9 }
.head { fill: #8b949e } .recv { fill: #e3b341 } .good { fill: #7ee787 } .lost { fill: #ff7b72 }
"""


def drawn(rows: list[tuple[str, str, str]]) -> str:
    height = TOP + ROW * len(rows) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label(rows)}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#0d1117"/>',
        text(LEFT, 34, "head", "the client"),
        text(430, 34, "head", "recv() of a plain loop"),
        text(LEFT, 54, "head", "  what closecall logs"),
    ]
    for index, (does, recv, ending) in enumerate(rows):
        y = TOP + ROW * index + 20
        kind = "lost" if "undelivered=" in ending else "good"
        parts += [
            text(LEFT, y, "", does),
            text(430, y, "recv", f"= {recv}"),
            text(LEFT, y + 22, kind, "  " + ending),
        ]
    return "\n".join([*parts, "</svg>", ""])


def text(x: int, y: int, kind: str, what: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" xml:space="preserve">{html.escape(what)}</text>'


def label(rows: list[tuple[str, str, str]]) -> str:
    said = "; ".join(f"{does}: recv {recv}, closecall {end.split()[0]}" for does, recv, end in rows)
    return html.escape(said, quote=True)


def main() -> None:
    if not CLOSECALL.exists():
        sys.exit(f"{CLOSECALL} is missing: cargo build --release")
    PICTURE.write_text(drawn(played()), encoding="utf-8")
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
