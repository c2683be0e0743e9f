"""The control of direction: what is told the wrong way round, and what only looks like it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from safecompress.attacks import ATTACKS
from safecompress.attacks.direction import chance_of
from safecompress.checks import Status, Subject
from safecompress.checks.controls import control_checks
from safecompress.protocols import Evidence, Outputs, Pool, References, Rows
from safecompress.stats import auc
from tests.quick_attacks import QUICK
from tests.support import count

BLACK_BOX = ("loss", "confidence", "entropy", "modified-entropy", "gap")
REFERENCED = (
    "calibrated",
    "lira-offline",
    "lira-online",
    "rmia",
    "bavaria-offline",
    "bavaria-online",
    "informia",
    "learnt-references",
)
LEARNT = ("neural",)


def world(
    n: int, *, leak: float, seed: int, models: int = 8, dealt: bool = False, classes: int = 5
) -> Pool[Evidence]:
    """Return members and non-members of a model with references.

    Args:
        n: number of rows in either group.
        leak: what seeing a row adds to its log-odds in the judged model; references get 1.
        seed: seed of everything.
        models: number of references.
        dealt: whether each row is in exactly half of all models, the judged one included.
        classes: number of classes.
    """
    draw = np.random.default_rng(seed)
    total = 2 * n
    if dealt:
        seen = draw.random((models + 1, total)).argsort(axis=0) < (models + 1) // 2
    else:
        seen = draw.random((models, total)).argsort(axis=0) < models // 2
        seen = np.vstack([seen, np.arange(total) < n])
    odds = 2.5 * draw.normal(size=total) + 0.7 * draw.normal(size=(models + 1, total))
    odds[:models] += seen[:models]
    odds[models] += leak * seen[models]
    labels = torch.from_numpy(draw.integers(classes, size=total))
    logits = torch.zeros(models + 1, total, classes, dtype=torch.float64)
    logits[:, torch.arange(total), labels] = torch.from_numpy(odds) + np.log(classes - 1)
    outputs = Outputs(logits[models].float(), labels, torch.arange(total))
    references = References.of(logits[:models], labels, torch.from_numpy(seen[:models]))
    evidence = Evidence(outputs, references=references)
    member = torch.from_numpy(seen[models])
    return Pool(evidence.take(member), evidence.take(~member))


def swapped(pool: Pool[Evidence]) -> Pool[Evidence]:
    return Pool(pool.nonmembers, pool.members)


def directions(pool: Pool[Evidence], names: tuple[str, ...]) -> dict[str, Status]:
    subject = Subject.of(pool, name="x", density=None, seed=3)
    rows = pool.map(lambda e: Rows(torch.zeros(len(e.outputs), 0), e.outputs.labels, e.outputs.ids))
    attacks = [ATTACKS.build({name: QUICK.get(name, {})}, where="test") for name in names]
    start = "control: direction, "
    return {
        c.name.removeprefix(start): c.status
        for c in control_checks(subject, rows, attacks=attacks)
        if c.name.startswith(start)
    }


@pytest.mark.parametrize(
    ("n", "seed"),
    [*((300, k) for k in range(count(2, 3))), *((1200, k) for k in range(count(1, 3)))],
)
def test_swapped_groups_fail_the_control_of_every_attack_that_sees_the_leak(n, seed):
    leaking = world(n, leak=4.0, seed=seed)
    names = (*BLACK_BOX, *REFERENCED)
    assert set(directions(leaking, names).values()) == {Status.PASS}
    assert set(directions(swapped(leaking), names).values()) == {Status.ERROR}


def test_an_attack_that_learns_its_direction_has_no_such_control():
    assert directions(swapped(world(300, leak=4.0, seed=0)), LEARNT) == {}
    directed = {name for name in ATTACKS.parts if ATTACKS.build(name, where="test").directed}
    assert directed == {*BLACK_BOX, *REFERENCED, "learnt-set", "quantile", "boundary", "indirect"}


def test_the_message_names_what_may_be_wrong():
    pool = swapped(world(300, leak=4.0, seed=0))
    subject = Subject.of(pool, name="x", density=None, seed=3)
    rows = pool.map(lambda e: Rows(torch.zeros(len(e.outputs), 0), e.outputs.labels, e.outputs.ids))
    built = [ATTACKS.build(name, where="test") for name in ("loss", "lira-online")]
    found = {c.name: c for c in control_checks(subject, rows, attacks=built)}
    for name in ("loss", "lira-online"):
        message = found[f"control: direction, {name}"].message
        assert "--data takes MEMBERS first" in message
        assert "unlearning" in message
        assert ("`seen` inverted" in message) == (name == "lira-online")
        assert found[f"control: direction, {name}"].attack == name


def test_inverted_training_sets_of_the_references_fail_the_attacks_that_use_them():
    leaking = world(600, leak=4.0, seed=0)
    inverted = leaking.map(
        lambda e: Evidence(
            e.outputs, references=References(e.references.log_odds, ~e.references.seen)
        )
    )
    found = directions(inverted, ("loss", "lira-online"))
    assert found == {"loss": Status.PASS, "lira-online": Status.ERROR}


@pytest.mark.parametrize("dealt", [False, True])
@pytest.mark.parametrize("models", [4, 8, 16])
def test_models_that_tell_nothing_pass_the_control(models, dealt):
    for seed in range(count(2, 300)):
        n = (40, 120, count(500, 1500))[(seed + models // 4 + dealt) % 3]
        pool = world(n, leak=0.0, seed=seed, models=models, dealt=dealt)
        found = directions(pool, (*BLACK_BOX, *REFERENCED))
        assert Status.ERROR not in found.values(), (seed, n, found)


def test_training_sets_that_hold_each_row_equally_often_push_lira_below_one_half():
    attack = ATTACKS.build("lira-online", where="test")
    dealt, drawn = (world(4000, leak=0.0, seed=0, models=4, dealt=d) for d in (True, False))
    scores = Subject.of(dealt, name="x", density=None, seed=0).attacked_by(attack).scores
    found = auc(scores.members, scores.nonmembers)
    assert found < 0.49
    assert chance_of(attack, dealt, seed=0) < found
    assert chance_of(attack, drawn, seed=0) > 0.485
    assert chance_of(ATTACKS.build("loss", where="test"), dealt, seed=0) == 0.5
