"""A model is judged only by references of its own recipe; a scope says where none is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from safecompress import audit
from safecompress.data import read_outputs
from safecompress.errors import DataError
from tests.recorded_outputs import saved, with_references

MODELS = 8


def recorded(folder: Path, **named: object) -> Path:
    found = with_references(120, models=MODELS)
    return saved(folder, found | {name: np.asarray(value) for name, value in named.items()})


@pytest.mark.parametrize("theirs", ["a", ["a"] * MODELS])
def test_references_that_name_the_same_recipe_are_known_to_be_of_it(tmp_path, theirs):
    assert read_outputs(recorded(tmp_path, recipe="a", reference_recipe=theirs)).own_recipe


def test_references_without_a_recipe_are_not_known_to_be_of_it(tmp_path):
    assert not read_outputs(recorded(tmp_path)).own_recipe


@pytest.mark.parametrize("number", [*range(MODELS)])
def test_a_single_reference_of_another_recipe_is_refused_by_its_number(tmp_path, number):
    theirs = ["a"] * MODELS
    theirs[number] = "b"
    path = recorded(tmp_path, recipe="a", reference_recipe=theirs)
    with pytest.raises(DataError, match=rf"1 of {MODELS} .*number {number}\) is 'b'"):
        read_outputs(path)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"recipe": "a"}, "none named 'reference_recipe'"),
        ({"reference_recipe": "a"}, "none named 'recipe'"),
        ({"recipe": ["a", "b"], "reference_recipe": "a"}, "expected one text"),
        ({"recipe": "a", "reference_recipe": ["a"] * 3}, "one for each of 8 models"),
        ({"recipe": 1, "reference_recipe": 1}, "expected one text"),
    ],
)
def test_half_a_statement_and_no_text_are_refused(tmp_path, named, message):
    with pytest.raises(DataError, match=message):
        read_outputs(recorded(tmp_path, **named))


def test_the_scope_of_an_audit_says_whether_the_recipe_is_known(tmp_path):
    def scope(**named: object) -> str:
        return str(audit(recorded(tmp_path, **named)).verdict.document.to_json()["scope"])

    assert f"with {MODELS} reference models, whose recipe is not known here" in scope()
    stated = scope(recipe="a", reference_recipe="a")
    assert f"with {MODELS} reference models of the model's own recipe" in stated
