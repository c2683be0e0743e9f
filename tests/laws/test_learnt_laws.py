"""Laws of the attacks that learn on references: no leak no finding, and a leak that others miss."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from safecompress.attacks import ATTACKS
from safecompress.audits.suite import TIERS, attacks_for
from safecompress.errors import MissingEvidenceError, UndecidableError
from safecompress.protocols import Attack, AttackResult, Evidence, Pool
from safecompress.stats import auc
from tests.planted_recipes import Cohort, planted
from tests.support import count

LABEL_ODDS = ("loss", "calibrated", "lira-offline", "lira-online", "rmia")
LEARNT = ("learnt-references", "learnt-known-rows")


def attack(name: str) -> Attack:
    return ATTACKS.build(name, where="test")


def attacked(name: str, pool: Pool[Evidence], *, seed: int = 0) -> AttackResult:
    halves = pool.map(lambda e: e.outputs.ids % 2 == 0)
    return attack(name)(pool, halves=halves, seed=seed)


def found(name: str, pool: Pool[Evidence], *, seed: int = 0) -> float:
    scores = attacked(name, pool, seed=seed).scores
    return auc(scores.members, scores.nonmembers)


def with_references(pool: Pool[Evidence], change) -> Pool[Evidence]:
    return pool.map(lambda e: replace(e, references=change(e.references)))


@pytest.mark.parametrize("recipe", ["nothing", "surer", "own way", "level"])
@pytest.mark.parametrize("name", LEARNT)
def test_a_target_whose_members_are_drawn_apart_has_one_half(name: str, recipe: str) -> None:
    """Also where the references leak: what they teach finds nothing where nothing is."""
    nulls = count(6, 250)
    aucs = []
    for seed in range(nulls):
        cohort = planted(recipe, rows=400, references=7, seed=seed)
        apart = torch.from_numpy(np.random.default_rng([seed, 1]).random(400) < 0.5)
        aucs.append(found(name, replace(cohort, seen=_last(cohort, apart)).evidence(), seed=seed))
    _are_at_one_half(aucs, judged=400 if name == "learnt-references" else 200)


@pytest.mark.parametrize("models", [6, 9])
def test_dealt_rows_tell_nothing_by_the_numbers_of_references(models: int) -> None:
    """Every row is in as many training sets as any other, the target's among them."""
    aucs = []
    for seed in range(count(6, 250)):
        draw = np.random.default_rng([seed, 2])
        dealt = torch.from_numpy(draw.random((models, 400)).argsort(axis=0) < models // 2)
        # Nobody has memorized anything; the references' counts are all there is to find.
        silent = planted("nothing", rows=400, references=models - 1, seed=seed)
        aucs.append(found("learnt-references", replace(silent, seen=dealt).evidence()))
    _are_at_one_half(aucs, judged=400)


@pytest.mark.parametrize("recipe", ["surer", "own way", "level"])
def test_a_recipe_that_hides_in_the_log_odds_is_caught(recipe: str) -> None:
    learnt, others = [], []
    for seed in range(count(2, 40)):
        pool = planted(recipe, rows=1500, references=9, seed=seed).evidence()
        learnt.append(found("learnt-references", pool))
        others.append(max(found(name, pool) for name in LABEL_ODDS))
    assert np.mean(others) < 0.57
    assert np.mean(learnt) > 0.65


def test_the_membership_of_the_target_is_never_read() -> None:
    """Each row's score is the same whichever rows are called members."""
    cohort = planted("surer", rows=600, references=7, seed=1)
    other = torch.from_numpy(np.random.default_rng(9).random(600) < 0.3)
    one, two = (
        _by_id(attacked("learnt-references", replace(cohort, seen=_last(cohort, said)).evidence()))
        for said in (cohort.seen[-1], other)
    )
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


def test_the_order_of_the_references_matters_no_more_than_another_draw() -> None:
    pool = planted("surer", rows=1500, references=9, seed=2).evidence()
    order = torch.from_numpy(np.random.default_rng(3).permutation(9))
    turned = with_references(pool, lambda r: r.of_models(order))
    one, two = (_by_id(attacked("learnt-references", p)) for p in (pool, turned))
    assert float(torch.corrcoef(torch.stack([one, two]))[0, 1]) > 0.9
    assert found("learnt-references", turned) == pytest.approx(
        found("learnt-references", pool), abs=0.01
    )


@pytest.mark.parametrize("name", LEARNT)
def test_the_same_bits_again(name: str) -> None:
    pool = planted("own way", rows=500, references=7, seed=3).evidence()
    one, two = (_by_id(attacked(name, pool)) for _ in range(2))
    assert torch.equal(one, two)


def test_a_row_that_every_reference_saw_gets_a_score_that_says_nothing() -> None:
    cohort = planted("surer", rows=900, references=7, seed=4)
    seen = cohort.seen.clone()
    seen[:-1, :60] = True
    result = attacked("learnt-references", replace(cohort, seen=seen).evidence())
    scores = _by_id(result)
    assert len(scores[:60].unique()) == 1
    assert float((scores[60:] < scores[0]).double().mean()) == pytest.approx(0.5, abs=0.1)


def _are_at_one_half(aucs: list[float], *, judged: int) -> None:
    """The mean of these AUCs is within four standard errors of one half, half of them members."""
    error = math.sqrt((judged + 1) / (3 * judged**2) / len(aucs))
    assert abs(np.mean(aucs) - 0.5) < 4 * error


def _last(cohort: Cohort, said: torch.Tensor) -> torch.Tensor:
    return torch.cat([cohort.seen[:-1], said[None]])


def _by_id(result: AttackResult) -> torch.Tensor:
    scores = torch.cat([result.scores.members, result.scores.nonmembers])
    ids = torch.cat([result.ids.members, result.ids.nonmembers])
    return scores[ids.argsort()]


@pytest.mark.parametrize("name", LEARNT)
def test_references_that_can_teach_nothing_are_refused_in_a_sentence(name: str) -> None:
    pool = planted("nothing", rows=200, references=5, seed=5).evidence()
    bare = with_references(pool, lambda r: replace(r, logits=None))
    with pytest.raises(MissingEvidenceError, match="give the references' logits"):
        attacked(name, bare)
    every = with_references(pool, lambda r: replace(r, seen=torch.ones_like(r.seen)))
    with pytest.raises(UndecidableError, match="expected at least 24 of either"):
        attacked(name, every)


def test_what_nobody_saw_teaches_rows_of_known_membership_only() -> None:
    pool = planted("surer", rows=800, references=5, seed=6).evidence()
    unknown = with_references(pool, lambda r: replace(r, seen=torch.zeros_like(r.seen)))
    with pytest.raises(UndecidableError, match="0 examples of members"):
        attacked("learnt-references", unknown)
    assert found("learnt-known-rows", unknown) > 0.6
    for evidence, expected in ((pool, LEARNT[0]), (unknown, LEARNT[1])):
        tier = next(tier for tier in TIERS if LEARNT[0] in tier.attacks)
        assert [a.name for a in attacks_for(tier, evidence)] == [expected]
