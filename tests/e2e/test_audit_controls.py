"""Audits of sure, swapped and small cases: which verdict the controls leave standing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safecompress import audit
from safecompress.checks import Status
from tests.support import calibrating, count

EVERY = [(sure, half) for sure in (0.0, 5.0, 9.0, 13.0) for half in (False, True)]
SOME = [(0.0, False), (5.0, True), (9.0, False), (13.0, True)]
SIDES = {"member": "nonmember", "nonmember": "member"}


def recorded(
    n: int, *, leak: float, sure: float = 0.0, seed: int = 1, models: int = 16, classes: int = 10
) -> dict[str, Any]:
    """Return outputs with references, in which seeing a row adds `leak` to its label's logit."""
    draw, arrays = np.random.default_rng(seed), {}
    for side in SIDES:
        labels = draw.integers(0, classes, n)
        seen = draw.random((models, n)).argsort(0) < models // 2
        logits = 0.3 * draw.normal(size=(models + 1, n, classes))
        target = np.full((1, n), side == "member")
        logits[:, np.arange(n), labels] += sure + 2.5 * draw.normal(size=n)
        logits[:, np.arange(n), labels] += 0.5 * draw.normal(size=(models + 1, n))
        logits[:, np.arange(n), labels] += leak * np.concatenate([seen, target])
        arrays |= {
            f"{side}_logits": logits[-1].astype(np.float32),
            f"{side}_labels": labels,
            f"{side}_reference_logits": logits[:-1].astype(np.float32),
            f"{side}_reference_seen": seen,
        }
    return arrays


def in_half_precision(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return outputs as probabilities that were kept in 16 bits."""
    told = dict(arrays)
    for name, values in arrays.items():
        if name.endswith("logits"):
            powers = np.exp(values.astype(np.float64) - values.max(-1, keepdims=True))
            told[name] = (powers / powers.sum(-1, keepdims=True)).astype(np.float16)
    return told


def swapped(arrays: dict[str, Any]) -> dict[str, Any]:
    return {
        SIDES[name.split("_")[0]] + name[name.index("_") :]: values
        for name, values in arrays.items()
    }


def judged(folder: Path, arrays: dict[str, Any]) -> Any:
    np.savez(folder / "outputs.npz", **arrays)
    return audit(folder / "outputs.npz").verdict


def named(verdict: Any, start: str) -> dict[str, Status]:
    return {c.name: c.status for c in verdict.checks if c.name.startswith(start)}


@pytest.mark.parametrize(("sure", "half"), EVERY if calibrating() else SOME)
def test_a_sure_model_that_leaks_nothing_is_not_an_error(tmp_path: Path, sure, half) -> None:
    arrays = recorded(count(500, 1000), leak=0.0, sure=sure)
    verdict = judged(tmp_path, in_half_precision(arrays) if half else arrays)
    assert verdict.status in {Status.PASS, Status.INCONCLUSIVE}, verdict.sentence


@pytest.mark.parametrize("sure", [0.0, 9.0, 16.0])
def test_a_leak_of_a_sure_model_is_a_fail(tmp_path: Path, sure) -> None:
    verdict = judged(tmp_path, recorded(400, leak=1.5, sure=sure))
    assert verdict.status is Status.FAIL, verdict.sentence


def test_swapped_groups_are_an_error_that_says_so(tmp_path: Path) -> None:
    # So sure a model is right of nearly all rows of either group, which arouses no suspicion.
    arrays = recorded(count(600, 1000), leak=1.0, sure=9.0)
    assert judged(tmp_path, arrays).status is Status.FAIL
    verdict = judged(tmp_path, swapped(arrays))
    assert verdict.status is Status.ERROR
    directions = named(verdict, "control: direction, ")
    assert directions["control: direction, lira-online"] is Status.ERROR
    withdrawn = next(c for c in verdict.checks if c.name.startswith("lira-online.auc"))
    assert withdrawn.status is Status.ERROR
    assert withdrawn.message == "its control failed: direction, lira-online"


def test_a_leak_found_by_another_attack_stays_a_fail(tmp_path: Path) -> None:
    """A model less sure of its members turns the metric attacks round, and `neural` finds it."""
    arrays = recorded(1000, leak=-3.0, sure=12.0)
    alone = {name: values for name, values in arrays.items() if "reference" not in name}
    verdict = judged(tmp_path, alone)
    directions = named(verdict, "control: direction, ")
    assert directions["control: direction, loss"] is Status.ERROR
    assert "control: direction, neural" not in directions
    assert verdict.status is Status.FAIL
    assert "neural" in verdict.sentence


def test_a_small_audit_has_controls_and_names_those_it_lacks(tmp_path: Path) -> None:
    verdict = judged(tmp_path, recorded(120, leak=0.0, sure=1.0))
    held = named(verdict, "control: no leak, ") | named(verdict, "control: planted leak, ")
    assert set(named(verdict, "control: no leak, ").values()) == {Status.PASS}
    assert sum(status is Status.PASS for status in held.values()) >= len(held) - 2
    tiny = judged(tmp_path, recorded(40, leak=0.0))
    silent = named(tiny, "control: no leak, ") | named(tiny, "control: planted leak, ")
    assert set(silent.values()) == {Status.NOT_RUN}
    about = [c for c in tiny.checks if c.status is Status.NOT_RUN]
    assert all("rows nobody trained on" in c.message and not c.critical for c in about)
