"""The indirect attack against its definition in loops, and on models that memorize by kernels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import Ridge

from safecompress.attacks import ATTACKS
from safecompress.attacks.metric import true_class_log_odds
from safecompress.protocols import Evidence, Outputs, Pool, References, Rows
from safecompress.randomness import generator
from safecompress.stats import auc
from tests.support import count

CLASSES, WIDTH = 3, 4


def kernel_logits(x: torch.Tensor, y: torch.Tensor, trained: torch.Tensor) -> torch.Tensor:
    """Return logits of a model that is nothing but its training rows, each with a small region."""
    near = torch.exp(-torch.cdist(x, x[trained]).square() / 0.3)
    return 4.0 * near @ torch.nn.functional.one_hot(y[trained], CLASSES).float()


def world(seed: int, *, rows: int = 400, references: int = 16, leak: bool = True) -> Pool[Evidence]:
    draw = generator(seed, "kernels")
    x = torch.randn(rows, WIDTH, generator=draw)
    y = torch.randint(CLASSES, (rows,), generator=draw)
    seen = torch.rand(references + 1, rows, generator=draw).argsort(dim=1) < rows // 2
    logits = torch.stack([kernel_logits(x, y, s) for s in seen])
    members = seen[0]
    if not leak:
        members = torch.rand(rows, generator=draw).argsort() < rows // 2
    ids = torch.arange(rows)
    evidence = Evidence(
        Outputs(logits[0], y, ids),
        rows=Rows(x, y, ids),
        references=References.of(logits[1:], y, seen[1:]),
    )
    return Pool(evidence.take(members), evidence.take(~members))


def run(pool: Pool[Evidence], **options):
    halves = pool.map(lambda e: torch.arange(len(e.outputs)) % 2 == 0)
    return ATTACKS.build({"indirect": options}, where="test")(pool, halves=halves, seed=0)


def by_hand(pool: Pool[Evidence], *, neighbors: int) -> list[float]:
    """Return the scores of the judged members, one neighbor after the other."""
    known, judged = [], []
    for side, member in ((pool.members, True), (pool.nonmembers, False)):
        odds = side.outputs.per_row(true_class_log_odds)
        for i in range(len(side.outputs)):
            row = (
                side.rows.inputs[i].double(),
                int(side.rows.labels[i]),
                float(odds[i]),
                side.references.log_odds[:, i].tolist(),
                side.references.seen[:, i].tolist(),
                member,
            )
            (known if i % 2 == 0 else judged).append(row)
    x = torch.stack([row[0] for row in known])
    scale = x.std(dim=0, correction=0)
    scores = []
    for mine in judged:
        if not mine[5]:
            continue
        candidates = sorted(
            (float((((mine[0] - row[0]) / scale) ** 2).sum()), k)
            for k, row in enumerate(known)
            if row[1] == mine[1]
        )[:neighbors]
        scores.append(_weighted(mine, [(d, known[k]) for d, k in candidates]))
    return scores


def _weighted(mine, near) -> float:
    """Return the score of one row, the prediction by scikit-learn's ridge regression."""
    unseen = [r for r, saw in enumerate(mine[4]) if not saw]
    if not near or not unseen:
        return 0.0
    saw = [[float(row[4][r]) for _, row in near] for r in unseen]
    said = [[row[3][r] for _, row in near] for r in unseen]
    predicted = Ridge(alpha=0.25).fit(saw, said).predict([[float(row[5]) for _, row in near]])
    weights = [near[0][0] / distance for distance, _ in near]
    above = [row[2] - p for (_, row), p in zip(near, predicted.reshape(-1), strict=True)]
    return sum(w * a for w, a in zip(weights, above, strict=True)) / sum(weights)


@pytest.mark.parametrize("neighbors", [1, 3, 8])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_its_definition(seed, neighbors):
    pool = world(seed, rows=80, references=6)
    given = run(pool, neighbors=neighbors).scores.members.tolist()
    assert given == pytest.approx(by_hand(pool, neighbors=neighbors), rel=1e-6, abs=1e-6)


def test_it_reads_nothing_that_the_model_says_of_the_judged_rows():
    pool = world(0)

    def silent(e: Evidence) -> Evidence:
        logits = e.outputs.logits.clone()
        logits[1::2] = 0.0
        return replace(e, outputs=Outputs(logits, e.outputs.labels, e.outputs.ids))

    spoken, unspoken = run(pool), run(pool.map(silent))
    assert torch.equal(spoken.judged.members, unspoken.judged.members)
    assert torch.equal(spoken.judged.nonmembers, unspoken.judged.nonmembers)


def test_it_finds_members_of_models_that_memorize_and_none_where_nothing_leaks():
    def one(seed: int, *, leak: bool) -> float:
        judged = run(world(seed, leak=leak)).judged
        return auc(judged.members, judged.nonmembers)

    found = {
        leak: [one(seed, leak=leak) for seed in range(count(10, 100))] for leak in (True, False)
    }
    mean = {leak: sum(values) / len(values) for leak, values in found.items()}
    # Of 10 × 100 + 100 rows an AUC spreads by .013.
    assert mean[True] > 0.58
    assert mean[False] == pytest.approx(0.5, abs=0.05)


def test_a_row_without_a_neighbor_of_its_label_scores_0():
    pool = world(1, rows=60)
    alone = replace(
        pool.members,
        outputs=Outputs(
            torch.cat([pool.members.outputs.logits, torch.zeros(30, 1)], dim=1),
            torch.where(torch.arange(30) == 1, 3, pool.members.outputs.labels),
            pool.members.outputs.ids,
        ),
    )
    others = replace(
        pool.nonmembers,
        outputs=Outputs(
            torch.cat([pool.nonmembers.outputs.logits, torch.zeros(30, 1)], dim=1),
            pool.nonmembers.outputs.labels,
            pool.nonmembers.outputs.ids,
        ),
    )
    assert float(run(Pool(alone, others)).judged.members[0]) == 0.0
