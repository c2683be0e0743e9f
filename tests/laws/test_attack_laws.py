"""Laws of membership attacks: they find a leak, they do not invent one, they judge blindly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.attacks import ATTACKS
from safecompress.attacks.contract import synthetic_outputs
from safecompress.attacks.controls import blind_baseline, planted_leak
from safecompress.attacks.imagined import evidence_for
from safecompress.protocols import Attack, Evidence, Outputs, Pool, Rows
from safecompress.randomness import generator
from safecompress.stats import auc_p_value, clopper_pearson
from tests.quick_attacks import QUICK
from tests.support import count

METRICS = ("loss", "confidence", "entropy", "modified-entropy")
COSTLY = ("neural-published", "white-box-published", "augmentation", "boundary", "samia")
SHORT = {
    "neural-published": {"epochs": 2},
    "white-box-published": {"epochs": 1},
    "samia": {"epochs": 1, "copies": 2},
    "boundary": {"steps": 1},
    "augmentation": {"copies": 4},
}
"""For null models: whether an attack keeps its rate rests on who is judged, not on how long it
learns."""

LEARNT = ("learnt-references", "learnt-set")
"""They learn on a population of imagined models, for seconds."""


def attack(name: str, **options) -> Attack:
    return ATTACKS.build({name: QUICK.get(name, {}) | options}, where="test")


def random_groups(members: int, nonmembers: int, *, classes: int, seed: int) -> Pool[Outputs]:
    outputs = synthetic_outputs(members + nonmembers, classes=classes, seed=seed)
    return Pool(
        outputs.take(torch.arange(members)),
        outputs.take(torch.arange(members, members + nonmembers)),
    )


def run(a: Attack, groups: Pool[Outputs], *, seed: int = 0):
    """Run on what one imagination, of `seed`, makes up around the outputs of both groups."""
    halves = groups.map(lambda o: torch.arange(len(o)) < len(o) // 2)
    both = groups.members, groups.nonmembers
    outputs = Outputs(
        *(torch.cat([getattr(o, what) for o in both]) for what in ("logits", "labels", "ids"))
    )
    evidence = evidence_for(a, outputs, seed=seed)
    first, rest = torch.arange(len(outputs)).split([len(o) for o in both])
    return a(Pool(evidence.take(first), evidence.take(rest)), halves=halves, seed=seed)


@pytest.mark.parametrize("name", sorted(ATTACKS.parts))
@pytest.mark.parametrize("classes", [2, 10])
def test_every_attack_finds_the_planted_leak(name, classes):
    # The published attacker costs a hundred times the others; its repetitions are fewer.
    small, full = (1, 50) if name in LEARNT else (1, 10) if name in QUICK else (3, 50)
    # Of two classes the model is seldom wrong, and no ratio is twice another.
    rows = 2000 if name == "gap" else 400
    options = {"gamma": 1.0} if (name, classes) == ("rmia", 2) else {}
    for seed in range(count(small, full)):
        result = planted_leak(
            synthetic_outputs(rows, classes=classes, seed=seed), attack(name, **options), seed=seed
        )
        assert result.ok, result.message


@pytest.mark.parametrize("name", sorted(ATTACKS.parts))
def test_every_attack_raises_false_alarms_at_its_stated_rate(name):
    """One-sided 5 % on models that know nothing."""
    few = 5 if name in COSTLY else 10 if name in LEARNT else 40
    nulls = count(200 if name in METRICS else few, 2000)
    alarms = 0
    for seed in range(nulls):
        groups = random_groups(160, 120, classes=5, seed=seed)
        scores = run(attack(name, **SHORT.get(name, {})), groups, seed=seed).scores
        alarms += auc_p_value(scores.members, scores.nonmembers) < 0.05
    interval = clopper_pearson(alarms, nulls, level=0.99)
    assert interval.low <= 0.05 <= interval.high, (alarms, nulls)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(4, 60), classes=st.integers(1, 12))
def test_a_parameter_free_score_does_not_depend_on_the_row_order(name, seed, n, classes):
    outputs = synthetic_outputs(n, classes=classes, seed=seed)
    order = torch.randperm(n, generator=generator(seed, "order"))
    a = attack(name)
    # Where a row stands in memory decides which of two instructions computes its last bit.
    torch.testing.assert_close(
        a.score(None, Evidence(outputs.take(order))),
        a.score(None, Evidence(outputs))[order],
        rtol=1e-13,
        atol=1e-15,
    )


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=40, deadline=None)
@given(
    logits=st.lists(
        st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=2, max_size=8
    ),
    label=st.integers(0, 2),
)
def test_scores_are_finite_whatever_the_logits(name, logits, label):
    n = len(logits)
    outputs = Outputs(torch.tensor(logits), torch.full((n,), label), torch.arange(n))
    assert bool(torch.isfinite(attack(name).score(None, Evidence(outputs))).all())


@pytest.mark.parametrize("name", ["neural", "neural-published", "white-box", "white-box-published"])
def test_a_learning_attack_never_sees_the_judged_half(name):
    groups = random_groups(120, 120, classes=4, seed=1)
    kept, changed = run(attack(name), groups), run(attack(name), groups.map(_judged_replaced))
    assert kept.threshold == changed.threshold
    for side in ("members", "nonmembers"):
        before, after = getattr(kept.scores, side), getattr(changed.scores, side)
        torch.testing.assert_close(after[:10], before[:10], rtol=1e-5, atol=1e-5)
        assert not torch.allclose(after[10:], before[10:])


def _judged_replaced(outputs: Outputs) -> Outputs:
    """Change logits and labels of the judged half, all but its first ten rows."""
    first = len(outputs) // 2 + 10
    logits, labels = outputs.logits.clone(), outputs.labels.clone()
    logits[first:] = logits[first:].flip(1) * 2
    labels[first:] = (labels[first:] + 1) % outputs.classes
    return Outputs(logits, labels, outputs.ids)


@pytest.mark.parametrize("name", sorted(ATTACKS.parts))
def test_guesses_are_about_the_judged_half_and_follow_the_threshold(name):
    groups = random_groups(60, 81, classes=3, seed=2)
    a = attack(name)
    result = run(a, groups)
    for side, n in (("members", 60), ("nonmembers", 81)):
        scores = getattr(result.scores, side)
        judged = scores if a.learns else scores[n // 2 :]
        assert torch.equal(getattr(result.guesses, side), judged >= result.threshold)
        assert len(judged) == len(getattr(result.class_guesses, side)) == n - n // 2


def test_the_blind_baseline_is_at_chance_on_rows_of_one_source():
    audits = count(30, 1000)
    alarms = 0
    for seed in range(audits):
        source = generator(seed, "blind")
        rows = Rows(
            torch.randn(400, 12, generator=source),
            torch.randint(3, (400,), generator=source),
            torch.arange(400),
        )
        pool = Pool(rows.take(torch.arange(200)), rows.take(torch.arange(200, 400)))
        halves = pool.map(lambda r: torch.arange(len(r)) % 2 == 0)
        alarms += blind_baseline(pool, halves=halves, seed=seed).alarm
    assert clopper_pearson(alarms, audits, level=0.99).low <= 0.001
