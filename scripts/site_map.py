"""The navigation of the site, and pages that list folders."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

_MAP: Mapping[str, tuple[str, ...]] = {
    "First steps": (
        *("docs/notebooks/audit-in-five-minutes", "docs/notebooks/compress-your-own-net"),
        *("docs/notebooks/a-text-model", "docs/notebooks/compare-methods"),
        *("docs/configuration", "docs/verdict", "docs/report"),
    ),
    "Judge a model": ("docs/audit", "docs/release", "docs/standards", "docs/ci"),
    "Make it small": (
        *("docs/models", "docs/text", "docs/rows", "docs/your-own-loop", "docs/transforms"),
        *("docs/defenses", "docs/unpairing", "docs/export", "docs/comparing", "docs/trackers"),
    ),
    "What was measured": (
        *("docs/table", "docs/selection", "docs/attacks", "docs/learnt-references"),
        "benchmarks/results/*",
    ),
    "Reference": (
        *("reference/api/index", "docs/options", "reference/attacks/index"),
        *("reference/defenses/index", "reference/proposals/index", "reference/*/index"),
        "docs/api",
    ),
    "Build on it": ("docs/architecture", "docs/extending", "docs/extending/*"),
    "The project": (
        *("docs/index", "CONTRIBUTING", "SECURITY", "CODE_OF_CONDUCT", "docs/releasing"),
        "CHANGELOG",
    ),
}
"""Captions, each with its pages; `*` stands for all that are not named before."""


def navigation(pages: Collection[str]) -> str:
    """Return the navigation as Markdown for the end of the first page.

    Args:
        pages: places of all other pages in the site, without their endings. Those of single parts
            and modules hang below the index of their kind.

    Raises:
        ValueError: when a page is not in the navigation, or what is there is no page.
    """
    left = {page for page in pages if not page.startswith("reference/") or page.endswith("/index")}
    trees = []
    for caption, patterns in _MAP.items():
        named: list[str] = []
        for pattern in patterns:
            found = sorted(page for page in left if Path(page).match(pattern))
            if not found:
                raise ValueError(
                    f"scripts/site_map.py: no page is called {pattern}; there are {left}"
                )
            named += found
            left -= set(found)
        trees.append(toctree(named, caption=caption))
    if left:
        raise ValueError(f"scripts/site_map.py: give {sorted(left)} a place in the navigation")
    return "\n" + "\n".join(trees)


def toctree(pages: Iterable[str], *, caption: str = "") -> str:
    """Return pages as a part of the navigation, in Markdown.

    Args:
        pages: their places in the site, without their endings.
        caption: title of that part; empty for what hangs below the page that it is written on.
    """
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["```{toctree}", *options, "", *(f"/{page}" for page in pages), "```", ""])


def folder_page(folder: Path) -> str:
    """Return a page that lists the files of a folder of the repository, as Markdown.

    Args:
        folder: the folder. Beside a module and a package is the first line of its docstring, beside
            a configuration its first comment.
    """
    lines = ["---", "orphan: true", "---", "", f"# The folder `{folder.name}`", ""]
    for entry in sorted(folder.iterdir()):
        if not entry.name.startswith(("__pycache__", ".")):
            name = f"[{entry.name}]({entry.name})" if entry.is_file() else f"`{entry.name}/`"
            lines.append(f"- {name} {_about(entry)}".rstrip())
    return "\n".join(lines) + "\n"


def _about(path: Path) -> str:
    path = path / "__init__.py" if path.is_dir() else path
    if not path.is_file():
        return ""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    first = text.partition("\n")[0]
    return first.removeprefix("# ") if first.startswith("# ") else ""
