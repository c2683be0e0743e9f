"""No kind of part is without a contract, a guide page that runs, and five planted breaches."""

from __future__ import annotations

import ast
import importlib
import re

import pytest

from safecompress.cli.kinds import KINDS
from safecompress.registry import text_of
from tests.contracts import CONTRACTS, PAGES, page_of
from tests.documents import ROOT, documents
from tests.plugins import install

LONGEST_PAGE = 40
FEWEST_BREACHES = 5

each_kind = pytest.mark.parametrize("kind", KINDS)


def test_every_kind_has_a_contract():
    assert set(CONTRACTS) == set(KINDS)
    stated = (ROOT / "docs" / "api.md").read_text()
    assert all(f"`safecompress.{contract.module}`" in stated for contract in CONTRACTS.values())


@each_kind
def test_five_different_parts_break_each_contract_in_different_ways(kind):
    breaches = CONTRACTS[kind].breaches(kind)
    parts = {getattr(part, "__name__", type(part).__name__) for part, _ in breaches}
    assert len(parts) >= FEWEST_BREACHES
    assert len({words for _, words in breaches}) >= FEWEST_BREACHES


@each_kind
def test_each_page_calls_the_contract_and_says_where_parts_are_published(kind):
    registry = KINDS[kind]
    text = page_of(registry.kind).read_text()
    assert f"from safecompress.{CONTRACTS[kind].module} import violations" in text
    assert len(re.findall(r"\bviolations\(", text)) >= 2, "one part keeps it, one breaks it"
    assert f'"{registry.group}"' in text or f"`{registry.group}`" in text
    assert (registry.kind, kind) in _listed()


@each_kind
def test_the_file_of_each_page_is_published_with_its_one_entry_point(kind, tmp_path, monkeypatch):
    registry = KINDS[kind]
    text = page_of(registry.kind).read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    ((name, module, attribute),) = re.findall(r'([\w-]+) = "my_package\.(\w+):(\w+)"', text)
    package = f"page-of-{kind}"
    install(
        tmp_path,
        package,
        points={name: f"{package.replace('-', '_')}:{attribute}"},
        code=re.sub(r"^assert .*$", "", code, flags=re.MULTILINE),
        group=registry.group,
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert module == name.replace("-", "_")
    part = registry.part(name, where="test")
    assert part.package == f"{package} 1.0"
    assert part.summary == text_of(part.factory).splitlines()[0]
    assert part.summary in code


def _listed() -> set[tuple[str, str]]:
    """Return (page, kind as listed) of each row of the index."""
    index = (ROOT / "docs" / "extending.md").read_text()
    rows = re.findall(r"\(extending/([\w-]+)\.md\) \|.*`safecompress list ([\w-]+)`", index)
    return {(page.replace("-", " "), kind) for page, kind in rows}


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda path: path.stem)
def test_every_page_is_short_runs_and_belongs_to_a_kind(page):
    assert len(page.read_text().splitlines()) <= LONGEST_PAGE
    assert documents.should_parse(page)
    assert page in {page_of(registry.kind) for registry in KINDS.values()}


@each_kind
def test_each_page_imports_what_the_statement_of_the_api_names(kind):
    stated = (ROOT / "docs" / "api.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page_of(KINDS[kind].kind).read_text(), re.DOTALL)
    imports = [node for node in ast.parse(code).body if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.module.startswith("safecompress")]
    assert ours
    for node in ours:
        assert f"`{node.module}`" in stated, node.module
        module = importlib.import_module(node.module)
        named = getattr(module, "__all__", [*re.findall(r"`(\w+)`", module.__doc__), "violations"])
        exact = node.module == "safecompress.errors" or {a.name for a in node.names} <= set(named)
        assert exact, (node.module, [a.name for a in node.names])
