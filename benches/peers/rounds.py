"""Rounds in which every server is measured once, and their results.

Shared by compare.py and ../fair/fair.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Callable

from measuring import Failure, say
from servers import Contestant

Sample = dict[str, Any]


@dataclass
class Cell:
    """The results of one server in one experiment."""

    samples: list[Sample] = field(default_factory=list)
    failure: str = ""

    def middle(self, name: str) -> float:
        return float(median(sample[name] for sample in self.samples))

    def factor(self, name: str) -> float:
        """The largest of the rounds as a multiple of the smallest."""
        values = [sample[name] for sample in self.samples]
        return float(max(values) / min(values)) if values else 1.0


def in_turns(servers: list[Contestant], number: int) -> list[Contestant]:
    """Each order is followed by its reverse, and another one begins after the two."""
    start = number // 2 % len(servers)
    turned = servers[start:] + servers[:start]
    return turned if number % 2 == 0 else turned[::-1]


def run_rounds(
    title: str,
    cells: dict[str, Any],
    servers: list[Contestant],
    rounds: int,
    take: Callable[[Contestant], Sample],
    tell: Callable[[dict[str, Sample], str], None],
) -> None:
    """Fills the cells. A server that has failed is left out of the rest of the experiment."""
    for number in range(rounds):
        this_round: dict[str, Sample] = {}
        for server in in_turns(servers, number):
            cell = cells[server.key]
            if cell.failure:
                continue
            logged = server.log_size()
            try:
                sample = take(server)
            except (Failure, OSError) as failure:
                cell.failure = server.reason(logged, failure)
                say(f"{title}: {server.key}: {cell.failure}")
                continue
            cell.samples.append(sample)
            this_round[server.key] = sample
        tell(this_round, f"{number + 1}/{rounds}")


# --- the results ----------------------------------------------------------------------------


def markdown_table(lines: list[list[str]], texts: set[int]) -> list[str]:
    """The columns at the places in `texts` are text; the others are figures."""
    head, *rows = lines
    marks = ["---" if place in texts else "---:" for place in range(len(head))]
    return ["| " + " | ".join(line) + " |" for line in (head, marks, *rows)]


def publish(options: argparse.Namespace, text: str, markdown: str, figures: dict[str, Any]) -> None:
    """The files first: a closed pipe takes the table only."""
    if options.json:
        lines = json.dumps(figures, indent=1, ensure_ascii=False)
        Path(options.json).write_text(lines + "\n", encoding="utf-8")
    if options.markdown:
        Path(options.markdown).write_text(markdown, encoding="utf-8")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
