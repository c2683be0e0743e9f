"""The methods of the benchmark's table: each one a configuration that can be run."""

from __future__ import annotations

import shutil

import pytest
from benchmarks import moves, students
from benchmarks.cells import Cells
from benchmarks.collect import COMPARISONS
from benchmarks.pruning_claim import claim
from benchmarks.table import DATA, METHODS, ROOT, comparison, summary, tabulated

from safecompress.cohorts.cells import cells, read_cell
from safecompress.compression.requirements import build_proposals
from safecompress.config import load_compare_config, load_config


def recipe(settings, *, density=0.05):
    data = DATA["synthetic"]
    assignments = [*data["set"], f"sparse.density={density}", "baselines=[]", *settings]
    return load_config(ROOT / data["config"], assignments=assignments)


@pytest.mark.parametrize("data", DATA)
def test_every_data_set_is_trained_in_one_precision(data, monkeypatch):
    monkeypatch.setenv("SAFECOMPRESS_DATA", "/data")
    config = load_config(ROOT / DATA[data]["config"], assignments=DATA[data]["set"])
    trains = [config.sparse.train, *([] if config.dense is None else [config.dense])]
    assert {train.precision for train in trains} == {"32-true"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_table_is_a_configuration(method):
    chosen = METHODS[method]
    config = recipe(chosen["set"], density=chosen.get("densities", [0.05])[0])
    assert build_proposals(config) or not config.sparse.rounds


@pytest.mark.parametrize("method", moves.METHODS)
def test_every_move_on_trial_is_a_configuration(method):
    config = recipe(moves.METHODS[method])
    assert build_proposals(config) or not config.sparse.rounds


@pytest.mark.parametrize("method", students.METHODS)
def test_every_way_to_teach_a_student_is_a_configuration(method):
    config = recipe(students.METHODS[method])
    assert build_proposals(config) or not config.sparse.rounds


def test_the_default_is_among_the_ways_to_teach_a_student():
    chosen = recipe(students.METHODS["search with 0.1 and 1"])
    default = recipe(["sparse.train.batch_size=32"])
    assert [p.name for p in build_proposals(chosen)] == [p.name for p in build_proposals(default)]


@pytest.mark.parametrize(
    ("document", "results", "density"),
    [
        ("README.md", "table", 0.05),
        ("docs/table.md", "table", 0.05),
        ("docs/table.md", "table", 0.1),
        ("docs/table.md", "table-seed500", 0.05),
    ],
)
def test_short_tables_of_the_documents_are_those_of_the_results(document, results, density):
    table = tabulated(Cells.of(results).finished(), reference=COMPARISONS[results])
    assert summary(table, density=density) in (ROOT / document).read_text()


def test_the_table_of_the_claim_is_that_of_the_results():
    assert claim(Cells.of("table")) in (ROOT / "docs" / "defenses.md").read_text()


@pytest.mark.parametrize(
    ("results", "config"),
    [
        ("table", lambda: comparison(models=20)),
        ("table-seed500", lambda: comparison(models=8, seed=500)),
        ("students", students.students),
    ],
)
def test_every_committed_cell_is_one_of_its_comparison_today(
    results, config, tmp_path, monkeypatch
):
    monkeypatch.setenv("SAFECOMPRESS_DATA", "/data")
    committed = Cells.of(results)
    finished = Cells(tmp_path / results)
    shutil.copyfile(committed.committed, finished.committed)
    finished.unpack()
    asked = load_compare_config(config())
    known = {cell.name: cell for cell in cells(asked)}
    for key, cell in committed.finished().items():
        assert read_cell(finished.folder, known[key], asked) == cell
