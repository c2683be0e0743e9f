"""What the README begins with is so: figures of committed cells, the count of attacks, commands."""

from __future__ import annotations

import importlib
import re

import pytest
from benchmarks.cells import Cell, Cells, read_lines
from benchmarks.table import ROOT

from safecompress.attacks import ATTACKS

README = (ROOT / "README.md").read_text("utf-8")
LEAD = " ".join(README.partition("\n## ")[0].split())


def cells() -> dict[str, Cell]:
    return dict(read_lines(Cells.of("artifact").committed))


def test_the_lead_says_how_small_and_how_fast_a_file_is_in_the_figures_of_its_cells() -> None:
    found = cells()
    small, faster, less, most = (
        found[f"{kind}-{net}-0.95"]["summary"][figure]
        for net in ("resnet18", "resnet18-half")
        for kind, figure in (("sizes", "raw"), ("speed", "faster_than_fp32"))
    )
    assert f"is 1/{small:.0f} of the dense fp32 one" in LEAD
    assert f"answers {faster:.1f} times as fast" in LEAD
    assert f"it is 1/{less:.0f} and {most:.1f} times." in LEAD
    assert {found[f"speed-{net}-0.95"]["provenance"]["created"][:10] for net in NETS} == {
        re.findall(r"benchmarks\.artifact`[^<]*(\d{4}-\d\d-\d\d)</sub>", LEAD)[0]
    }


NETS = ("resnet18", "resnet18-half")


def test_the_lead_counts_the_attacks() -> None:
    assert f"{len(ATTACKS.parts)} membership attacks" in LEAD


def test_every_sentence_of_the_lead_names_a_command_and_a_day() -> None:
    claims = re.findall(r"- \*\*.*?</sub>", LEAD)
    assert len(claims) == LEAD.count("- **") == 3
    assert all(re.search(r"<sub>`.+`.*\d{4}-\d\d-\d\d</sub>", claim) for claim in claims)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"python -m benchmarks\.(\w+)", README))))
def test_a_benchmark_that_is_named_can_be_run_and_has_its_cells(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").main)
    assert read_lines(Cells.of(name).committed)
