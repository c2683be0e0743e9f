"""Laws of the logits' common level, which probabilities do not tell: what leaks there is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from safecompress.attacks import ATTACKS
from safecompress.attacks.contract import synthetic_outputs
from safecompress.attacks.imagined import evidence_for
from safecompress.attacks.metric import Terms
from safecompress.protocols import Evidence, Outputs, Pool
from safecompress.stats import auc
from tests.quick_attacks import QUICK
from tests.support import count

READERS = ("neural", "white-box", "pair", "family", "joint")
"""They learn from whole answers what tells members; published ones read probabilities alone."""
ROWS = 600


def raised(outputs: Outputs, by: Tensor) -> Outputs:
    """Return the outputs with a number added to all logits of each row."""
    return replace(outputs, logits=outputs.logits + by[:, None])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    classes=st.integers(1, 12),
    scale=st.sampled_from([0.01, 1.0, 30.0, 1e4]),
    by=st.floats(-1e4, 1e4),
)
def test_the_level_is_all_that_a_common_number_changes(seed, classes, scale, by) -> None:
    logits = torch.randn(20, classes, generator=torch.Generator().manual_seed(seed)).double()
    labels = torch.arange(20) % classes
    before = Terms.of(Outputs(logits * scale, labels, torch.arange(20)))
    after = Terms.of(Outputs(logits * scale + by, labels, torch.arange(20)))
    expected = torch.logsumexp(logits * scale, dim=1)
    torch.testing.assert_close(before.level, expected, rtol=1e-7, atol=1e-5)
    torch.testing.assert_close(after.level, expected + by, rtol=1e-7, atol=1e-5)
    normal = (logits * scale - expected[:, None]).float()
    assert not bool(Terms.of(Outputs(normal, labels, torch.arange(20))).level.any())
    for name in ("odds", "top_odds", "entropy", "modified_entropy"):
        one, other = getattr(before, name), getattr(after, name)
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("by", [0.0, 1.5, -1.5])
@pytest.mark.parametrize("name", READERS)
def test_what_a_model_adds_to_all_logits_of_a_member_is_found(name: str, by: float) -> None:
    """Higher and lower, and nothing is found where nothing is added."""
    found = [_found(name, by, seed=seed) for seed in range(count(2, 20))]
    mean = sum(found) / len(found)
    assert mean > 0.65 if by else 0.43 < mean < 0.57


def _found(name: str, by: float, *, seed: int) -> float:
    """Return the AUC of an attack on a model whose members' logits are higher by a number."""
    attack = ATTACKS.build({name: QUICK.get(name, {})}, where="test")
    drawn = torch.Generator().manual_seed(seed)
    outputs = synthetic_outputs(ROWS, seed=seed)
    outputs = raised(outputs, torch.randn(ROWS, generator=drawn) - Terms.of(outputs).level.float())
    members = torch.randperm(ROWS, generator=drawn) < ROWS // 2
    evidence = evidence_for(attack, outputs, seed=seed)
    leaking = replace(evidence, outputs=raised(outputs, torch.where(members, by, 0.0)))
    pool: Pool[Evidence] = Pool(leaking.take(members), leaking.take(~members))
    halves = pool.map(lambda e: torch.arange(len(e.outputs)) % 2 == 0)
    scores = attack(pool, halves=halves, seed=seed).judged
    return auc(scores.members, scores.nonmembers)
