"""Whether outputs are logits or probabilities: recognized within rounding, refused if unclear."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.data.output_form import OutputForm, columns_of, form_beside, form_of
from safecompress.errors import DataError

Array = np.ndarray[Any, Any]
Change = Callable[[Array], Array]


def logits(rows: int, classes: int, *, seed: int = 0, scale: float = 3.0) -> Array:
    return np.random.default_rng(seed).normal(scale=scale, size=(rows, classes))


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def form(*parts: Array, **options: Any) -> OutputForm:
    return form_of([torch.from_numpy(p.astype(np.float32)) for p in parts], where="x", **options)


def bf16(p: Array) -> Array:
    return torch.from_numpy(p).bfloat16().double().numpy()


def one_above(p: Array) -> Array:
    p = p.astype(np.float32)
    p[3] = 0
    p[3, 1] = np.nextafter(np.float32(1), np.float32(2))
    return p


def last_is_the_rest(kind: Any) -> Change:
    def change(p: Array) -> Array:
        q = p.astype(kind)
        return np.concatenate([q[:, :-1], 1 - q[:, :-1].sum(1, keepdims=True, dtype=kind)], axis=1)

    return change


RECORDED: dict[str, Change] = {
    "float64": lambda p: p,
    "float32": lambda p: p.astype(np.float32),
    "float16": lambda p: p.astype(np.float16),
    "bfloat16": bf16,
    "one entry above 1": one_above,
    "times 1 + 3e-7": lambda p: p * (1 + 3e-7),
    "negative rest of float32": last_is_the_rest(np.float32),
    "negative rest of float16": last_is_the_rest(np.float16),
    "average of two float16": lambda p: (p.astype(np.float16) + p[::-1].astype(np.float16)) / 2,
    **{f"{digits} decimals": lambda p, d=digits: p.round(d) for digits in (2, 3, 4)},
    "256 levels": lambda p: np.round(p * 255) / 255,
}


@pytest.mark.parametrize("classes", [2, 3, 10, 40])
@pytest.mark.parametrize("how", list(RECORDED))
def test_probabilities_are_recognized_however_they_were_recorded(how: str, classes: int) -> None:
    p = RECORDED[how](softmax(logits(300, classes, seed=classes)))
    found = form(p[:200], p[200:])
    assert found.kind == "probabilities"
    single = p.astype(np.float32)
    told = found.logits(torch.from_numpy(single)).double().softmax(dim=1).numpy()
    # What was meant, up to rounding: negative entries are 0, and every row sums to 1.
    meant = np.maximum(single.astype(np.float64), 0)
    meant /= meant.sum(axis=1, keepdims=True)
    # A rounded 0 stands for a quarter of a step, which adds up in many classes.
    off = 0.1 if "decimals" in how or "levels" in how else 3e-4
    assert np.abs(told - meant).max() < off


@pytest.mark.parametrize("how", list(RECORDED))
def test_percentages_are_recognized_likewise(how: str) -> None:
    p = RECORDED[how](softmax(logits(300, 5)))
    found = form(100 * p.astype(np.float64))
    assert (found.kind, found.scale) == ("probabilities", 100.0)
    assert any("percentages" in text for text in found.remarks)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 30),
    rows=st.integers(1, 200),
    scale=st.floats(0.5, 30),
    shift=st.floats(-5, 5),
)
def test_logits_are_never_taken_for_probabilities(
    seed: int, classes: int, rows: int, scale: float, shift: float
) -> None:
    z = logits(rows, classes, seed=seed, scale=scale) + shift
    for outputs in (z, z.astype(np.float16), z.round(2), np.log(softmax(z))):
        if ((outputs >= -0.02) & (outputs <= 1.02)).all(axis=1).mean() < 0.2:
            assert form(outputs).kind == "logits"


def one_row_of_logits(p: Array, z: Array) -> list[Array]:
    return [np.concatenate([p[:-1], z[-1:]])]


NEAR: dict[str, Callable[[Array, Array], list[Array]]] = {
    "one row of logits": one_row_of_logits,
    "one row of NaN-free garbage": lambda p, _: [np.concatenate([p[:-1], p[-1:] * 3])],
    "members probabilities, others logits": lambda p, z: [p, z],
    "few members probabilities, others logits": lambda p, z: [p[:5], np.concatenate([z] * 20)],
    "the three largest": lambda p, _: [np.where(p >= np.sort(p, axis=1)[:, -3:-2], p, 0)],
    "sigmoids": lambda _, z: [1 / (1 + np.exp(-z))],
    "unnormalized": lambda p, _: [p / p.max(axis=1, keepdims=True)],
    "halved": lambda p, _: [p / 2],
    "votes": lambda _, z: [
        np.stack([np.bincount(r.argsort()[:17] % 10, minlength=10) for r in np.repeat(z, 3, 1)])
    ],
    "some percentages": lambda p, _: [np.concatenate([p[:100], 100 * p[100:]])],
}


@pytest.mark.parametrize("case", list(NEAR))
def test_near_misses_are_refused_until_they_are_declared(case: str) -> None:
    z = logits(300, 10)
    parts = NEAR[case](softmax(z), z)
    with pytest.raises(DataError, match="--outputs") as caught:
        form(*parts)
    message = str(caught.value)
    assert "outputs='logits' or outputs='probabilities'" in message
    assert case in {"votes", "halved"} or ("row " in message and "%" in message)
    assert form(*parts, declared="logits").kind == "logits"
    if all((part >= 0).all() and (part <= 1).all() for part in parts):
        found = form(*parts, declared="probabilities")
        told = found.logits(torch.from_numpy(parts[0].astype(np.float32))).double().softmax(dim=1)
        wanted = parts[0] / parts[0].sum(axis=1, keepdims=True)
        assert np.abs(told.numpy() - wanted).max() < 0.1


def test_a_declaration_that_the_numbers_contradict_is_refused() -> None:
    z = logits(100, 4)
    with pytest.raises(DataError, match="declared to be logits"):
        form(softmax(z), declared="logits")
    with pytest.raises(DataError, match=r"declared to be probabilities.*run from"):
        form(z, declared="probabilities")
    # Beside the audited model's, outputs may be of the other kind.
    for parts, other in ((softmax(z), "logits"), (z, "probabilities")):
        tensors = [torch.from_numpy(parts).float()]
        assert form_beside(tensors, declared=other, where="x").kind != other  # type: ignore[arg-type]


@pytest.mark.parametrize("rounded", [None, 3])
def test_one_column_is_the_probability_or_logit_of_class_1(rounded: int | None) -> None:
    z = logits(500, 1)[:, 0]
    p = 1 / (1 + np.exp(-z))
    p = p if rounded is None else p.round(rounded)
    for values, kind in ((p, "probabilities"), (z, "logits")):
        column = columns_of(torch.from_numpy(values).float())
        found = form_of([column], where="x")
        assert (found.kind, found.single) == (kind, True)
        assert any("class 1" in text for text in found.remarks)
        told = found.logits(column).double().softmax(dim=1)
        inside = (p > 0) & (p < 1)
        np.testing.assert_allclose(told[:, 1].numpy()[inside], p[inside], atol=1e-3)
        assert told.shape == (500, 2)
    with pytest.raises(DataError, match=r"99\.8% of the rows"):
        form(np.concatenate([p[:-1], [7.0]])[:, None])
    with pytest.raises(DataError, match="percentages"):
        form(100 * p[:, None])
    assert form(100 * p[:, None], declared="probabilities").scale == 100


def test_coarse_and_constant_outputs_are_said_to_be_so() -> None:
    p = softmax(logits(300, 5))
    for outputs, text in (
        (p.astype(np.float16), "in float16"),
        (bf16(p), "in bfloat16"),
        (logits(300, 5).astype(np.float16), "in float16"),
        (p.round(3), "3 decimals"),
        (np.round(p * 255) / 255, "1/255"),
        (np.tile([0.2, 0.5, 0.3], (40, 1)), "constant"),
        (np.zeros((40, 3)), "constant"),
        (np.full((40, 1), 0.3), "constant"),
    ):
        assert any(text in remark for remark in form(outputs).remarks), text
    for outputs in (p, p.astype(np.float32), logits(300, 5).astype(np.float32)):
        assert form(outputs).remarks == ()


def test_zero_stands_for_less_than_the_smallest_probability_of_its_class() -> None:
    p = softmax(logits(2000, 6)).round(3)
    found = form(p)
    told = found.logits(torch.from_numpy(p).float()).numpy()
    for c in range(6):
        zero, positive = told[p[:, c] == 0, c], told[p[:, c] > 0, c]
        assert zero.max() < positive.min()
        assert zero.min() > positive.min() - np.log(4) - 1e-4


def test_gradients_flow_through_probabilities() -> None:
    z = torch.from_numpy(logits(20, 4)).requires_grad_()
    found = form(softmax(z.detach().numpy()))
    (gradient,) = torch.autograd.grad(found.logits(z.softmax(dim=1)).diff(dim=1).sum(), z)
    wanted = torch.zeros(20, 4, dtype=torch.float64)
    wanted[:, -1], wanted[:, 0] = 1, -1
    torch.testing.assert_close(gradient, wanted)


def test_every_order_of_parts_gives_the_same_form() -> None:
    z = logits(90, 4)
    for parts in itertools.permutations(np.split(softmax(z), 3)):
        assert form(*parts).kind == "probabilities"
