"""The harness for documents, and the documents' own map."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from tests.documents import ROOT, commands, complaint, documents

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _headings(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", _FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_inside_the_project_lead_somewhere(document: Path) -> None:
    for link in _LINK.findall(_FENCE.sub("", document.read_text())):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), f"{document.name}: {link}"
        if anchor:
            assert anchor in _headings(target), f"{document.name}: {link}"


def test_the_map_names_every_document() -> None:
    named = set(_LINK.findall((ROOT / "docs" / "index.md").read_text()))
    for path in DOCUMENTS:
        if path.name != "index.md":
            assert Path(os.path.relpath(path, ROOT / "docs")).as_posix() in named


def test_every_document_with_examples_is_run() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    run = [ROOT / place for place in settings["testpaths"]]
    for path in DOCUMENTS:
        if re.search(r"^```(python|console)$", path.read_text(), re.MULTILINE):
            assert {path, *path.parents} & set(run), f"{path.name} is not in testpaths"
            assert documents.should_parse(path), f"{path.name} is not in tests/documents.py"


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("make test", [["make", "test"]]),
        ("$ make test\n3 passed", [["make", "test"]]),
        ("$ A=1 make test && make lint > log", [["make", "test"], ["make", "lint"]]),
        ("$ safecompress compress \\\n    --seed 1", [["safecompress", "compress", "--seed", "1"]]),
        ("$ make test  # all of them", [["make", "test"]]),
        ("$ echo 'a; b' | cat", [["echo", "a; b"], ["cat"]]),
    ],
)
def test_commands_are_found_among_prompts_and_output(block: str, expected: list[list[str]]) -> None:
    assert commands(block) == expected


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("make test WORKERS=1", False),
        ("make tests", True),
        ("pip install anything --unknown", False),
        ("safecompress --help", False),
        ("safecompress demo", False),
        ("safecompress compress recipe.yaml --seed 1", False),
        (".venv/bin/safecompress nonsense", True),
        ("safecompress compress --no-such-option x", True),
    ],
)
def test_a_documented_command_that_does_not_parse_is_found(command: str, wrong: bool) -> None:
    assert (complaint(command.split()) is not None) == wrong
