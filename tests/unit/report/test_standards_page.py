"""The page of standards: it has every kind of check, its date, and the limits that are asked."""

from __future__ import annotations

import re

import pytest

from safecompress.config.standards import STANDARDS
from safecompress.report.check_kinds import CHECK_KINDS
from safecompress.stats import auc_interval, tpr_at_fpr_interval
from tests.documents import ROOT

PAGE = (ROOT / "docs" / "standards.md").read_text()


def rows(heading: str) -> list[str]:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| .*$", section, re.MULTILINE)


def test_the_table_has_every_kind_of_check_once() -> None:
    first = [row.split("|")[1] for row in rows("Which check speaks to what")]
    named = [name for cell in first for name in re.findall(r"`([a-z-]+)`", cell)]
    assert sorted(n for n in named if n != "verify") == sorted(kind.id for kind in CHECK_KINDS)


def test_every_technique_that_a_kind_simulates_is_in_its_row() -> None:
    for kind in CHECK_KINDS:
        (row,) = [r for r in rows("Which check speaks to what") if f"`{kind.id}`" in r]
        techniques = [tag for tag in kind.tags if tag.startswith("AML.")]
        assert all(technique in row for technique in techniques), kind.id


@pytest.mark.parametrize("name", STANDARDS)
def test_a_standards_limits_are_those_of_the_code(name: str) -> None:
    asked = STANDARDS[name]  # type: ignore[index]
    section = PAGE.partition("\n## Limits after a standard\n")[2].partition("\n## ")[0]
    assert f"--standard {name}" in section
    assert f"AUC at most {asked.max_auc:.2f}".replace("0.", ".") in section
    assert {tpr / fpr for tpr, fpr in asked.max_tpr} == {2.0}
    for _, fpr in asked.max_tpr:
        assert f"{100 * fpr:g} %" in section


def test_the_page_is_dated_and_claims_nothing() -> None:
    assert re.search(r"as of \*\*\d{4}-\d\d-\d\d\*\*", PAGE)
    assert "no\nlegal advice" in PAGE or "no legal advice" in PAGE
    assert "no row means that a model conforms" in " ".join(PAGE.split())


def test_as_many_rows_settle_the_limits_as_the_page_says() -> None:
    words = " ".join(PAGE.split())
    named = re.search(
        r"exactly that, (\S+) members and as many non-members settle the AUC, (\S+) of each the "
        r"rate at 1 %, and (\S+) of each the rate at 0.1 %",
        words,
    )
    assert named is not None
    for_auc, for_one, for_tenth = (int(n.replace(",", "")) for n in named.groups())
    limits = STANDARDS["aisvs"]
    # Every member scores as one non-member does: no row tells anything.
    assert auc_interval(range(for_auc), range(for_auc)).high <= limits.max_auc
    assert auc_interval(range(200), range(200)).high > limits.max_auc
    for n, fpr in ((for_one, 0.01), (for_tenth, 0.001)):
        most = {f: t for t, f in limits.max_tpr}[fpr]
        assert tpr_at_fpr_interval(range(n), range(n), fpr=fpr).high <= most
        fewer = range(n * 3 // 4)
        assert tpr_at_fpr_interval(fewer, fewer, fpr=fpr).high > most
