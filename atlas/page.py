"""Renders docs/PROXIES.md: the tables from the captures, the text from the template. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

from judge import CHANGED, LOST, PASSED, Cell
from proxies import ADVICE, PROXIES

HOW = {proxy.key: proxy.how for proxy in PROXIES}
TEMPLATE = Path(__file__).resolve().parent / "PROXIES.template.md"


@dataclass(frozen=True)
class Column:
    """Endings that look the same, or nearly the same, to a proxy."""

    title: str
    what: str
    ids: tuple[str, ...]


COLUMNS = (
    Column("close", "the client reads the reply and closes, or is killed", ("S1", "S13a")),
    Column(
        "reset",
        "the client closes with the reply unread, resets, or is killed with the reply unread",
        ("S2", "S3 reply first", "S4", "S5", "S13b", "S16"),
    ),
    Column(
        "half-close",
        "the client shuts down its sending side, then reads the reply",
        ("S6", "S6c"),
    ),
    Column(
        "half-close, buffers full",
        "the same after the client has filled all buffers; then it reads everything",
        ("S15b",),
    ),
    Column(
        "closed before the reply",
        "the client sends and closes at once, or shuts down and does not read the reply",
        ("S3 race", "S3 pipelined", "S6b", "S16b"),
    ),
    Column("reset at once", "the client sends and resets at once", ("S8b",)),
    Column("probe, FIN", "the client connects and closes without sending a byte: a health check", ("S7",)),
    Column("probe, RST", "the client connects and resets without sending a byte", ("S7b", "S8")),
    Column(
        "reset, buffers full", "the client reads nothing until all buffers are full, then closes", ("S15",)
    ),
    Column("server's FIN", "the client is silent until the server's deadline ends it", ("S9",)),
    Column("server's RST", "the client reads nothing until the server resets it", ("S17",)),
)


@dataclass(frozen=True)
class Entry:
    """A proxy and its results."""

    key: str
    version: str
    cells: dict[str, Cell]


def text_of(cell: Cell) -> str:
    text = {PASSED: "=", CHANGED: cell.text, LOST: "**lost**"}[cell.change]
    return f"{text} †" if cell.called_delivered else text


def of_column(cells: dict[str, Cell], column: Column) -> str:
    """One entry for all endings of the column. Where they differ, each result once, the worst first."""
    found = [cells[name] for name in column.ids if name in cells]
    if not found:
        return "?"
    order = {LOST: 0, CHANGED: 1, PASSED: 2}
    ranked = sorted(found, key=lambda it: (order[it.change], it.text, not it.called_delivered))
    return ", ".join(dict.fromkeys(text_of(it) for it in ranked))


def markdown(lines: list[list[str]]) -> str:
    head, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *rest])


def matrix(entries: list[Entry]) -> str:
    lines = [["proxy", *(column.title for column in COLUMNS)]]
    for entry in entries:
        lines.append([f"{entry.key}", *(of_column(entry.cells, it) for it in COLUMNS)])
    return markdown(lines)


def columns() -> str:
    lines = [["column", "what is played", "the lab's rows"]]
    lines += [[it.title, it.what, ", ".join(it.ids)] for it in COLUMNS]
    return markdown(lines)


def versions(entries: list[Entry]) -> str:
    lines = [["proxy", "version", "configuration"]]
    lines += [[it.key, it.version, HOW[it.key]] for it in entries]
    return markdown(lines)


def details(entries: list[Entry]) -> Iterator[str]:
    """A table for each column that has several endings."""
    for column in COLUMNS:
        if len(column.ids) > 1:
            lines = [[f"{column.title}", *column.ids]]
            for entry in entries:
                texts = [
                    text_of(entry.cells[it]) if it in entry.cells else "?" for it in column.ids
                ]
                if any(text != "=" for text in texts):
                    lines.append([entry.key, *texts])
            yield markdown(lines) + "\n"


def entries_of(report: dict[str, Any]) -> list[Entry]:
    entries = []
    for it in report["proxies"]:
        cells = {
            name: Cell(**{**told, "got": told["got"] and tuple(told["got"])})
            for name, told in it["cells"].items()
        }
        entries.append(Entry(it["proxy"], it["version"], cells))
    return entries


def page(report: dict[str, Any]) -> str:
    """The page, from the JSON report of a run."""
    entries = entries_of(report)
    families = {it.key.split(" ")[0] for it in entries}
    advice = [f"* **{name}**: {text}" for name, text in ADVICE.items() if name in families]
    out = "; ".join(f"{key}: {why}" for key, why in report["skipped"].items())
    made = {
        "matrix": matrix(entries),
        "columns": columns(),
        "details": "\n".join(details(entries)).rstrip(),
        "versions": versions(entries),
        "advice": "\n".join(advice),
        "left_out": f"Not tested, because they were not installed: {out}." if out else "",
        "deadline": report["deadline"],
        "patience": report["patience"],
        "repeat": report["repeat"],
        "again": report["again"] + 1,
    }
    template = TEMPLATE.read_text(encoding="utf-8")
    text = re.sub(r"{{([a-z_]+)}}", lambda found: str(made[found[1]]), template)
    return re.sub(r"\n{3,}", "\n\n", text)
