"""What no trained model says of its own rows is refused; weak, odd and small models are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import softmax

from safecompress.checks.plausibility import objection_to, require_plausible
from safecompress.checks.skill import skill_of
from safecompress.errors import ModelError
from tests.support import count
from tests.wirings import MODELS, Wiring, wired

KINDS = list(MODELS)


def refused(found: Wiring, *, inputs: bool = True) -> str:
    """Return what speaks against the outputs, a doubt included; empty where nothing does."""
    objection = objection_to(found.outputs(), found.rows() if inputs else None)
    return "" if objection is None else objection.text


def shuffled(found: Wiring, *, members: bool = True, others: bool = True) -> Wiring:
    draw, y, n = np.random.default_rng(1), found.y.copy(), found.n
    if members:
        y[:n] = draw.permutation(y[:n])
    if others:
        y[n:] = draw.permutation(y[n:])
    return found.labeled(y)


def swapped(found: Wiring) -> Wiring:
    order = np.r_[np.arange(found.n, 2 * found.n), np.arange(found.n)]
    return Wiring(found.x[order], found.z[order], found.y[order], found.raw, found.model)


@pytest.mark.parametrize("classes", [2, 3, 5, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_wiring_is_plausible(kind: str, classes: int) -> None:
    assert refused(wired(kind, classes=classes)) == ""
    assert refused(wired(kind, classes=classes, noise=0.4)) == ""


@pytest.mark.parametrize("classes", [2, 3, 5, 11, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_every_other_order_of_the_classes_is_refused(kind: str, classes: int) -> None:
    found, draw = wired(kind, classes=classes), np.random.default_rng(classes)
    identity = np.arange(classes)
    orders = [np.roll(identity, 1), identity[::-1], draw.permutation(classes)]
    orders.append(np.argsort(sorted(range(classes), key=str), kind="stable"))
    for order in orders:
        if (order == identity).all():
            continue
        text = refused(found.labeled(order[found.y]), inputs=False)
        assert "in another order of the classes" in text, order
    moved = np.flatnonzero(orders[0] != identity)[0]
    expected = f"label {orders[0][moved]} goes with column {moved}"
    text = refused(found.labeled(orders[0][found.y]), inputs=False)
    assert expected in text or "more" in text


@pytest.mark.parametrize(("classes", "pair"), [(5, (1, 3)), (20, (4, 5)), (20, (0, 19))])
def test_two_classes_out_of_order_are_refused_and_named(
    classes: int, pair: tuple[int, int]
) -> None:
    found = wired("network", classes=classes)
    order = np.arange(classes)
    order[list(pair)] = pair[::-1]
    text = refused(found.labeled(order[found.y]), inputs=False)
    assert f"label {pair[0]} goes with column {pair[1]}, label {pair[1]} goes with" in text
    right = (found.z.argmax(1) == found.y).mean()
    assert f"({right:.1%} of the rows right instead" in text


@pytest.mark.parametrize("classes", [2, 5, 20])
@pytest.mark.parametrize("kind", ["network", "tree", "forest"])
def test_shuffled_labels_are_refused(kind: str, classes: int) -> None:
    found = wired(kind, classes=classes, n=2000)
    assert refused(shuffled(found), inputs=False)
    assert refused(shuffled(found, others=False), inputs=False)
    n = found.n
    assert refused(found.labeled(np.r_[np.roll(found.y[:n], 1), np.roll(found.y[n:], 1)]))


INPUTS: dict[str, Callable[[Wiring], np.ndarray]] = {
    "a forgotten scaler": lambda f: f.raw,
    "statistics of other data": lambda f: (f.raw - f.raw.mean(0) * 0.5) / (f.raw.std(0) * 3),
    "columns reversed": lambda f: f.x[:, ::-1].copy(),
    "0 to 1": lambda f: (f.raw - f.raw.min(0)) / (f.raw.max(0) - f.raw.min(0)),
}


@pytest.mark.parametrize("fault", INPUTS)
@pytest.mark.parametrize("kind", ["network", "logistic", "forest"])
def test_inputs_prepared_otherwise_are_refused_where_they_change_the_answers(
    kind: str, fault: str
) -> None:
    found = wired(kind, classes=5, n=1500)
    faulty = found.fed(INPUTS[fault](found))
    n = found.n
    right, wrong = ((f.z[:n].argmax(1) == f.y[:n]).mean() for f in (found, faulty))
    text = refused(faulty)
    assert wrong > 0.6 * right or "wrong preprocessing" in text


def test_swapped_groups_are_refused_where_one_was_learned() -> None:
    for kind in ("network", "tree", "forest"):
        text = refused(swapped(wired(kind)), inputs=False)
        assert "Likely members and non-members swapped" in text
    assert refused(swapped(wired("logistic", classes=2)), inputs=False) == ""


@pytest.mark.parametrize("temperature", [0.2, 0.5, 2.0, 10.0])
@pytest.mark.parametrize("kind", KINDS)
def test_sharper_and_flatter_models_are_plausible(kind: str, temperature: float) -> None:
    for noise in (0.0, 0.4):
        found = wired(kind, noise=noise)
        scaled = Wiring(found.x, found.z / temperature, found.y, found.raw, found.model)
        assert refused(scaled) == ""


@pytest.mark.parametrize("digits", [1, 2])
def test_coarse_and_one_hot_answers_are_plausible(digits: int) -> None:
    for kind in KINDS:
        found = wired(kind, noise=0.1)
        p = softmax(found.z, axis=1)
        for answers in (np.round(p, digits), np.eye(found.classes)[p.argmax(1)]):
            z = np.log(np.clip(answers, 1e-38, None))
            assert refused(Wiring(found.x, z, found.y, found.raw, found.model)) == ""


def rare(share: float, seed: int, n: int = 1500) -> Wiring:
    """Return a weak honest model of a rare class: it says no everywhere and ranks a little."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(2 * n, 6))
    score = 0.8 * x[:, 0] + np.log(share / (1 - share))
    y = (draw.random(2 * n) < 1 / (1 + np.exp(-score))).astype(np.int64)
    return Wiring(x, np.c_[0 * score, score], y, x, None)


@pytest.mark.parametrize("share", [0.02, 0.04, 0.06])
def test_a_rare_class_that_is_never_predicted_is_plausible(share: float) -> None:
    for seed in range(count(4, 10)):
        found = rare(share, seed)
        assert refused(found) == ""
        weighted = found.z + np.array([0.0, np.log((1 - share) / share)])
        assert refused(Wiring(found.x, weighted, found.y, found.x, None)) == ""
        assert refused(found.labeled(1 - found.y), inputs=False)


def test_few_rows_and_constants_that_claim_no_more_than_frequencies_are_plausible() -> None:
    found = wired("network")
    few = np.r_[0:20, found.n : found.n + 20]
    tiny = Wiring(found.x[few], found.z[few], found.y[few][::-1].copy(), found.raw, found.model)
    assert refused(tiny) == ""
    shares = np.bincount(found.y[: found.n]) / found.n
    frequencies = Wiring(found.x, np.log(shares) + 0 * found.z, found.y, found.raw, found.model)
    assert refused(frequencies) == ""
    for sure_of in (shares.argmax(), shares.argmin()):
        constant = Wiring(
            found.x, np.eye(5)[sure_of] * 3 + 0 * found.z, found.y, found.raw, found.model
        )
        assert refused(constant, inputs=False) == ""
        with pytest.raises(ModelError, match="returns the same for every row, although a simple"):
            require_plausible(constant.outputs(), constant.rows(), where="m.npz")


def test_the_association_is_that_of_permuted_labels() -> None:
    found = wired("logistic", classes=3, n=200)
    p, y = softmax(found.z[:200], axis=1), found.y[:200]
    draw = np.random.default_rng(0)
    means = np.array([p[np.arange(200), draw.permutation(y)].mean() for _ in range(20_000)])
    value = (p[np.arange(200), y].mean() - means.mean()) / means.std()
    assert skill_of(found.outputs().members).association == pytest.approx(value, rel=0.03)
