"""Answers that no model gives on its own rows are refused, and honest ones are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from safecompress.data.prediction_worth import FEWEST, require_learnt, worth
from safecompress.errors import DataError
from tests.support import count

Numbers = NDArray[np.float64]


def drawn(seed: int, rows: int, columns: int, noise: float) -> tuple[Numbers, Numbers]:
    """Return what a fair model says, and targets that are skewed and far from zero."""
    draw = np.random.default_rng(seed)
    known = np.exp(0.7 * draw.normal(size=(rows, columns)))
    return 40 + known, 40 + known + noise * draw.normal(size=(rows, columns))


def rolled(said: Numbers) -> Numbers:
    return np.roll(said, 7, axis=0)


FAULTS: dict[str, Callable[[Numbers], Numbers]] = {
    "rows in another order": rolled,
    "standardized targets": lambda said: (said - said.mean(0)) / said.std(0),
    "other units": lambda said: 1000 * said,
    "a tenth of the scale": lambda said: said.mean(0) + (said - said.mean(0)) / 10,
    "a logarithm of the targets": np.log,
    "the wrong sign": lambda said: -said,
}


@settings(max_examples=count(25, 1000), deadline=None)
@given(seed=st.integers(0, 10_000), columns=st.integers(1, 3))
@pytest.mark.parametrize("fault", FAULTS)
def test_numbers_with_a_wiring_fault_are_refused(fault, seed, columns):
    said, true = drawn(seed, 400, columns, noise=0.2)
    require_learnt(said, true, task="regression", where="model")
    with pytest.raises(DataError, match="false PASS"):
        require_learnt(FAULTS[fault](said), true, task="regression", where="model")


@settings(max_examples=count(60, 2000), deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(FEWEST, 500),
    noise=st.sampled_from([0.0, 0.3, 3.0]),
    kind=st.sampled_from(["exact", "mean", "median", "shrunk"]),
)
def test_honest_numbers_pass(seed, rows, noise, kind):
    said, true = drawn(seed, rows, 1, noise)
    fitted = np.polyval(np.polyfit(said[:, 0], true[:, 0], 1), said)
    answers = {
        "exact": true,
        "mean": np.full_like(true, true.mean()),
        "median": np.full_like(true, np.median(true)),
        "shrunk": 0.7 * fitted + 0.3 * true.mean(),
    }
    require_learnt(answers[kind], true, task="regression", where="model")


@settings(max_examples=count(40, 2000), deadline=None)
@given(seed=st.integers(0, 10_000), columns=st.integers(1, 5), fault=st.booleans())
def test_labels_in_another_order_or_turned_round_are_refused(seed, columns, fault):
    draw = np.random.default_rng(seed)
    said = draw.normal(size=(600, columns))
    true = (said + draw.normal(size=said.shape) > 0.3).astype(float)
    require_learnt(said, true, task="multi-label", where="model")
    wrong = rolled(said) if fault else np.concatenate([-said[:, :1], said[:, 1:]], axis=1)
    with pytest.raises(DataError, match="false PASS"):
        require_learnt(wrong, true, task="multi-label", where="model")


def test_few_rows_and_constant_answers_pass_and_a_label_is_named():
    draw = np.random.default_rng(0)
    true = (draw.random((300, 2)) > 0.5).astype(float)
    require_learnt(1 - true[: FEWEST - 1], true[: FEWEST - 1], task="multi-label", where="m")
    require_learnt(np.full_like(true, 0.4), true, task="multi-label", where="m")
    turned = np.stack([true[:, 0], 1 - true[:, 1]], axis=1)
    with pytest.raises(DataError, match="of label 2"):
        require_learnt(turned, true, task="multi-label", where="m")


def test_what_a_model_is_worth_is_said_of_both_groups():
    said, true = drawn(1, 300, 1, noise=0.1)
    text = worth((true, true), (said, true), task="regression", outputs=None)
    assert text.startswith("The model has R² 1.000 and RMSE 0 on the members, R² 0.9")
