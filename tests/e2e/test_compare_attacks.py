"""A comparison runs every registered attack for which a cohort has evidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from safecompress import compare
from safecompress.attacks import ATTACKS
from safecompress.cohorts.rotation import HELD
from safecompress.errors import ConfigError

CHEAP = {
    "boundary": {"boundary": {"directions": 1, "steps": 0}},
    "samia": None,
    "neural-published": None,
    "white-box-published": None,
}
"""What is given instead of attacks that take long; None leaves them out."""


def settings(folder: Path, **changed: object) -> dict[str, object]:
    brief = {"epochs": 2, "precision": "32-true"}
    options = {"n_samples": 260, "n_features": 8, "n_informative": 5, "n_classes": 3}
    source = {"source": "sklearn", "name": "make_classification", "options": options}
    recipe = {
        "data": {"source": source, "split": {"membership": "fresh", "members": 130}},
        "model": {"name": "mlp", "options": {"hidden": [8]}},
        "dense": brief,
        "sparse": {"density": 0.5, "rounds": 0, "train": brief},
    }
    file = folder / "recipe.yaml"
    file.write_text(json.dumps(recipe))
    found = {"data": {"toy": {"config": file}}, "methods": {"magnitude": {}}, "workers": 1}
    return found | {"densities": [0.5], "models": 6} | changed


def test_every_attack_with_evidence_of_a_cohort_attacks_each_of_its_models(tmp_path):
    held = [name for name, part in ATTACKS.parts.items() if part.factory.requires <= HELD]
    attacks = [a for a in (CHEAP.get(name, name) for name in held) if a is not None]
    table = compare(settings(tmp_path, attacks=attacks), out=tmp_path / "out")
    (row,) = table.rows
    named = {a if isinstance(a, str) else next(iter(a)) for a in attacks}
    assert row.attacks.keys() == named
    assert {"six-numbers", "indirect", "pair", "boundary", "white-box"} <= named


def test_an_attacker_with_the_dense_model_needs_one_before_anything_is_trained(tmp_path):
    methods = {"static": {"set": ["sparse.initialize=scratch", "dense.epochs=0"]}}
    with pytest.raises(ConfigError, match="'static' trains none"):
        compare(settings(tmp_path, attacks=["pair"], methods=methods), out=tmp_path / "out")
    assert not list(tmp_path.glob("out/cohorts/*"))
