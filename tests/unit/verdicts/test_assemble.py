"""Verdict documents are put together in one place."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import safecompress
from safecompress.verdict_names import COMPRESSED, UNTOUCHED
from safecompress.verdicts.assemble import ExportFacts
from safecompress.verdicts.document import VerdictDocument
from safecompress.verdicts.export_document import ExportVerdict
from safecompress.verdicts.part import Part
from safecompress.verdicts.read import KINDS
from tests.report_fixture import verdict
from tests.verdict_schema import complaint

SOURCE = Path(safecompress.__file__).parent
PLACE = SOURCE / "verdicts" / "assemble.py"


def every(part: type[Part]) -> set[type[Part]]:
    return {part} | {p for direct in part.__subclasses__() for p in every(direct)}


# A part of fewer fields, such as an interval, is made of words that other things share.
SHAPES = {
    part.__name__: frozenset(n for n, f in part.model_fields.items() if f.is_required())
    for part in every(Part)
    if part.__module__.startswith("safecompress.")
}
SHAPES = {name: fields for name, fields in sorted(SHAPES.items()) if len(fields) >= 4}


@cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    """Return all nodes of a module's tree."""
    return tuple(ast.walk(ast.parse(source)))


def dictionaries(source: str) -> list[set[str]]:
    """Return the keys that each function of a module puts into dictionaries, and calls of dict."""
    found = []
    for scope in [n for n in nodes(source) if isinstance(n, ast.FunctionDef | ast.ClassDef)]:
        keys: set[str] = set()
        for node in ast.walk(scope):
            if isinstance(node, ast.Dict):
                names = [k.value for k in node.keys if isinstance(k, ast.Constant)]
                keys |= {name for name in names if isinstance(name, str)}
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict":
                keys |= {k.arg for k in node.keywords if k.arg}
            elif (
                isinstance(node, ast.Subscript)
                and isinstance(node.ctx, ast.Store)
                and isinstance(node.slice, ast.Constant)
            ):
                keys.add(str(node.slice.value))
        found.append(keys)
    return found


def by_hand(source: str) -> list[str]:
    """Return the parts of documents that a module builds as dictionaries."""
    return [
        name
        for keys in dictionaries(source)
        for name, fields in SHAPES.items()
        if fields - {"schema_version", "kind"} <= keys
    ]


def made(source: str) -> list[str]:
    """Return the kinds of documents that a module makes."""
    names = {kind.__name__ for kind in every(VerdictDocument)}
    calls = [n.func for n in nodes(source) if isinstance(n, ast.Call)]
    return [c.id for c in calls if isinstance(c, ast.Name) and c.id in names]


def packages() -> dict[str, list[Path]]:
    """Return all other modules by the part of the package that they are in."""
    found: dict[str, list[Path]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if path != PLACE:
            found.setdefault(path.relative_to(SOURCE).parts[0], []).append(path)
    return found


PACKAGES = packages()


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_else_builds_a_document(package: str) -> None:
    for path in PACKAGES[package]:
        source = path.read_text()
        assert not by_hand(source), f"{path}: make the part, of verdicts/, and no dictionary"
        assert not made(source), f"{path}: leave the document to verdicts/assemble.py"


def test_the_one_place_makes_every_kind() -> None:
    assert sorted(made(PLACE.read_text())) == sorted(kind.__name__ for kind in KINDS.values())


@pytest.mark.parametrize(
    "planted",
    [
        "def f():\n    return {" + ", ".join(f"'{n}': 1" for n in sorted(fields)) + "}"
        for fields in SHAPES.values()
    ]
    + [
        "def f(d):\n" + "".join(f"    d['{n}'] = 1\n" for n in sorted(SHAPES["CheckEntry"])),
        "def f():\n    return dict(" + ", ".join(f"{n}=1" for n in sorted(SHAPES["Leak"])) + ")",
    ],
    ids=[*SHAPES, "key by key", "dict()"],
)
def test_a_planted_dictionary_is_noticed(planted: str) -> None:
    assert by_hand(planted)


def test_a_planted_document_is_noticed() -> None:
    assert made("def f():\n    return AuditVerdict(kind='audit')") == ["AuditVerdict"]


@pytest.mark.parametrize("package", PACKAGES)
def test_names_of_judged_models_stand_in_one_place(package: str) -> None:
    # `dense` and `magnitude` are names of stages and of a drop rule, too.
    names = {COMPRESSED, UNTOUCHED}
    # The threat model's kind is a word of the schema.
    places = {"verdict_names.py": names, "document.py": {COMPRESSED}}
    for path in PACKAGES[package]:
        literals = [n.value for n in nodes(path.read_text()) if isinstance(n, ast.Constant)]
        found = names & {text for text in literals if isinstance(text, str)}
        assert found == places.get(path.name, set()), path


def test_an_exports_facts_are_the_fields_that_only_its_document_has() -> None:
    common = {
        "schema_version",
        "kind",
        "status",
        "sentence",
        "checks",
        "next_steps",
        "released_with",
    }
    assert {*ExportFacts.__dataclass_fields__} | common == {*ExportVerdict.model_fields}


def test_the_synthetic_verdict_of_the_reports_tests_is_one() -> None:
    for status in ("PASS", "FAIL", "INCONCLUSIVE", "ERROR"):
        for dense in (True, False):
            assert not complaint(verdict(status, dense=dense))
