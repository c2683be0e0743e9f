"""Laws of white-box attacks: they find what only the model's inside gives away, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from safecompress.attacks import ATTACKS
from safecompress.attacks.contract import synthetic_outputs
from safecompress.attacks.imagined import evidence_for, plant, plant_inside
from safecompress.attacks.white_box_published import last_layer_gradients
from safecompress.protocols import Attack, Evidence, Internals, Pool, residuals
from safecompress.stats import auc, auc_p_value
from tests.support import count

WHITE = ("white-box", "white-box-published")
BLACK = ("loss", "modified-entropy", "neural", "gap")


def attack(name: str) -> Attack:
    return ATTACKS.build(name, where="test")


def pool(*, seed: int, classes: int = 10, rows: int = 400, leaking: bool = False) -> Pool[Evidence]:
    """Return evidence about rows that nobody trained on, with internals; members may leak there."""
    outputs = synthetic_outputs(rows, classes=classes, seed=seed)
    members = torch.arange(rows) < rows // 2
    leaks = members if leaking else None
    held = evidence_for(attack("white-box"), outputs, seed=seed, leaking=leaks)
    return Pool(held.take(members), held.take(~members))


def scores(a: Attack, groups: Pool[Evidence], *, seed: int = 0) -> Pool[torch.Tensor]:
    halves = groups.map(lambda e: torch.arange(len(e.outputs)) % 2 == 0)
    return a(groups, halves=halves, seed=seed).judged


def leak_inside(seed: int) -> Pool[Evidence]:
    return pool(seed=seed, leaking=True)


@pytest.mark.parametrize("name", WHITE)
def test_a_leak_inside_is_found_by_white_box_attacks(name):
    for seed in range(count(1, 20)):
        found = scores(attack(name), leak_inside(seed))
        assert auc(found.members, found.nonmembers) > 0.75, seed


@pytest.mark.parametrize("name", BLACK)
def test_a_leak_inside_is_not_found_by_black_box_attacks(name):
    # A control is silent where p ≥ .001; among 20 seeds at most one may go below .01.
    alarms = 0
    for seed in range(count(5, 20)):
        found = scores(attack(name), leak_inside(seed))
        alarms += auc_p_value(found.members, found.nonmembers) < 0.01
    assert alarms <= 1


@pytest.mark.parametrize("name", WHITE)
def test_a_leak_in_the_outputs_is_found_as_well(name):
    groups = pool(seed=3)
    outputs = plant(groups.members.outputs, like=groups.members.outputs, seed=3)
    leaky = Pool(replace(groups.members, outputs=outputs), groups.nonmembers)
    found = scores(attack(name), leaky)
    assert auc(found.members, found.nonmembers) > 0.75


def only(internals: Internals, *, features: bool) -> Internals:
    """Plant in the features alone, or in the gradients alone."""
    planted = plant_inside(internals, torch.ones(len(internals), dtype=torch.bool))
    if features:
        return replace(internals, features=planted.features)
    return replace(internals, gradient_norms=planted.gradient_norms)


@pytest.mark.parametrize("features", [True, False])
def test_the_white_box_attack_reads_features_and_gradients(features):
    groups = pool(seed=4, rows=1200)
    assert groups.members.internals is not None
    planted = only(groups.members.internals, features=features)
    found = scores(
        attack("white-box"), Pool(replace(groups.members, internals=planted), groups.nonmembers)
    )
    assert auc(found.members, found.nonmembers) > 0.65


@pytest.mark.parametrize("layers", [1, 2, 3, 40])
def test_any_number_of_layers_may_be_shown(layers):
    groups = pool(seed=5)

    def with_more(evidence: Evidence) -> Evidence:
        held = evidence.internals
        norms = held.gradient_norms[:, :1].repeat(1, 9)
        more = Internals(held.features, norms, tuple(map(str, range(9))))
        return replace(evidence, internals=more)

    deep = groups.map(with_more)
    found = scores(ATTACKS.build({"white-box": {"layers": layers}}, where="test"), deep)
    assert bool(torch.isfinite(found.members).all())


def test_a_single_class_and_a_class_nobody_showed_are_scored():
    for classes, labels in ((1, 0), (6, 2)):
        groups = pool(seed=6, classes=classes)
        same = groups.map(
            lambda e, y=labels: replace(
                e, outputs=replace(e.outputs, labels=torch.full_like(e.outputs.labels, y))
            )
        )
        found = scores(attack("white-box"), same)
        assert bool(torch.isfinite(found.members).all())


def test_the_published_network_sees_the_last_layer_s_gradient():
    outputs = synthetic_outputs(7, seed=0)
    h = torch.randn(7, 4)
    weight = torch.zeros(10, 4, requires_grad=True)
    away = residuals(outputs.logits, outputs.labels)
    formed = last_layer_gradients((away.direction * away.length[:, None]).float(), h)
    for row in range(7):
        logits = outputs.logits[row] + weight @ h[row]
        loss = torch.nn.functional.cross_entropy(logits[None], outputs.labels[row][None])
        (expected,) = torch.autograd.grad(loss, weight)
        torch.testing.assert_close(formed[row, 0], expected)
