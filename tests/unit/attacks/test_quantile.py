"""The quantile attack: it knows how hard a row is from the row, and nothing from the members."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from safecompress.attacks.contract import synthetic_outputs
from safecompress.attacks.imagined import evidence_for
from safecompress.attacks.lift import lifted
from safecompress.attacks.metric import LossAttack
from safecompress.attacks.quantile import QuantileAttack
from safecompress.errors import ConfigError
from safecompress.protocols import Evidence, Inputs, Pool, Rows
from safecompress.randomness import generator
from safecompress.stats.roc import auc


def halves(pool: Pool[Evidence]) -> Pool[torch.Tensor]:
    return pool.map(lambda e: torch.arange(len(e.outputs)) % 2 == 0)


def leaky(seed: int, n: int = 600) -> Pool[Evidence]:
    members = torch.arange(n) < n // 2
    outputs = synthetic_outputs(n, seed=seed)
    evidence = evidence_for(QuantileAttack(), outputs, seed=seed, leaking=members)
    return Pool(evidence.take(members), evidence.take(~members))


@pytest.mark.parametrize("seed", range(3))
def test_a_leak_behind_how_hard_rows_are_is_found(seed):
    pool = leaky(seed)
    for attack, least, most in ((QuantileAttack(), 0.95, 1.0), (LossAttack(), 0.5, 0.68)):
        scores = attack(pool, halves=halves(pool), seed=0).scores
        assert least < auc(scores.members, scores.nonmembers) < most


def test_nothing_is_learned_from_members():
    pool = leaky(0)
    known = pool.zip(halves(pool), Evidence.take)
    raised = replace(known.members, outputs=lifted(known.members.outputs, torch.ones(150).double()))
    one, other = (
        QuantileAttack().score(
            QuantileAttack().fit(Pool(members, known.nonmembers), seed=0), pool.members
        )
        for members in (known.members, raised)
    )
    assert torch.equal(one, other)


def test_rows_that_differ_more_are_given_more_room():
    source = generator(0, "test")
    x = torch.randn(4000, 3, generator=source)
    outputs = synthetic_outputs(4000, seed=0)
    noise = torch.randn(4000, generator=source).double() * torch.exp(x[:, 0].double())
    flat = lifted(outputs, -outputs.logits.double().gather(1, outputs.labels[:, None]).squeeze(1))
    evidence = Evidence(lifted(flat, 10.0 * noise), rows=Rows(x, outputs.labels, outputs.ids))
    attack = QuantileAttack()
    scores = attack.score(attack.fit(Pool(evidence, evidence), seed=0), evidence)
    wild, calm = scores[x[:, 0] > 1], scores[x[:, 0] < -1]
    assert 0.5 < float(wild.std() / calm.std()) < 2.0


@pytest.mark.parametrize(
    "inputs",
    [
        torch.randn(80, 3, 30, 30),
        torch.randint(0, 5000, (80, 12)),
        {"input_ids": torch.randint(0, 99, (80, 12)), "attention_mask": torch.ones(80, 12).bool()},
        (torch.randn(80, 4), torch.rand(80, 700)),
        torch.zeros(80, 0),
    ],
    ids=["images", "words", "mapping", "tuple", "no inputs"],
)
def test_inputs_of_any_structure_are_read(inputs: Inputs):
    outputs = synthetic_outputs(80, seed=0)
    evidence = Evidence(outputs, rows=Rows(inputs, outputs.labels, outputs.ids))
    attack = QuantileAttack(width=64)
    scores = attack.score(attack.fit(Pool(evidence, evidence), seed=0), evidence)
    assert bool(torch.isfinite(scores).all())


def test_a_width_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="width is 0"):
        QuantileAttack(width=0)
