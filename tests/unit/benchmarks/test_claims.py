"""What the documents say of attacks in figures is what the committed cells say."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
from benchmarks.attacks import KINDS, ROWS, SETS
from benchmarks.table import ROOT

from tests.claimed_figures import (
    HEADINGS,
    accuracy,
    committed,
    found,
    of_table,
    shown,
    targets,
)
from tests.claims import CLAIMS, DEFENSES, EXEMPT


@cache
def words(document: str) -> str:
    text = re.sub(r"^#+ ", "", (ROOT / document).read_text("utf-8"), flags=re.MULTILINE)
    return " ".join(text.split())


@pytest.mark.parametrize("heading", HEADINGS)
def test_the_tables_of_attacks_are_those_of_the_cells(heading):
    data = HEADINGS[heading]
    text = (ROOT / "docs" / "attacks.md").read_text("utf-8")
    section = text.split(f"## {heading}")[1].split("\n## ")[0]
    assert len(targets(data)) == SETS[data].count
    rows = re.findall(r"^\| (?!attack )([^|]+) \| (.*) \|$", section, re.MULTILINE)
    assert {label.removesuffix(" \\*") for label, _ in rows} <= ROWS.keys()
    assert len(rows) >= len(ROWS) - 1
    pooled = committed("attacks")[f"{data}-pooled"]["pooled"]
    for name, rest in rows:
        label, entries = name.removesuffix(" \\*"), [e.strip() for e in rest.split("|")]
        for kind, (auc, rate) in zip(KINDS, (entries[:2], entries[2:4]), strict=True):
            aucs = found(data, kind, label)
            if not aucs:
                assert [auc, rate] == ["", ""]
                continue
            assert auc == f"{shown(float(np.mean(aucs)))} ± {shown(float(np.std(aucs, ddof=1)))}"
            assert_rate(rate, pooled[kind][label]["tpr@0.001"])


def assert_rate(text: str, rate: float | None) -> None:
    """Fail unless a rate in percent, to however many digits, is that of the cells."""
    if rate is None:
        assert text == "n/a"
        return
    number = text.removesuffix(" %")
    digits = len(number.partition(".")[2])
    assert abs(float(number) - 100 * rate) <= 0.5 * 10**-digits + 1e-9


@pytest.mark.parametrize(("document", "claim", "figures"), CLAIMS, ids=[c[1] for c in CLAIMS])
def test_a_claim_has_the_figures_of_its_cells(document, claim, figures):
    assert claim.format(*map(shown, figures())) in words(document)


@pytest.mark.parametrize("document", ["README.md", "docs/attacks.md", "docs/table.md", DEFENSES])
def test_every_figure_to_three_digits_in_prose_is_a_claim(document):
    text = (ROOT / document).read_text("utf-8")
    text = re.sub(r"^```.*?^```|^\|.*?$", "", text, flags=re.MULTILINE | re.DOTALL)
    prose = " ".join(re.sub(r"^#+ ", "", text, flags=re.MULTILINE).split())
    claims = [claim.format(*map(shown, of())) for place, claim, of in CLAIMS if place == document]
    for known in (*claims, *EXEMPT.get(document, ())):
        assert known in prose, known
        prose = prose.replace(known, "")
    assert re.findall(r".{40}(?<![\d.])\.\d{3}\b.{20}", prose) == []


MISSING = {
    "Location30": "location30",
    "Banking77": "banking77",
    "synthetic": "synthetic",
    "CIFAR-100": "cifar100-alexnet",
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_what_the_cells_lack(name):
    data = MISSING[name]
    text = (ROOT / "docs" / "table.md").read_text("utf-8")
    (points, high) = re.findall(rf"^\| {name} \| ([\d.]+) \| ([\d.]+) \|$", text, re.M)[0]
    dense, small = f"{data}-1-dense", f"{data}-0.05-safecompress"
    lost = 100 * (accuracy("table", dense) - accuracy("table", small)) - 1
    assert abs(lost - float(points)) < 0.051
    assert shown(of_table("table", small, "strongest") - 0.55) == high
