#!/usr/bin/env python3
"""Tests of what needs no connection: settings that are put back, and the arithmetic of processes.

python3 benches/million/test_million.py
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import unittest
from math import sqrt
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from plan import FILES_RESERVED, SPREAD, fits, plan
from report import Figures, failures, rows
from settings import Busy, Refused, Settings, at_least

TCP_MEM, FILE_MAX = "net.ipv4.tcp_mem", "fs.file-max"
# Raises what `Fake` wants, as a process of its own, and is killed.
KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from settings import Settings
with Settings(print, Path(sys.argv[2]), Path(sys.argv[3])) as settings:
    settings.raise_to({"net.ipv4.tcp_mem": (10, 25, 300), "fs.file-max": (900,)})
    os.kill(os.getpid(), signal.SIGKILL)
"""


# Raises the same, and ends itself with the signal whose number it is given.
SIGNALLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from million import end_on_signals
from settings import Settings
end_on_signals()
with Settings(print, Path(sys.argv[2]), Path(sys.argv[3])) as settings:
    settings.raise_to({"net.ipv4.tcp_mem": (10, 25, 300)})
    os.kill(os.getpid(), int(sys.argv[4]))
"""


class Fake(unittest.TestCase):
    """A tree of files in place of /proc/sys."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root, self.state = Path(folder.name, "sys"), Path(folder.name, "state.json")
        for name, value in ((TCP_MEM, "10\t20\t30"), (FILE_MAX, "1000")):
            path = self.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value}\n")
        self.said: list[str] = []

    def path(self, name: str) -> Path:
        return self.root / name.replace(".", "/")

    def value(self, name: str) -> str:
        # A file keeps what was behind a shorter value, which a setting of the kernel does not.
        return " ".join(self.path(name).read_text().splitlines()[0].split())

    def settings(self) -> Settings:
        return Settings(self.said.append, self.state, self.root)

    def test_a_setting_is_raised_and_put_back_and_both_are_said(self) -> None:
        with self.settings() as settings:
            settings.raise_to({TCP_MEM: (10, 25, 300), FILE_MAX: (900,)})
            self.assertEqual(self.value(TCP_MEM), "10 25 300")
            self.assertEqual(self.value(FILE_MAX), "1000", "it was enough")
        self.assertEqual(self.value(TCP_MEM), "10 20 30")
        self.assertEqual(self.state.read_text(), "")
        self.assertEqual(
            self.said,
            [
                f"{TCP_MEM}: 10 20 30 -> 10 25 300, until the end of the run",
                f"{TCP_MEM}: 10 25 300 -> 10 20 30, as it was",
            ],
        )

    def test_an_error_puts_it_back_as_well(self) -> None:
        with self.assertRaises(KeyboardInterrupt), self.settings() as settings:
            settings.raise_to({TCP_MEM: (10, 25, 300)})
            raise KeyboardInterrupt
        self.assertEqual(self.value(TCP_MEM), "10 20 30")

    def test_what_a_killed_run_left_is_put_back_by_the_next(self) -> None:
        command = [sys.executable, "-c", KILLED, str(HERE), str(self.state), str(self.root)]
        killed = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        self.assertEqual(killed.returncode, -signal.SIGKILL)
        self.assertEqual(self.value(TCP_MEM), "10 25 300", "a killed process puts nothing back")
        with self.settings():
            self.assertEqual(self.value(TCP_MEM), "10 20 30")
        self.assertEqual(
            self.said, [f"{TCP_MEM}: 10 25 300 -> 10 20 30, a run that was killed had changed it"]
        )

    def test_each_signal_that_ends_a_run_puts_it_back(self) -> None:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            arguments = [str(HERE), str(self.state), str(self.root), str(int(number))]
            ended = subprocess.run(
                [sys.executable, "-c", SIGNALLED, *arguments],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # As in a shell that ignores nothing.
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
                check=False,
            )
            self.assertNotEqual(ended.returncode, 0)
            self.assertEqual(self.value(TCP_MEM), "10 20 30", number)
            self.assertEqual(self.state.read_text(), "")

    def test_what_was_changed_since_is_left_alone(self) -> None:
        with self.settings() as settings:
            settings.raise_to({TCP_MEM: (10, 25, 300)})
            self.path(TCP_MEM).write_text("11 22 33\n")
        self.assertEqual(self.value(TCP_MEM), "11 22 33")
        self.assertIn("left alone", self.said[-1])

    def test_a_file_that_is_half_written_changed_nothing(self) -> None:
        self.state.write_text(f'{{"{TCP_MEM}": ["1 2')
        with self.settings():
            self.assertEqual(self.value(TCP_MEM), "10 20 30")
        self.assertEqual((self.state.read_text(), self.said), ("", []))

    def test_two_runs_at_a_time_are_refused(self) -> None:
        with self.settings(), self.assertRaises(Busy):
            self.settings()
        with self.settings():
            pass

    def test_a_setting_that_is_not_there_changes_nothing(self) -> None:
        with self.assertRaises(Refused), self.settings() as settings:
            settings.raise_to({TCP_MEM: (10, 25, 300), "net.ipv4.none": (1,)})
        self.assertEqual(self.value(TCP_MEM), "10 20 30")


class Arithmetic(unittest.TestCase):
    def test_no_number_of_a_setting_is_lowered(self) -> None:
        self.assertEqual(at_least("5 50 500", (10, 20, 1000)), "10 50 1000")

    def test_no_server_runs_out_of_files(self) -> None:
        for connections, open_files, cores, processes in (
            (2_000_000, 20_000, 2, 105),
            (2_000_000, 1_048_576, 2, 2),
            (2_000_000, 1_048_576, 16, 16),
            (2_000, 20_000, 2, 2),
            (1, 1024, 8, 1),
        ):
            chosen = plan(connections, open_files, cores)
            self.assertEqual(chosen.processes, processes, (connections, open_files, cores))
            mean = connections / chosen.processes
            most = mean + SPREAD * sqrt(mean) if chosen.processes > 1 else mean
            self.assertLessEqual(most, open_files - FILES_RESERVED)

    def test_each_connection_sends_its_message_while_all_are_held(self) -> None:
        for connections in (1, 7, 2_001, 1_999_999, 2_000_000):
            chosen = plan(connections, 20_000, 2)
            due = chosen.rate * chosen.hold_ms // 1000
            self.assertTrue(connections <= due <= connections + 20, (connections, due))

    def test_what_is_said_to_fit_does_fit(self) -> None:
        for gib in (1, 4, 24, 96):
            for open_files in (1024, 20_000, 1_048_576):
                most = fits(gib << 30, open_files, 2)
                self.assertGreater(most, 0)
                self.assertLessEqual(plan(most, open_files, 2).memory(), gib << 30)
        self.assertEqual(fits(1 << 20, 20_000, 2), 0)

    def test_settings_are_bounded_by_the_memory(self) -> None:
        wanted = plan(2_000_000, 20_000, 2).settings(files_open=1_000, pages=1_000_000)
        self.assertEqual(wanted[TCP_MEM], (250_000, 375_000, 500_000))
        self.assertEqual(wanted[FILE_MAX], (4_101_000,))
        # All processes are of one user.
        self.assertEqual(wanted["fs.epoll.max_user_watches"], (4_100_000,))


class Rows(unittest.TestCase):
    def test_a_time_that_no_look_has_seen_is_said_in_words(self) -> None:
        report = {
            "echoes": 10,
            "duration_s": 2.0,
            "mismatches": 0,
            "errors": {},
            "verdicts": {"local.done": 10},
            "latency_us": None,
        }
        for closed_s, shown in ((None, "too short to be measured"), (0.0, "0.0 s"), (1.5, "1.5 s")):
            figures = Figures(opened_s=0.3, closed_s=closed_s)
            table = dict(rows(plan(10, 20_000, 2), figures, report, {}))
            self.assertEqual(table["time to close"], shown)
            self.assertEqual(table["time to open, with the first reply"], "0.3 s")


class Failures(unittest.TestCase):
    def test_all_has_to_be_as_it_was_planned(self) -> None:
        good = {
            "echoes": 10,
            "unanswered": 0,
            "mismatches": 0,
            "errors": {},
            "interrupted": False,
            "verdicts": {"local.done": 10},
        }
        theirs = {"peer_fin.delivered": 11}
        chosen = plan(10, 20_000, 2)
        self.assertEqual(list(failures(chosen, good, theirs)), [])
        wrong: tuple[dict[str, Any], ...] = (
            {"echoes": 9},
            {"unanswered": 1},
            {"mismatches": 1},
            {"errors": {"no_fin": 1}},
            {"interrupted": True},
            {"verdicts": {"local.done": 9, "timeout.read": 1}},
        )
        for change in wrong:
            self.assertEqual(len(list(failures(chosen, {**good, **change}, theirs))), 1, change)
        for ends in ({"peer_fin.delivered": 10}, {**theirs, "peer_reset.unread": 1}, {}):
            self.assertEqual(len(list(failures(chosen, good, ends))), 1, ends)


if __name__ == "__main__":
    unittest.main()
