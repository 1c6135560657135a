"""Builds the documents as a book: `make book`, into target/book/index.html.

The documents are written to be read in the repository: they lie in several folders and link to
source files. mdBook wants one folder, and only pages have a place in a book. So the pages that
SUMMARY.md lists are copied to target/book-source/src under the paths that they have in the
repository, which keeps the links between them right; README.md becomes index.md, the first page of
its folder, as mdBook has it. An image is copied beside its page. Any other file that
a page links to is copied as text, `src/config.rs` as `src/config.rs.txt`, and the link is adapted:
a browser shows such a file, offline as well. Diagrams are drawn in the browser by Mermaid, which
mdbook-mermaid puts beside the pages.

After mdBook, each local link and anchor of the book is looked up. Exit code 1: mdBook warned, or a
link leads nowhere.
"""

import html.parser
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / "target" / "book-source"
PAGES = STAGE / "src"
BOOK = ROOT / "target" / "book"
IMAGES = {".svg", ".png"}

# The target of `[text](target)` and `![text](target)`, without a title: no document here has one.
LINK = re.compile(r"(\]\()([^()\s]+)(\))")
CODE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[^\n]*$|``.+?``|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def is_elsewhere(link):
    return bool(urllib.parse.urlsplit(link).scheme)


def listed():
    """The pages that SUMMARY.md lists, as paths from the root."""
    links = [link for _, link, _ in LINK.findall((ROOT / "book" / "SUMMARY.md").read_text())]
    return [Path(os.path.normpath(Path("book") / link)) for link in links]


def place(path, pages):
    """Where a file of the repository stands in the book's source."""
    if path in pages:
        return path.with_name("index.md") if path.name == "README.md" else path
    if path.suffix in IMAGES:
        return path
    if path.suffix == ".md":
        return path.with_suffix(".txt")  # mdBook takes `.md.txt` in a link for a page as well
    return path.with_name(path.name + ".txt")


def staged(page, pages):
    """The text of a page, with links to what stands elsewhere in the book adapted."""

    def adapted(match):
        before, link, behind = match.groups()
        path, _, anchor = link.partition("#")
        if is_elsewhere(link) or not path:
            return match.group()
        target = Path(os.path.normpath(page.parent / path))
        if (ROOT / target).is_dir():
            target = target / "README.md"  # which is what GitHub shows of a folder
        if not (ROOT / target).is_file():
            sys.exit(f"{page}: {link}: there is no {target}")
        if target not in pages:
            copy = PAGES / place(target, pages)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / target, copy)
        path = os.path.relpath(place(target, pages), page.parent)
        return f"{before}{path}{'#' + anchor if anchor else ''}{behind}"

    # `split` gives text and code in turn, and what looks like a link in code is none.
    parts = CODE.split((ROOT / page).read_text())
    parts[::2] = [LINK.sub(adapted, text) for text in parts[::2]]
    return "".join(parts)


def stage():
    shutil.rmtree(STAGE, ignore_errors=True)
    pages = listed()
    for page in pages:
        if not (ROOT / page).is_file():
            sys.exit(f"book/SUMMARY.md lists {page}, which does not exist")
        (PAGES / page).parent.mkdir(parents=True, exist_ok=True)
        (PAGES / place(page, pages)).write_text(staged(page, pages))

    # The summary's links lead from book/; in the book's source it stands at the root.
    def moved(match):
        path = Path(os.path.normpath(Path("book") / match[2]))
        return f"{match[1]}{place(path, pages)}{match[3]}"

    summary = (ROOT / "book" / "SUMMARY.md").read_text()
    (PAGES / "SUMMARY.md").write_text(LINK.sub(moved, summary))
    shutil.copyfile(ROOT / "book" / "book.toml", STAGE / "book.toml")


def build():
    shutil.rmtree(BOOK, ignore_errors=True)
    run("mdbook-mermaid", "install", STAGE)
    run("mdbook", "build", STAGE)


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, end="")
    if done.returncode != 0 or re.search(r"\b(WARN|ERROR)\b", done.stdout):
        sys.exit(f"{command[0]} failed or warned")


class Page(html.parser.HTMLParser):
    """The links of a page of the book, and what can be linked to in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def check():
    # 404.html is shown under any path, and its links start at the server's root.
    paths = [path for path in BOOK.rglob("*.html") if path.name != "404.html"]
    pages = {path: Page(path) for path in paths}
    broken, checked = [], 0
    for path, page in pages.items():
        for link in page.links:
            if is_elsewhere(link):
                continue
            checked += 1
            file, _, anchor = urllib.parse.unquote(link).partition("#")
            target = Path(os.path.normpath(path.parent / file)) if file else path
            has_anchor = not anchor or (target in pages and anchor in pages[target].anchors)
            if not target.is_file() or not has_anchor:
                broken.append(f"{path.relative_to(BOOK)}: {link}")
    if broken:
        sys.exit("links that lead nowhere:\n  " + "\n  ".join(sorted(set(broken))))
    print(f"{len(pages)} pages, {checked} links: {BOOK / 'index.html'}")


if __name__ == "__main__":
    stage()
    build()
    check()
