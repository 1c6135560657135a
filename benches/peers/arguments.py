"""Command-line values and checks that compare.py and ../fair/fair.py share."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Callable, NoReturn

from measuring import say


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Prints one line without the usage, which --help shows."""
        say(f"{self.prog.removesuffix('.py')}: {message}")
        sys.exit(2)


def whole(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return number


def sizes(text: str) -> list[int]:
    return sorted({whole(part) for part in text.split(",")})


def window(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, up to 3600")
    return seconds


def some_of(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parts(text: str) -> list[str]:
        chosen = [part for part in text.split(",") if part]
        for part in chosen:
            if part not in known:
                raise argparse.ArgumentTypeError(f"no {part!r}; there are {', '.join(known)}")
        return chosen

    return parts


def writable(path: str) -> str:
    """Checked before the measurement, not after it."""
    if Path(path).is_dir() or not os.access(Path(path).resolve().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"nothing can be written to {path!r}")
    return path


def add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", type=writable, metavar="FILE", help="write all figures to FILE"
    )
    parser.add_argument(
        "--markdown", type=writable, metavar="FILE", help="write the table to FILE, as Markdown"
    )
