"""Who holds several versions of a model sees what no single one of them shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from safecompress.attacks import ATTACKS
from safecompress.attacks.contract import synthetic_outputs
from safecompress.attacks.family import FamilyAttack
from safecompress.attacks.imagined import evidence_for
from safecompress.attacks.lift import lifted
from safecompress.attacks.metric import true_class_log_odds
from safecompress.attacks.pair import PairAttack, differences
from safecompress.errors import ConfigError, DataError, MissingEvidenceError
from safecompress.protocols import Evidence, Outputs, Pool
from safecompress.randomness import generator
from safecompress.stats.roc import auc

HALF = 500


def found(name: str, pool: Pool[Evidence], *, seed: int = 0) -> float:
    halves = pool.map(lambda e: torch.arange(len(e.outputs)) % 2 == 0)
    scores = ATTACKS.build(name, where="test")(pool, halves=halves, seed=seed).scores
    return auc(scores.members, scores.nonmembers)


def cut(evidence: Evidence) -> Pool[Evidence]:
    order = torch.arange(2 * HALF)
    return Pool(evidence.take(order[:HALF]), evidence.take(order[HALF:]))


def leaky(name: str, seed: int) -> Pool[Evidence]:
    members = torch.arange(2 * HALF) < HALF
    outputs = synthetic_outputs(2 * HALF, seed=seed)
    attack = ATTACKS.build(name, where="test")
    return cut(evidence_for(attack, outputs, seed=seed, leaking=members))


def on_their_own(pool: Pool[Evidence]) -> list[Pool[Evidence]]:
    """Return each model of the evidence as if there were no other."""
    models = pool.map(
        lambda e: [o for o in (e.outputs, e.parent, *(e.family or ())) if o is not None]
    )
    return [
        Pool(Evidence(a), Evidence(b))
        for a, b in zip(models.members, models.nonmembers, strict=True)
    ]


@pytest.mark.parametrize("name", ["pair", "family"])
@pytest.mark.parametrize("seed", range(3))
def test_a_leak_in_the_difference_is_found_by_who_holds_both_alone(name, seed):
    pool = leaky(name, seed)
    assert found(name, pool) > 0.85
    for alone in on_their_own(pool):
        assert found("loss", alone) < 0.62
        assert found("neural", alone) < 0.62


def coupled(seed: int) -> Pool[Evidence]:
    """Return a parent as sure of each member as the model, and of non-members in another order.

    Of either group each model by itself says exactly the same.
    """
    outputs = synthetic_outputs(2 * HALF, seed=seed)
    odds = true_class_log_odds(outputs)
    other = odds.clone()
    other[HALF:] = odds[HALF + torch.randperm(HALF, generator=generator(seed, "test"))]
    return cut(Evidence(outputs, parent=lifted(outputs, other - odds)))


@pytest.mark.parametrize("seed", range(3))
def test_two_models_that_agree_on_members_alone_leak(seed):
    pool = coupled(seed)
    assert found("pair", pool) > 0.85
    for alone in on_their_own(pool):
        assert found("loss", alone) < 0.6


def test_the_order_of_the_versions_means_nothing():
    pool = leaky("family", 0)
    turned = pool.map(lambda e: replace(e, family=e.family[::-1]))
    one, other = (FamilyAttack().features(p.members) for p in (pool, turned))
    torch.testing.assert_close(one, other)


def test_one_sibling_is_a_family():
    pool = leaky("family", 0).map(lambda e: replace(e, family=e.family[:1]))
    assert found("family", pool) > 0.85


def test_equal_models_do_not_differ():
    outputs = synthetic_outputs(50, seed=0)
    seen = differences(outputs, outputs)
    assert not seen[:, :4].any()
    assert bool((seen[:, 4:6] == torch.log(torch.tensor(1e-16, dtype=torch.float64))).all())
    assert bool((seen[:, 6] == 1).all())


@pytest.mark.parametrize("classes", [1, 2, 30])
def test_differences_of_saturated_models_are_finite(classes):
    labels = torch.arange(40) % classes
    one, other = (
        Outputs(torch.randn(40, classes, generator=generator(s, "test")) * 1e4, labels, labels)
        for s in (0, 1)
    )
    assert bool(torch.isfinite(differences(one, other)).all())


def test_models_of_other_classes_are_no_pair():
    members = synthetic_outputs(10, seed=0)
    evidence = Evidence(members, parent=synthetic_outputs(10, classes=7, seed=0))
    with pytest.raises(DataError, match=r"\(10, 7\) of the dense one"):
        PairAttack().features(evidence)


def test_a_family_of_other_rows_is_refused():
    outputs = synthetic_outputs(10, seed=0)
    for family in ((), (outputs, synthetic_outputs(9, seed=0))):
        with pytest.raises(DataError, match="a family of"):
            Evidence(outputs, family=family)


@pytest.mark.parametrize("name", ["pair", "family"])
def test_one_model_is_no_evidence_for_who_compares(name):
    pool = on_their_own(leaky(name, 0))[0]
    with pytest.raises(MissingEvidenceError, match="parent" if name == "pair" else "family"):
        found(name, pool)


@pytest.mark.parametrize("attack", [PairAttack, FamilyAttack])
@pytest.mark.parametrize("options", [{"top": 0}, {"hidden": 0}, {"kinks": 0}, {"steps": -1}])
def test_options_out_of_range_are_refused(attack, options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))} is"):
        attack(**options)
