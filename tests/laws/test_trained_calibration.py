"""Attacks on trained models: silent where nothing was learned, never silent where all was.

Hundreds of small networks are trained side by side, as one batched product. The audited rows are
always the same 400; one pool of shadow models, each trained on half of them, serves every target.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from safecompress.attacks import ATTACKS
from safecompress.checks import Subject
from safecompress.protocols import Evidence, Outputs, Pool, References
from safecompress.randomness import derive, generator, permutation
from safecompress.stats import auc, auc_p_value, clopper_pearson
from tests.support import count

ROWS, FEATURES, CLASSES, HIDDEN = 400, 20, 4, 48
SHADOWS = 32
TARGETS = count(40, 200)
ATTACKED = ("loss", "modified-entropy", "neural", "lira-online", "lira-offline", "rmia")


class Data(NamedTuple):
    x: Tensor
    y: Tensor


def drawn(n: int, *names: str | int) -> Data:
    """Return rows whose labels are learnable in part: a fifth is drawn by lot."""
    source = generator(0, *names)
    x = torch.randn(n, FEATURES, generator=source)
    y = x[:, :CLASSES].argmax(dim=1)
    by_lot = torch.rand(n, generator=source) < 0.2
    return Data(x, torch.where(by_lot, torch.randint(CLASSES, (n,), generator=source), y))


def trained(x: Tensor, y: Tensor, *, steps: int, seed: int) -> tuple[Tensor, ...]:
    """Train one network on each of (k, n, features), (k, n); return their weights."""
    source = generator(seed, "weights")
    k = len(x)
    shapes = ((FEATURES, HIDDEN), (1, HIDDEN), (HIDDEN, CLASSES), (1, CLASSES))
    weights = [
        (torch.randn(k, *s, generator=source) / s[0] ** 0.5).requires_grad_() for s in shapes
    ]
    descent = torch.optim.Adam(weights, lr=0.01)
    for _ in range(steps):
        descent.zero_grad()
        logits = said(weights, x)
        # A sum over networks: none of them feels how many others there are.
        loss = cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / x.shape[1]
        loss.backward()
        descent.step()
    return tuple(w.detach() for w in weights)


def said(weights: list[Tensor] | tuple[Tensor, ...], x: Tensor) -> Tensor:
    """Return logits (k, n, classes)."""
    first, bias, last, offset = weights
    return torch.relu(x @ first + bias) @ last + offset


@cache
def audited() -> Data:
    return drawn(ROWS, "audited")


@cache
def shadow_pool() -> References:
    """Return what the shadow models say of the audited rows, each trained on half of them."""
    rows = audited()
    orders = [permutation(ROWS, 1, "shadow", k) for k in range(SHADOWS)]
    chosen = torch.stack([order[: ROWS // 2] for order in orders])
    weights = trained(rows.x[chosen], rows.y[chosen], steps=400, seed=1)
    logits = said(weights, rows.x.expand(SHADOWS, -1, -1))
    seen = torch.zeros(SHADOWS, ROWS, dtype=torch.bool).scatter(1, chosen, value=True)
    return References.of(logits, rows.y, seen)


@cache
def targets(kind: str) -> tuple[Tensor, Tensor]:
    """Return what the targets say of the audited rows, and which of these they are told to know."""
    rows = audited()
    told = torch.zeros(TARGETS, ROWS, dtype=torch.bool)
    chosen = torch.stack([permutation(ROWS, 2, kind, k)[: ROWS // 2] for k in range(TARGETS)])
    told.scatter_(1, chosen, value=True)
    if kind == "null":
        others = drawn(TARGETS * ROWS // 2, "others")
        x = others.x.reshape(TARGETS, ROWS // 2, FEATURES)
        weights = trained(x, others.y.reshape(TARGETS, -1), steps=400, seed=2)
    else:
        weights = trained(rows.x[chosen], rows.y[chosen], steps=400, seed=3)
    return said(weights, rows.x.expand(TARGETS, -1, -1)), told


@cache
def scores(kind: str, name: str) -> tuple[Pool[Tensor], ...]:
    logits, told = targets(kind)
    ids = torch.arange(ROWS)
    found = []
    for number in range(TARGETS):
        outputs = Outputs(logits[number], audited().y, ids)
        whole = Evidence(outputs, references=shadow_pool())
        pool = Pool(whole.take(told[number]), whole.take(~told[number]))
        seed = derive(0, kind, number)
        subject = Subject.of(pool, name="target", density=None, seed=seed)
        found.append(subject.attacked_by(ATTACKS.build(name, where="test")).scores)
    return tuple(found)


def p_value(found: Pool[Tensor]) -> float:
    return auc_p_value(found.members, found.nonmembers)


@pytest.mark.parametrize("name", ATTACKED)
def test_models_that_saw_none_of_the_rows_alarm_at_the_stated_rate(name: str) -> None:
    alarms = sum(p_value(found) < 0.05 for found in scores("null", name))
    interval = clopper_pearson(alarms, TARGETS, level=0.99)
    assert interval.low <= 0.05 <= interval.high, (alarms, TARGETS)


@pytest.mark.parametrize("name", ATTACKED)
def test_models_that_learned_half_of_the_rows_by_heart_are_all_caught(name: str) -> None:
    missed = [p for found in scores("overtrained", name) if (p := p_value(found)) >= 0.05]
    assert not missed


def test_shadow_models_see_more_than_any_threshold() -> None:
    """The order of strength that the literature finds, on the same targets."""
    means = {
        name: sum(auc(f.members, f.nonmembers) for f in scores("overtrained", name)) / TARGETS
        for name in ("loss", "lira-online", "lira-offline", "rmia")
    }
    assert min(means["lira-online"], means["rmia"]) > means["loss"]
    assert means["lira-online"] > means["lira-offline"]
