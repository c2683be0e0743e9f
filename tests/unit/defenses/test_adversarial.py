"""Adversarial training: bounded, of the right sign, resumable."""

from __future__ import annotations

import functools
import math
import statistics

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from safecompress.defenses import DEFENSES
from safecompress.defenses.adversarial import LARGEST_LOGIT, LOG_2, AdversarialTraining
from safecompress.errors import ConfigError
from safecompress.files import read_tensors, write_tensors
from safecompress.protocols import Batch, Rows, TrainingContext
from safecompress.randomness import generator, seeded
from tests.support import count

CLASSES, WIDTH, MEMBERS, STEPS = 4, 20, 100, 100
SEEDS = count(2, 20)


class WrongSign(AdversarialTraining):
    """The published mistake: rewards looking like a member."""

    def penalty(self, batch: Batch) -> Tensor | None:
        penalty = super().penalty(batch)
        return None if penalty is None else -penalty


def toy(seed: int) -> tuple[Rows, Rows, Rows]:
    """Return members, reference and fresh rows of four noisy clusters."""
    source = generator(seed, "toy")
    centers = torch.randn(CLASSES, WIDTH, generator=source) * 0.5

    def rows(n: int, first: int) -> Rows:
        labels = torch.randint(CLASSES, (n,), generator=source)
        inputs = centers[labels] + torch.randn(n, WIDTH, generator=source)
        return Rows(inputs, labels, torch.arange(first, first + n))

    return rows(MEMBERS, 0), rows(MEMBERS, MEMBERS), rows(4 * MEMBERS, 2 * MEMBERS)


def network(seed: int) -> nn.Sequential:
    with seeded(seed, "toy"):
        return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def batch(model: nn.Module, rows: Rows, step: int, steps: int = STEPS) -> Batch:
    logits = model(rows.inputs)
    return Batch(rows.inputs, rows.labels, rows.ids, logits, model, step, step / steps)


def prepared(reference: Rows | None = None, *, seed: int = 0, **options) -> AdversarialTraining:
    defense = AdversarialTraining(**options)
    rows = toy(seed)[1] if reference is None else reference
    defense.prepare_(TrainingContext(classes=CLASSES, steps=STEPS, seed=seed, reference=rows))
    return defense


@functools.cache
def trained(kind: type[AdversarialTraining], gain: str, weight: float, seed: int):
    """Train to the end; return the attacker's balanced accuracy and how sure it is of members."""
    members, reference, fresh = toy(seed)
    defense = kind(weight=weight, start=0.0, gain=gain)
    defense.prepare_(TrainingContext(CLASSES, STEPS, seed, reference))
    model = network(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(STEPS):
        seen = batch(model, members, step)
        loss = cross_entropy(seen.logits, members.labels) + defense.penalty(seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        of_members = defense.attacker_logits(model(members.inputs), members.labels)
        of_others = defense.attacker_logits(model(fresh.inputs), fresh.labels)
    accuracy = 0.5 * ((of_members > 0).float().mean() + (of_others <= 0).float().mean())
    return float(accuracy), float(of_members.abs().mean())


def mean_over_seeds(kind, gain, weight, figure):
    return statistics.fmean(trained(kind, gain, weight, s)[figure] for s in range(SEEDS))


@pytest.mark.parametrize("gain", ["confusion", "clamped"])
def test_the_defense_lowers_the_attacker_s_balanced_accuracy(gain):
    # Without a weight one gain changes as little as the other.
    undefended = mean_over_seeds(AdversarialTraining, "clamped", 0.0, 0)
    assert mean_over_seeds(AdversarialTraining, gain, 1.0, 0) < undefended - 0.03


def test_the_wrong_sign_raises_the_attacker_s_balanced_accuracy():
    undefended = mean_over_seeds(AdversarialTraining, "clamped", 0.0, 0)
    assert mean_over_seeds(WrongSign, "clamped", 1.0, 0) > undefended + 0.03


def test_the_wrong_sign_makes_the_attacker_surer():
    right = mean_over_seeds(AdversarialTraining, "confusion", 1.0, 1)
    assert mean_over_seeds(WrongSign, "confusion", 1.0, 1) > right + 0.2


@pytest.mark.parametrize("gain", ["confusion", "clamped"])
def test_a_small_step_down_the_penalty_makes_found_members_less_certain(gain):
    """The law of the sign, one step at a time and against an attacker that stands still."""
    members, _, _ = toy(0)
    defense, model = prepared(gain=gain, weight=1.0, start=0.0, attacker_steps=30), network(0)
    defense.penalty(batch(model, members, 0))
    logits = model(members.inputs).detach().requires_grad_()
    before = defense.attacker_logits(logits, members.labels)
    found = before > 0.05
    assert int(found.sum()) > 5
    seen = Batch(members.inputs, members.labels, members.ids, logits, model, 1, 0.5)
    defense._attackers_learn_ = lambda _: None
    (gradient,) = torch.autograd.grad(defense.penalty(seen), logits)
    after = defense.attacker_logits(logits - 1e-2 * gradient, members.labels)
    assert bool((after[found] < before[found]).all())


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e2, 1e4, 1e6])
def test_the_penalty_is_bounded_whatever_the_logits(scale):
    members, _, _ = toy(1)
    for gain, low, high in (
        ("confusion", LOG_2, LARGEST_LOGIT / 2 + 1e-4),
        ("clamped", -LOG_2, 0.0),
    ):
        defense, model = prepared(gain=gain, weight=1.0, start=0.0, attacker_steps=3), network(1)
        for sign in (1, -1):
            with torch.no_grad():
                model[2].weight.mul_(sign)
            logits = (model(members.inputs).detach() * scale).requires_grad_()
            seen = Batch(members.inputs, members.labels, members.ids, logits, model, 0, 0.5)
            penalty = defense.penalty(seen)
            assert low - 1e-6 <= penalty.item() <= high + 1e-6
            (gradient,) = torch.autograd.grad(penalty, logits)
            assert bool(torch.isfinite(gradient).all())


def test_confusion_is_smallest_where_the_attacker_logits_half():
    defense = prepared(gain="confusion", weight=1.0, start=0.0)
    for parameter in defense._parameters:
        parameter.data.zero_()
    defense._attackers_learn_ = lambda _: None
    assert defense.penalty(batch(network(0), toy(0)[0], 0)).item() == pytest.approx(LOG_2)


def test_weight_scales_the_gain():
    one, three = (
        prepared(weight=w, start=0.0).penalty(batch(network(0), toy(0)[0], 0)) for w in (1, 3)
    )
    assert three.item() == pytest.approx(3 * one.item())


def test_nothing_happens_before_the_start():
    defense, model, members = prepared(start=0.33), network(0), toy(0)[0]
    before = defense.state()
    assert defense.penalty(batch(model, members, 32)) is None
    assert all(torch.equal(before[k], v) for k, v in defense.state().items())
    assert defense.penalty(batch(model, members, 33)) is not None
    assert not torch.equal(before["parameter.0"], defense.state()["parameter.0"])


def test_only_the_attackers_learn_from_the_attacker_s_loss():
    defense, model = prepared(start=0.0, weight=0.0), network(0)
    defense.penalty(batch(model, toy(0)[0], 0)).backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("steps_before", [0, 3])
def test_going_on_from_a_saved_state_equals_never_stopping(steps_before, tmp_path):
    model, members = network(0), toy(0)[0]
    straight = prepared(start=0.0, attacker_steps=2)
    for step in range(steps_before):
        straight.penalty(batch(model, members, step))
    write_tensors(tmp_path / "state.safetensors", straight.state())
    resumed = prepared(start=0.0, attacker_steps=2)
    resumed.penalty(batch(network(5), members, 9))
    resumed.load_state_(read_tensors(tmp_path / "state.safetensors"))
    for step in range(steps_before, steps_before + 3):
        one = straight.penalty(batch(model, members, step))
        two = resumed.penalty(batch(model, members, step))
        assert torch.equal(one, two)
    left, right = straight.state(), resumed.state()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[k], right[k]) for k in left)


def test_an_empty_state_is_a_fresh_start():
    defense, model = prepared(start=0.0), network(0)
    fresh = defense.state()
    defense.penalty(batch(model, toy(0)[0], 0))
    assert len(defense.state()) == 4 * len(fresh)
    defense.load_state_({})
    assert all(torch.equal(fresh[k], v) for k, v in defense.state().items())


def test_a_saved_state_does_not_change_afterwards():
    defense, model = prepared(start=0.0), network(0)
    defense.penalty(batch(model, toy(0)[0], 0))
    saved = defense.state()
    copies = {k: v.clone() for k, v in saved.items()}
    defense.penalty(batch(model, toy(0)[0], 1))
    assert all(torch.equal(copies[k], saved[k]) for k in saved)


def test_loading_takes_copies():
    defense, model = prepared(start=0.0), network(0)
    defense.penalty(batch(model, toy(0)[0], 0))
    saved = defense.state()
    copies = {k: v.clone() for k, v in saved.items()}
    defense.load_state_(saved)
    defense.penalty(batch(model, toy(0)[0], 1))
    assert all(torch.equal(copies[k], saved[k]) for k in saved)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(
        nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, CLASSES)
    )
    model[1].eval()
    seen = batch(model, toy(0)[0], 0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    prepared(start=0.0).penalty(seen).backward()
    assert [m.training for m in model] == [True, False, True, True]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_members_and_reference_reach_the_attacker_in_evaluation_mode():
    modes = []

    class Watched(nn.Linear):
        def forward(self, x):
            modes.append((self.training, torch.is_grad_enabled(), len(x)))
            return super().forward(x)

    model = Watched(WIDTH, CLASSES)
    seen = batch(model, toy(0)[0].take(torch.arange(16)), 0)
    prepared(start=0.0, attacker_steps=2).penalty(seen)
    assert modes == [(True, True, 16), (False, False, 16), (False, False, 2 * 16)]


def test_reference_rows_depend_on_the_step_and_nothing_else():
    a, b = prepared(), prepared()
    assert torch.equal(
        a._reference_rows(10, step=4, k=0).ids, b._reference_rows(10, step=4, k=0).ids
    )
    assert not torch.equal(
        a._reference_rows(10, step=4, k=0).ids, a._reference_rows(10, step=5, k=0).ids
    )
    assert len(a._reference_rows(10_000, step=0, k=0)) == MEMBERS


@pytest.mark.parametrize("reference", [None, 0])
def test_without_reference_rows_it_says_what_to_do(reference):
    rows = None if reference is None else toy(0)[1].take(torch.arange(0))
    with pytest.raises(ConfigError, match=r"set data\.split\.reference"):
        AdversarialTraining().prepare_(TrainingContext(CLASSES, STEPS, 0, rows))
    assert AdversarialTraining.needs_reference


@pytest.mark.parametrize("call", ["state", "penalty"])
def test_it_must_be_prepared_first(call):
    defense = AdversarialTraining(start=0.0)
    with pytest.raises(ConfigError, match="prepare_ must be called"):
        defense.state() if call == "state" else defense.penalty(batch(network(0), toy(0)[0], 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1}, "weight is -1"),
        ({"weight": math.inf}, "weight is inf"),
        ({"weight": math.nan}, "weight is nan"),
        ({"start": 1}, "start is 1"),
        ({"attacker_steps": 0}, "attacker_steps is 0"),
        ({"gain": "unbounded"}, "gain is 'unbounded'; expected one of confusion, clamped"),
        ({"attacker": "loss"}, "attacker is 'loss'"),
        ({"wieght": 1}, "did you mean 'weight'"),
    ],
)
def test_bad_options_are_refused_with_the_remedy(options, message):
    with pytest.raises(ConfigError, match=message):
        DEFENSES.build({"adversarial": options}, where="steer.defenses[0]")
