"""Pages of the site on the public names, which docs/api.md lists, from their docstrings."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from scripts.site_map import toctree
from scripts.site_parts import table
from sphinx.pycode import ModuleAnalyzer

import safecompress

_STATEMENT = Path(__file__).resolve().parent.parent / "docs" / "api.md"
_FOLDER = "reference/api"
_BESIDE = ("safecompress_reader", "pytest_safecompress")
"""Modules beside the package."""
_MEMBERS = "   :members:\n   :show-inheritance:"


def api_pages() -> Iterator[tuple[str, str]]:
    """Yield the place of each page without its ending, and its Markdown."""
    sections = {
        "verbs": ("The verbs", first_cells("Eight verbs")),
        "names": ("The other public names", first_cells("The other public names")),
    }
    modules = [*_BESIDE, *public_modules()]
    rows = [
        (f"[{title}]({page}.md)", ", ".join(f"`{name}`" for name in names))
        for page, (title, names) in sections.items()
    ]
    rows += [(f"[`{name}`]({name}.md)", _first_line(name)) for name in modules]
    lines = ["# Python API", "", "[The statement](../../docs/api.md) says how long it lasts.", ""]
    lines += table(("page", "on it"), rows)
    pages = [*sections, *modules]
    yield f"{_FOLDER}/index", "\n".join([*lines, "", toctree(f"{_FOLDER}/{p}" for p in pages)])
    described: dict[object, str] = {}
    for page, (title, names) in sections.items():
        parts = [_described(safecompress, name, page, described) for name in names]
        yield f"{_FOLDER}/{page}", f"# {title}\n\n" + "\n".join(parts)
    for name in modules:
        yield f"{_FOLDER}/{name}", f"# `{name}`\n\n" + _module(name, described)


def first_cells(heading: str) -> list[str]:
    """Return the names in code style in the first column of the tables under a heading.

    Args:
        heading: a heading of docs/api.md.
    """
    section = _STATEMENT.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def public_modules() -> list[str]:
    """Return the modules that authors of parts may use; groups of entry points are no modules."""
    names = first_cells("For authors of parts")
    return list(dict.fromkeys(name for name in names if _exists(name)))


def _exists(name: str) -> bool:
    try:
        import_module(name)
    except ModuleNotFoundError:
        return False
    return True


def _first_line(module: str) -> str:
    return (inspect.getdoc(import_module(module)) or "").partition("\n")[0]


def _module(name: str, described: dict[object, str]) -> str:
    module = import_module(name)
    if not hasattr(module, "__all__"):
        return _directive("automodule", name, body=_MEMBERS)
    parts = [_described(module, public, name, described) for public in sorted(module.__all__)]
    return "\n".join([_first_line(name), "", *parts])


def _described(module: ModuleType, name: str, page: str, described: dict[object, str]) -> str:
    """Return a name's description, or where it is: many modules publish what another defines."""
    value = getattr(module, name)
    known = inspect.isclass(value) or inspect.isroutine(value)
    if known and described.setdefault(value, page) != page:
        return f"`{name}` is described [there]({described[value]}.md).\n"
    if not known:
        return _directive("py:data", f"{module.__name__}.{name}", body=_about(module, name))
    if inspect.isclass(value):
        return _directive("autoclass", f"{module.__name__}.{name}", body=_MEMBERS)
    return _directive("autofunction", f"{module.__name__}.{name}")


def _about(module: ModuleType, name: str) -> str:
    """Return what is written below a constant or an alias, in the module that defines it."""
    analyzer = ModuleAnalyzer.for_module(_home(module, name).__name__)
    return textwrap.indent("\n" + "\n".join(analyzer.find_attr_docs().get(("", name), [])), "   ")


def _home(module: ModuleType, name: str) -> ModuleType:
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return _home(import_module(str(node.module)), name)
    return module


def _directive(kind: str, name: str, *, body: str = "") -> str:
    return f"```{{eval-rst}}\n.. {kind}:: {name}\n{body}\n```\n"
