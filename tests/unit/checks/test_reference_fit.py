"""References of other rows, classes or models are refused; copies are left out; sound ones stay."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from safecompress import audit
from safecompress.checks.reference_fit import fitting_references
from safecompress.data import read_outputs
from safecompress.errors import DataError
from tests.recorded_outputs import Arrays, saved, with_references
from tests.support import calibrating

GROUPS = ("member", "nonmember")
ROWS = 600


def changed(found: Arrays, change: Callable[[str, Arrays], Arrays]) -> Arrays:
    """Return arrays with those of each group that `change` returns."""
    more: Arrays = {}
    for group in GROUPS:
        own = {k.removeprefix(f"{group}_"): v for k, v in found.items() if k.startswith(group)}
        more |= {f"{group}_{name}": value for name, value in change(group, own).items()}
    return found | more


def fitted(folder: Path, found: Arrays) -> tuple[Any, tuple[str, ...]]:
    recorded = read_outputs(saved(folder, found))
    return fitting_references(recorded.evidence, where="m.npz")


def permuted(share: float, seed: int, only: str = "") -> Callable[[str, Arrays], Arrays]:
    def change(group: str, own: Arrays) -> Arrays:
        draw = np.random.default_rng(seed)
        z = own["reference_logits"].copy()
        if only in ("", group):
            some = np.flatnonzero(draw.random(z.shape[1]) < share)
            z[:, some] = z[:, draw.permutation(some)]
        return {"reference_logits": z}

    return change


def each_permuted(group: str, own: Arrays) -> Arrays:
    draw = np.random.default_rng(0)
    z = own["reference_logits"]
    return {"reference_logits": np.stack([m[draw.permutation(len(m))] for m in z])}


def inverted(group: str, own: Arrays) -> Arrays:
    return {"reference_seen": ~own["reference_seen"]}


WRONG: dict[str, tuple[Callable[[str, Arrays], Arrays], str]] = {
    "rows in another order": (permuted(1.0, 0), "correlate"),
    "rows of members in another order": (permuted(1.0, 1, "member"), "correlate"),
    "rows of non-members in another order": (permuted(1.0, 2, "nonmember"), "correlate"),
    "each model's rows in another order": (each_permuted, "chance is"),
    "rows shifted by one": (
        lambda g, own: {"reference_logits": np.roll(own["reference_logits"], 1, axis=1)},
        "correlate",
    ),
    "classes reversed": (
        lambda g, own: {"reference_logits": own["reference_logits"][:, :, ::-1]},
        "correlate",
    ),
    "classes rolled": (
        lambda g, own: {"reference_logits": np.roll(own["reference_logits"], 3, axis=2)},
        "correlate",
    ),
    "seen inverted": (inverted, "less sure of rows that they are said to have seen"),
    "all copies": (
        lambda g, own: {"reference_logits": np.repeat(own["logits"][None], 16, axis=0)},
        "copies of the audited model",
    ),
}


@pytest.mark.parametrize("leak", [0.8, 1.6])
@pytest.mark.parametrize("fault", WRONG)
def test_references_that_cannot_belong_to_the_rows_are_refused(
    fault: str, leak: float, tmp_path: Path
) -> None:
    change, words = WRONG[fault]
    with pytest.raises(DataError, match=words) as caught:
        fitted(tmp_path, changed(with_references(ROWS, leak=leak), change))
    assert str(caught.value).startswith("m.npz: ")
    assert "A verdict would be a false PASS." in str(caught.value)


@pytest.mark.parametrize("models", [1, 2, 4, 16])
@pytest.mark.parametrize("leak", [0.0, 0.8, 3.0])
def test_sound_references_stay_as_they_are(models: int, leak: float, tmp_path: Path) -> None:
    found = with_references(ROWS, leak=leak, models=models)
    evidence, remarks = fitted(tmp_path, found)
    assert remarks == ()
    assert len(evidence.members.references.log_odds) == models


@pytest.mark.parametrize("value", [True, False])
def test_what_no_reference_or_every_one_saw_is_not_refused(value: bool, tmp_path: Path) -> None:
    found = changed(
        with_references(ROWS, leak=0.8),
        lambda g, own: {"reference_seen": np.full_like(own["reference_seen"], value)},
    )
    assert fitted(tmp_path, found)[1] == ()


ROUNDED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda z: z,
    "shifted by a constant": lambda z: z + 7.0,
    "half precision": lambda z: z.astype(np.float16).astype(np.float32),
    "logarithms": lambda z: log_softmax(z, axis=-1),
    "three decimals": lambda z: np.log(np.clip(np.round(softmax(z, axis=-1), 3), 1e-38, None)),
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, float]]:
    """The figures of an audit whose references are all of other models, by their number."""

    @cache
    def figures(models: int) -> dict[str, float]:
        given = with_references(ROWS, leak=0.0, models=models)
        document = audit(saved(tmp_path_factory.mktemp("alone"), given)).verdict.document.to_json()
        return {c["name"]: c["value"] for c in document["checks"] if "control" not in c["name"]}

    return figures


FEW = ("exact", "half precision")
"""Roundings that are tried beside many references, too, where an audit takes longer."""


@pytest.mark.parametrize(
    ("models", "rounding"),
    [(4, name) for name in ROUNDED]
    + [(16, name) for name in ROUNDED if calibrating() or name in FEW],
)
def test_the_model_among_its_references_changes_no_figure(
    models: int, rounding: str, alone: Callable[[int], dict[str, float]], tmp_path: Path
) -> None:
    apart = alone(models)
    found = with_references(ROWS, leak=0.0, models=models)

    def joined(group: str, own: Arrays) -> Arrays:
        copy = ROUNDED[rounding](own["logits"])[None]
        seen = np.full((1, ROWS), group == "member")
        return {
            "reference_logits": np.concatenate([own["reference_logits"], copy]).astype(np.float32),
            "reference_seen": np.concatenate([own["reference_seen"], seen]),
        }

    with_itself = saved(tmp_path, changed(found, joined), "joined")
    document = audit(with_itself).verdict.document.to_json()
    assert {c["name"]: c["value"] for c in document["checks"] if c["name"] in apart} == apart
    assert f"Reference models {models} have the audited model's own outputs" in str(
        document["remarks"]
    )
    assert f"{models} reference models" in document["scope"]
    assert abs(apart["lira-online.auc ≤ 0.6"] - 0.5) < 0.06


def test_a_reference_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    def doubled(group: str, own: Arrays) -> Arrays:
        names = ("reference_logits", "reference_seen")
        return {name: np.concatenate([own[name], own[name][[2, 5]]]) for name in names}

    evidence, remarks = fitted(tmp_path, changed(with_references(ROWS, leak=0.8), doubled))
    assert len(evidence.members.references.log_odds) == 16
    assert remarks == (
        "Reference models 16, 17 have the outputs of an earlier one and were left out.",
    )
