"""Tests of make.py that need no mdBook."""

import tempfile
import unittest
from pathlib import Path

import make

PAGE = """[a page](DIAGNOSE.md#a-reset) [first](../README.md) [folder](../examples/)
[source](../src/config.rs) [no page](../atlas/README.md) [elsewhere](https://example.org/a.md)
[here](#there) ![image](endings.svg) `[code](../src/none.rs)`
```text
[code](../src/none.rs)
```
[`name`](../src/config.rs)
"""

ADAPTED = """[a page](DIAGNOSE.md#a-reset) [first](../index.md) [folder](../examples/index.md)
[source](../src/config.rs.txt) [no page](../atlas/README.txt) [elsewhere](https://example.org/a.md)
[here](#there) ![image](endings.svg) `[code](../src/none.rs)`
```text
[code](../src/none.rs)
```
[`name`](../src/config.rs.txt)
"""


class Staging(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        make.ROOT = Path(folder.name)
        make.PAGES = make.ROOT / "target" / "book-source" / "src"
        self.files = ["README.md", "docs/DIAGNOSE.md", "docs/endings.svg", "examples/README.md"]
        for name in [*self.files, "src/config.rs", "atlas/README.md"]:
            (make.ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (make.ROOT / name).write_text(name)
        self.pages = [Path(name) for name in [*self.files, "docs/PAGE.md"] if name.endswith(".md")]

    def staged(self, text):
        (make.ROOT / "docs" / "PAGE.md").write_text(text)
        return make.staged(Path("docs/PAGE.md"), self.pages)

    def test_links_follow_what_they_lead_to(self):
        self.assertEqual(self.staged(PAGE), ADAPTED)
        self.assertEqual((make.PAGES / "src/config.rs.txt").read_text(), "src/config.rs")
        self.assertTrue((make.PAGES / "docs/endings.svg").is_file())
        self.assertFalse((make.PAGES / "src/none.rs.txt").exists())

    def test_a_link_to_nothing_ends_it(self):
        with self.assertRaisesRegex(SystemExit, "none.rs"):
            self.staged("[nothing](../src/none.rs)")


class Checking(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        make.BOOK = Path(folder.name)
        (make.BOOK / "other.html").write_text('<h2 id="there">There</h2>')

    def check(self, link):
        (make.BOOK / "index.html").write_text(f'<a href="{link}">it</a>')
        make.check()

    def test_links_and_anchors_are_looked_up(self):
        for good in ["other.html", "other.html#there", "https://example.org/none.html"]:
            self.check(good)
        for bad in ["none.html", "other.html#none", "#there"]:
            with self.assertRaisesRegex(SystemExit, bad):
                self.check(bad)


if __name__ == "__main__":
    unittest.main()
