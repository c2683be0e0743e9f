"""The attack that learns on references against its definition, in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from safecompress.attacks.lots import drawn, row_keys, salts
from safecompress.attacks.quadratic import Quadratic
from safecompress.attacks.whole_answers import Answers, Facing, numbers
from safecompress.protocols.odds import log_odds

MODELS, REFERENCES, ROWS, CLASSES = 2, 5, 9, 6


def kl(p, q) -> float:
    """Return the divergence of log-probabilities, cut at -14 and not normalized again."""
    return float((np.exp(p) * (p - q)).sum())


def odds_of(logits, label) -> float:
    return float(logits[label] - logsumexp(np.delete(logits, label)))


def defined(own, others, label, outside, inside) -> list[float]:
    """Return the numbers of one model on one row, from its logits and those of the references."""
    cut = [np.maximum(z - logsumexp(z), -14.0) for z in others]
    log_p = np.maximum(own - logsumexp(own), -14.0)
    best = [int(z.argmax()) for z in others]
    entropy = [-float((np.exp(q) * q).sum()) for q in cut]

    def mean(values) -> float:
        return float(np.mean([values[k] for k in outside]))

    def more(values) -> float:
        return float(np.mean([values[k] for k in inside])) - mean(values) if inside else 0.0

    label_odds = [odds_of(z, label) for z in others]
    away = [kl(log_p, q) for q in cut]
    mine = int(own.argmax())
    return [
        odds_of(own, label),
        -float((np.exp(log_p) * log_p).sum()),
        log_p[mine],
        odds_of(own, mine),
        mean(label_odds),
        mean(entropy),
        mean([odds_of(z, b) for z, b in zip(others, best, strict=True)]),
        mean(away),
        mean([kl(q, log_p) for q in cut]),
        mean([log_p[b] - q[b] for q, b in zip(cut, best, strict=True)]),
        log_p[mine] - mean([q[mine] for q in cut]),
        float(logsumexp(own)) - mean(levels := [float(logsumexp(z)) for z in others]),
        more(label_odds),
        more(entropy),
        more(away),
        more(levels),
    ]


@pytest.mark.parametrize("scale", [0.5, 3.0, 30.0])
def test_the_numbers_are_their_definition(scale) -> None:
    draw = np.random.default_rng(0)
    own, others = (scale * draw.normal(size=(m, ROWS, CLASSES)) for m in (MODELS, REFERENCES))
    labels = draw.integers(CLASSES, size=ROWS)
    outside = draw.random((ROWS, MODELS, REFERENCES)) < 0.5
    outside[..., 0] = True
    inside = ~outside & (draw.random(outside.shape) < 0.7)
    models, references = (
        Answers.of(
            z := torch.from_numpy(values),
            torch.stack([log_odds(one, torch.from_numpy(labels)) for one in z]),
        )
        for values in (own, others)
    )
    given = numbers(
        models,
        references,
        Facing.of(models, references),
        outside=torch.from_numpy(outside),
        inside=torch.from_numpy(inside),
    )
    for row in range(ROWS):
        for j in range(MODELS):
            expected = defined(
                own[j, row],
                others[:, row],
                labels[row],
                outside[row, j].nonzero()[0],
                list(inside[row, j].nonzero()[0]),
            )
            assert given[row, j].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_regression_is_where_another_optimizer_ends() -> None:
    draw = np.random.default_rng(1)
    raw = draw.normal(size=(900, 3)) * [1.0, 20.0, 0.01] + [0.0, 5.0, 3.0]
    member = draw.random(900) < expit(raw[:, 0] ** 2 - 1 + 0.1 * raw[:, 1])
    heavy = draw.random(900) + 0.5
    fitted = Quadratic.fitted(*(torch.from_numpy(a) for a in (raw, member, heavy)))

    z = np.clip((raw - raw.mean(axis=0)) / raw.std(axis=0), -5, 5)
    columns = np.stack([*z.T, *(z[:, i] * z[:, j] for i in range(3) for j in range(i, 3))], axis=1)
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    weight = heavy / np.where(member, heavy[member].sum(), heavy[~member].sum()) / 2
    sign = np.where(member, 1.0, -1.0)

    def loss(w):
        margin = sign * (columns @ w[:-1] + w[-1])
        return weight @ np.logaddexp(0, -margin) + 1.5 / 900 * (w[:-1] ** 2).sum()

    best = minimize(loss, np.zeros(10), method="BFGS", options={"gtol": 1e-9}).x
    given = fitted(torch.from_numpy(raw)).numpy()
    assert given == pytest.approx(columns @ best[:-1] + best[-1], abs=1e-4)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_lots_draw_exactly_as_many_as_they_should_and_all_alike(size) -> None:
    draw = torch.Generator().manual_seed(0)
    odds = torch.randn(8, 20_000, generator=draw, dtype=torch.float64)
    able = (torch.rand(20_000, 2, 8, generator=draw) < 0.7).contiguous()
    salt = np.stack([salts(0, "test", j, count=8) for j in range(2)])
    chosen = drawn(row_keys(odds), salt, able, size=size)
    assert not bool((chosen & ~able).any())
    assert torch.equal(chosen.sum(dim=2), able.sum(dim=2).clamp(max=size))
    # Every model that is able is drawn as often as any other: within five standard errors.
    often = chosen.double().sum(dim=0) / able.double().sum(dim=0)
    assert float((often - often.mean()).abs().max()) < 5 * 0.5 / (0.7 * 20_000) ** 0.5
    order = torch.randperm(20_000, generator=draw)
    again = drawn(row_keys(odds[:, order]), salt, able[order], size=size)
    assert torch.equal(again, chosen[order])


def test_keys_do_not_depend_on_the_order_of_models_and_differ_between_rows() -> None:
    odds = torch.randn(5, 5000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert np.array_equal(row_keys(odds), row_keys(odds.flip(0)))
    assert len(np.unique(row_keys(odds))) == 5000
