"""Build the documents as a static site that can be searched, also from a disk without a server.

    python scripts/build_site.py build/site

Needs the extra `docs`; asks nothing outside. The pages are those of the repository, at their
places, so that a link which works there works here; what is written from docstrings and registries
is in `reference/`. A link or an anchor that leads nowhere ends the build with exit code 1.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.site_api import api_pages  # noqa: E402
from scripts.site_map import folder_page, navigation  # noqa: E402
from scripts.site_parts import part_pages  # noqa: E402

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]+)(#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_TITLE = re.compile("^# ", re.MULTILINE)
STRICT = (
    "--jobs",
    "auto",
    "--quiet",
    "--fail-on-warning",
    "--keep-going",
    "-c",
    str(ROOT / "scripts/sphinx"),
)
"""How Sphinx is called: any warning, as of a link that leads nowhere, is an error."""
_OUTSIDE = re.compile(
    r"""<(?:script|link|img|iframe|source|video|audio|embed|object)\b[^>]*?"""
    r"""\b(?:src|href|srcset|data)=["']?(?:https?:)?//[^>]*>"""
    r"""|(?:url\(|@import )\s*["']?(?:https?:)?//[^)\s]*""",
    re.IGNORECASE,
)
"""What makes a browser load something from another host; a link that a reader follows does not."""
_HOME = Path("index.md")


def gather(stage: Path) -> None:
    """Write every page of the site into a folder, at its place in the repository.

    Args:
        stage: an empty folder. The README becomes its `index.md`; files that pages link to are
            copied, and a folder that they link to becomes a page that lists it.
    """
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    documents += [*(ROOT / "docs").rglob("*.ipynb"), *(ROOT / "benchmarks/results").glob("*.md")]
    pages = {path.relative_to(ROOT): path.read_text("utf-8") for path in documents}
    pages[_HOME] = pages.pop(Path("README.md"))
    pages |= {Path(f"{place}.md"): text for place, text in (*api_pages(), *part_pages())}
    places = {path.with_suffix("").as_posix() for path in pages if path != _HOME}
    pages[_HOME] += navigation(places)
    listed: set[Path] = set()
    for path, text in pages.items():
        title = "" if path.suffix != ".md" or _TITLE.search(text) else f"# {path.stem}\n\n"
        moved = linked(text, path, lambda target: _staged(target, stage, listed))
        _write(stage / path, title + (moved if path.suffix == ".md" else text))
    for folder in listed:
        _write(stage / folder / _HOME, folder_page(ROOT / folder))
        for file in filter(Path.is_file, (ROOT / folder).iterdir()):
            _copy(file.relative_to(ROOT), stage)


def linked(text: str, page: Path, moved: Callable[[Path], Path]) -> str:
    """Return a page's Markdown with its links turned to where the files are in the site.

    Args:
        text: the Markdown.
        page: where it is, from the root of the repository.
        moved: where a file or folder of the repository is in the site, both from its root.

    >>> linked("[a](../README.md#two) [b](c.md) [d](https://e.f)", Path("docs/x.md"),
    ...        lambda target: Path("index.md") if target.name == "README.md" else target)
    '[a](../index.md#two) [b](c.md) [d](https://e.f)'
    """

    def turned(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(page.parent / match[1]))
        return os.path.relpath(moved(target), page.parent) + (match[2] or "")

    parts = _FENCE.split(text)
    # Every second part is a block of code, where brackets are no links.
    parts[::2] = [_LINK.sub(turned, part) for part in parts[::2]]
    return "".join(parts)


def _staged(target: Path, stage: Path, listed: set[Path]) -> Path:
    if target == Path("README.md"):
        return _HOME
    if (ROOT / target).is_dir():
        listed.add(target)
        return target / _HOME
    if target.suffix not in (".md", ".ipynb") and (ROOT / target).is_file():
        _copy(target, stage)
    return target


def _copy(file: Path, stage: Path) -> None:
    (stage / file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / file, stage / file)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def loaded_from_outside(site: Path) -> list[str]:
    """Return what pages would load from other hosts, such as fonts and scripts, by page.

    Args:
        site: folder of a built site.
    """
    files = [path for path in sorted(site.rglob("*")) if path.suffix in (".html", ".css", ".svg")]
    return [
        f"{path.relative_to(site)}: {match[0]}"
        for path in files
        for match in _OUTSIDE.finditer(path.read_text("utf-8"))
    ]


def main(out: Path) -> int:
    """Build the site.

    Args:
        out: its folder, which is emptied first.

    Returns:
        The exit code: 0, or 1 where a link leads nowhere, a page loads something from outside, or
        Sphinx warns of anything else.
    """
    from sphinx.cmd.build import main as sphinx

    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch) / "pages"
        gather(stage)
        code = sphinx([*STRICT, "-d", f"{scratch}/doctrees", str(stage), str(out)])
    if code == 0 and (found := loaded_from_outside(out)):
        sys.stderr.write("\n".join(["pages must load nothing from outside:", *found, ""]))
        return 1
    if code == 0:
        sys.stdout.write(f"{out / 'index.html'}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
