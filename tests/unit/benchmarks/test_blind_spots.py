"""The benchmark of blind spots: every defense, every attack, and tables that are of its cells."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from benchmarks import blind_spots_table as tables
from benchmarks.blind_spots import ATTACKS, DATA, LEFT_OUT, METHODS, blind_spots
from benchmarks.blind_spots_table import (
    KINDS,
    MOST,
    agreement,
    blind,
    by_kind,
    placed,
    strongest,
)
from benchmarks.cells import Cells, read_lines
from benchmarks.table import DATA as SETS
from benchmarks.table import ROOT

from safecompress.attacks import ATTACKS as REGISTERED
from safecompress.cohorts.cells import cells, read_cell
from safecompress.compression.requirements import build_proposals
from safecompress.config import load_compare_config, load_config
from safecompress.defenses import DEFENSES
from safecompress.protocols import SIGNALS

COMMITTED = read_lines(Cells.of("blind_spots").committed)


def test_every_registered_defense_has_a_method():
    assert DEFENSES.all().keys() <= METHODS.keys()


def test_every_registered_attack_is_run_or_left_out_for_a_reason():
    run = {name if isinstance(name, str) else next(iter(name)) for name in ATTACKS}
    assert run | LEFT_OUT.keys() == REGISTERED.all().keys()
    assert not run & LEFT_OUT.keys()
    assert {REGISTERED.parts[name].factory.signals for name in run} == set(SIGNALS)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_a_configuration(method):
    data = SETS["synthetic"]
    assignments = [*data["set"], "sparse.density=0.05", "baselines=[]", *METHODS[method]]
    config = load_config(ROOT / data["config"], assignments=assignments)
    assert build_proposals(config) or not config.sparse.rounds
    stages = (config.dense.defenses, config.steer.defenses)
    named = {next(iter(d)) if isinstance(d, dict) else d for stage in stages for d in stage}
    assert named == ({method} if method in DEFENSES.parts else set())


def test_every_committed_cell_is_one_of_its_comparison_today(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFECOMPRESS_DATA", "/data")
    finished = Cells(tmp_path / "blind_spots")
    shutil.copyfile(Cells.of("blind_spots").committed, finished.committed)
    finished.unpack()
    asked = load_compare_config(blind_spots())
    known = {cell.name: cell for cell in cells(asked)}
    for key, cell in COMMITTED.items():
        assert read_cell(finished.folder, known[key], asked) == cell


def test_the_tables_of_the_documents_are_those_of_the_cells():
    for path, text in tables.documents().items():
        assert path.read_text("utf-8") == text, f"{path}: run `{tables.__doc__.split()[-1]}`"


@pytest.mark.parametrize("key", COMMITTED)
def test_no_defense_stands_with_less_than_its_strongest_attack_finds(key):
    """Compute the figures of the row in the documents by another way than the table does."""
    cell = COMMITTED[key]
    means = {
        name: np.mean([target["attacks"][name]["auc"] for target in cell["targets"]])
        for name in cell["targets"][0]["attacks"]
        if name != "pair"
    }
    data, _, method = key.split("-", 2)
    (row,) = (
        line
        for line in (ROOT / "docs" / "defenses.md").read_text().split("\n")
        if line.startswith(f"| {method} |") and "±" in line
    )
    entries = [entry.strip() for entry in row.strip("|").split("|")]
    made = [name for name in DATA if any(k.startswith(name) for k in COMMITTED)]
    first = 1 + 3 * made.index(data)
    assert f"{max(means.values()):.3f}".lstrip("0") in entries[first]
    best = {
        kind: max(m for name, m in means.items() if REGISTERED.parts[name].factory.signals == kind)
        for kind in KINDS
    }
    behind = {kind for kind, mean in best.items() if mean < max(means.values()) - MOST}
    assert entries[first + 2] == (", ".join(k for k in KINDS if k in behind) or "none")


def test_attacks_that_compare_whole_answers_find_most_as_the_document_says():
    first = {key: next(iter(by_kind(cell))) for key, cell in COMMITTED.items()}
    others = {key: kind for key, kind in first.items() if kind != "comparison"}
    assert others == {"location30-0.05-distillation": "label"}
    assert blind(COMMITTED["location30-0.05-distillation"]) == ()
    assert next(iter(by_kind(COMMITTED["location30-0.05-distillation"]).values()))[0] == "rmia"
    words = " ".join((ROOT / "docs" / "attacks.md").read_text("utf-8").split())
    assert "In every cell but one the attacks that compare whole answers find most; of" in words


def made(**aucs: float):
    """Return a cell of two targets in which the first attack of each kind finds what is given."""
    of_kind = {
        kind: next(n for n, part in REGISTERED.parts.items() if part.factory.signals == kind)
        for kind in SIGNALS
    }
    attacks = {of_kind[kind]: aucs.get(kind, 0.5) for kind in SIGNALS}
    each = [{n: {"auc": a + shift} for n, a in attacks.items()} for shift in (-0.01, 0.01)]
    return {"targets": [{"accuracy": 0.5, "attacks": attacked} for attacked in each]}


@pytest.mark.parametrize(("label", "expected"), [(0.671, False), (0.669, True)])
def test_a_kind_is_blind_by_more_than_three_hundredths(label, expected):
    cell = made(comparison=0.7, label=label)
    assert ("label" in blind(cell)) is expected
    assert next(iter(by_kind(cell))) == "comparison"


def test_an_attacker_who_holds_another_model_too_blinds_nobody():
    cell = made(versions=0.9)
    assert strongest(cell, "versions")[1].mean() == pytest.approx(0.9)
    assert blind(cell) == ()


@pytest.mark.parametrize("turned", [False, True])
def test_an_attack_that_orders_recipes_as_the_strongest_does_has_correlation_one(turned):
    cells = [
        made(comparison=0.6 + step, label=0.5 + (-step if turned else step))
        for step in (0.0, 0.1, 0.05)
    ]
    (label,) = (
        n
        for n in cells[0]["targets"][0]["attacks"]
        if REGISTERED.parts[n].factory.signals == "label"
    )
    assert agreement(cells, label) == pytest.approx(-1 if turned else 1)


def test_the_six_numbers_order_recipes_as_the_document_says():
    """A search may rest on them: their order is that of the strongest attack."""
    for data in DATA:
        cells = [cell for key, cell in COMMITTED.items() if key.startswith(f"{data}-")]
        if len(cells) >= 3:
            assert agreement(cells, "six-numbers") >= 0.9, data


def test_a_document_without_a_place_for_the_table_is_refused():
    with pytest.raises(ValueError, match="expected one place for a table"):
        placed("# Attacks\n", "| |")
