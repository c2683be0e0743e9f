"""Laws of models of several labels or numbers: none hides what another one gives away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from safecompress import Limits, audit, record_predictions
from tests.made_audits import Draw
from tests.support import count

N = 1500
TASKS = ("logits", "probabilities", "regression")


def _sides(draw: Draw, form: str, outputs: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return what a model that memorized nothing says of members and others, and their targets."""
    if form == "regression":
        y = draw.normal(size=(2 * N, outputs)) * np.exp(draw.normal(size=outputs))
        # Heavy tails: a few errors decide how large those of an output are on average.
        said = y + 0.2 * y.std(0) * np.clip(draw.standard_t(2, size=y.shape), -4, 4)
    else:
        y = (draw.random((2 * N, outputs)) < draw.uniform(0.1, 0.5, size=outputs)).astype(float)
        said = (2 * y - 1) + 1.2 * draw.normal(size=y.shape)
        said = said if form == "logits" else 1 / (1 + np.exp(-said))
    return (said[:N], y[:N]), (said[N:], y[N:])


def _memorized(said: Any, y: Any, form: str, where: Any) -> None:
    """Let a model know the targets of some rows and outputs by heart, in place."""
    if form == "regression":
        said[where] = y[where] + 0.1 * (said[where] - y[where])
    else:
        sure = 4.0 * (2 * y[where] - 1)
        said[where] = sure if form == "logits" else 1 / (1 + np.exp(-sure))


def _audited(form: str, members: Any, others: Any, **options: Any) -> Any:
    task = "regression" if form == "regression" else "multi-label"
    outputs = None if form == "regression" else form
    recorded = record_predictions(members, others, task=task, outputs=outputs)
    return audit(recorded, **options).verdict


@pytest.mark.parametrize("seed", range(count(2, 200)))
@pytest.mark.parametrize("form", TASKS)
def test_one_memorized_output_of_many_never_passes(form: str, seed: int) -> None:
    draw = np.random.default_rng([seed, TASKS.index(form)])
    outputs = int(draw.integers(2, count(40, 150)))
    members, others = _sides(draw, form, outputs)
    which = int(draw.integers(outputs))
    _memorized(*members, form, (slice(None), which))
    verdict = _audited(form, members, others)
    assert verdict.status == "FAIL", verdict.sentence
    what = "number" if form == "regression" else "label"
    assert "safecompress compress" not in " ".join(verdict.document.next_steps)
    told = next(r for r in verdict.document.remarks if "tells members best" in r)
    assert told.startswith(f"Of {outputs} {what}s, {what} {which + 1} tells")


@pytest.mark.parametrize("seed", range(count(2, 200)))
def test_rows_of_one_label_that_leak_wholly_never_pass(seed: int) -> None:
    draw = np.random.default_rng([seed, 7])
    outputs = int(draw.integers(2, 12))
    sides = _sides(draw, "logits", outputs)
    which = int(draw.integers(outputs))
    for _, y in sides:
        y[:, which] = draw.random(N) < 0.06
    z, y = sides[0]
    # All that the model says of these rows is memorized, and of no other row.
    _memorized(z, y, "logits", y[:, which] > 0)
    verdict = _audited("logits", *sides)
    assert verdict.status == "FAIL", verdict.sentence
    assert f"rows with label {which + 1}:" in verdict.sentence


@pytest.mark.parametrize("form", TASKS)
def test_models_that_leak_nothing_do_not_fail(form: str) -> None:
    failed = passed = 0
    runs = count(2, 200)
    for seed in range(runs):
        draw = np.random.default_rng([seed, TASKS.index(form), 1])
        outputs = int(draw.integers(1, 30))
        verdict = _audited(form, *_sides(draw, form, outputs))
        failed += verdict.status == "FAIL"
        passed += verdict.status == "PASS"
    assert failed <= 0.02 * runs
    assert passed >= 0.4 * runs


def test_groups_of_rows_have_limits_of_their_own() -> None:
    draw = np.random.default_rng(3)
    sides = _sides(draw, "logits", 3)
    asked = _audited("logits", *sides, limits=Limits(max_group_auc=0.51))
    # So few rows cannot show that no group is above such a limit.
    assert asked.status == "INCONCLUSIVE"
    assert "group:rows with label.auc ≤ 0.51" in {c.name for c in asked.checks}
