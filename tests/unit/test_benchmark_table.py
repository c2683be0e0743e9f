"""The methods of the benchmark's table: each one a configuration that can be run."""

from __future__ import annotations

import pytest
import torch
from benchmarks.table import DATA, METHODS, ROOT

from safecompress.config import load_config
from safecompress.proposing import build_proposals
from safecompress.protocols import Rows
from safecompress.teachers import held_out


def recipe(method):
    data = DATA["synthetic"]
    chosen = METHODS[method]
    density = chosen.get("densities", [0.05])[0]
    assignments = [*data["set"], f"sparse.density={density}", "baselines=[]", *chosen["set"]]
    return load_config(ROOT / data["config"], assignments=assignments)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_table_is_a_configuration(method):
    assert build_proposals(recipe(method)) or not recipe(method).sparse.rounds


def test_with_many_teachers_a_row_is_seen_by_fewer_of_them():
    rows = Rows(torch.arange(100.0).unsqueeze(1), torch.zeros(100).long(), torch.arange(100))

    def seen(method):
        teachers = recipe(method).teachers
        return (~held_out(rows, teachers, seed=0)).double().mean(0)

    assert torch.equal(seen("soft-labels"), torch.full((100,), 0.5, dtype=torch.float64))
    assert torch.equal(seen("soft-labels-many"), torch.full((100,), 0.2, dtype=torch.float64))
