#!/usr/bin/env python3
"""Measures what `Observed` costs a tokio echo server: CPU time of the server for each echo and cycle.

Both programs run in every round, in turns, so that a drift affects both. The client is
benches/limit/client.c. Build first: cargo build --release --example echo_tokio
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "limit"))

import measuring  # noqa: E402

SERVER = measuring.ROOT / "target" / "release" / "examples" / "echo_tokio"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    measuring.raise_file_limit()
    measuring.compile_c()
    bench = measuring.Bench(*measuring.choose_cores(), options.seconds)
    plain, finishing, observed = (
        measuring.Program(f"tokio-{name}", SERVER, (name,))
        for name in ("plain", "finishing", "observed")
    )
    size, seconds = measuring.ECHO_SIZE, options.seconds
    rows = [
        ("echo, 50 connections", plain, "echo", (50, seconds, size)),
        ("cycle", plain, "churn", (seconds, measuring.CHURN_PARALLEL)),
        ("cycle that also shuts down", finishing, "churn", (seconds, measuring.CHURN_PARALLEL)),
    ]
    print("| what | without | with `Observed` | ratio | range |\n|---|---|---|---|---|")
    for what, without, mode, arguments in rows:
        if mode == "churn":
            arguments = (*arguments, measuring.churn_sources())
        pairs = []
        for number in range(options.rounds):
            used = {}
            turns = [without, observed] if number % 2 == 0 else [observed, without]
            for program in turns:
                used[program.name] = measuring.measure(bench, program, mode, arguments, 0)["cpu_us"]
            pairs.append((used[without.name], used[observed.name]))
        ratios = sorted(after / before for before, after in pairs)
        before, after = (median(pair[side] for pair in pairs) for side in (0, 1))
        spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
        print(f"| {what} | {before:.2f} µs | {after:.2f} µs | {median(ratios):.3f} | {spread} |")


if __name__ == "__main__":
    main()
