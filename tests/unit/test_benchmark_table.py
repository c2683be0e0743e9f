"""The methods of the benchmark's table: each one a configuration that can be run."""

from __future__ import annotations

import json

import pytest
from benchmarks.pruning_claim import claim
from benchmarks.table import DATA, METHODS, RESULTS, ROOT, summary

from safecompress.config import load_config
from safecompress.proposing import build_proposals


def recipe(method):
    data = DATA["synthetic"]
    chosen = METHODS[method]
    density = chosen.get("densities", [0.05])[0]
    assignments = [*data["set"], f"sparse.density={density}", "baselines=[]", *chosen["set"]]
    return load_config(ROOT / data["config"], assignments=assignments)


@pytest.mark.parametrize("data", DATA)
def test_every_data_set_is_trained_in_one_precision(data, monkeypatch):
    monkeypatch.setenv("SAFECOMPRESS_DATA", "/data")
    config = load_config(ROOT / DATA[data]["config"], assignments=DATA[data]["set"])
    trains = [config.sparse.train, *([] if config.dense is None else [config.dense])]
    assert {train.precision for train in trains} == {"32-true"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_table_is_a_configuration(method):
    assert build_proposals(recipe(method)) or not recipe(method).sparse.rounds


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
    table = json.loads((RESULTS.with_name(results) / "table.json").read_text())
    assert summary(table, density=density) in (ROOT / document).read_text()


def test_the_table_of_the_claim_is_that_of_the_results():
    assert claim() in (ROOT / "docs" / "defenses.md").read_text()
