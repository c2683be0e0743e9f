"""Adversarial training against white-box attackers: the same laws, and the features they see."""

from __future__ import annotations

import functools
import statistics

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from safecompress.config import EngineConfig, TrainConfig
from safecompress.defenses import DEFENSES
from safecompress.defenses.adversarial import LARGEST_LOGIT, LOG_2, AdversarialTraining
from safecompress.errors import ConfigError, ModelError
from safecompress.protocols import Batch, Rows, TrainingContext
from safecompress.train import Trainer
from safecompress.train.features import call_with_features
from tests.support import count
from tests.unit.defenses.test_adversarial import CLASSES, STEPS, WIDTH, WrongSign, network, toy

MODES = ("white-box", "both")
SEEDS = count(2, 20)


def batch(model: nn.Module, rows: Rows, step: int) -> Batch:
    logits, features = call_with_features(model, rows.inputs)
    return Batch(
        rows.inputs, rows.labels, rows.ids, logits, model, step, step / STEPS, features=features
    )


def prepared(kind: type[AdversarialTraining] = AdversarialTraining, *, seed: int = 0, **options):
    defense = kind(**{"start": 0.0} | options)
    defense.prepare_(TrainingContext(CLASSES, STEPS, seed, toy(seed)[1]))
    return defense


@functools.cache
def trained(kind: type[AdversarialTraining], mode: str, weight: float, seed: int) -> float:
    """Train to the end; return the attackers' mean balanced accuracy."""
    members, _, fresh = toy(seed)
    # Raised without end by the wrong sign, and up to a coin flip by the right one.
    options = {"weight": weight, "attacker": mode, "gain": "clamped"}
    defense, model = prepared(kind, seed=seed, **options), network(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(STEPS):
        seen = batch(model, members, step)
        loss = cross_entropy(seen.logits, members.labels) + defense.penalty(seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        said = [says(defense, batch(model, rows, STEPS)) for rows in (members, fresh)]
    return float(0.5 * ((said[0] > 0).float().mean() + (said[1] <= 0).float().mean()))


def says(defense: AdversarialTraining, seen: Batch) -> Tensor:
    return defense.attacker_logits(seen.logits, seen.labels, seen.features)


def mean_over_seeds(kind, mode, weight):
    return statistics.fmean(trained(kind, mode, weight, s) for s in range(SEEDS))


@pytest.mark.parametrize("mode", MODES)
def test_the_right_sign_lowers_the_attackers_gain_and_the_wrong_one_raises_it(mode):
    undefended = mean_over_seeds(AdversarialTraining, mode, 0.0)
    assert mean_over_seeds(AdversarialTraining, mode, 1.0) < undefended - 0.03
    assert mean_over_seeds(WrongSign, mode, 1.0) > undefended + 0.03


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("gain", ["confusion", "clamped"])
def test_a_small_step_of_the_features_down_the_penalty_makes_members_less_certain(mode, gain):
    members = toy(0)[0]
    defense, model = prepared(attacker=mode, gain=gain, weight=1.0, attacker_steps=30), network(0)
    defense.penalty(batch(model, members, 0))
    seen = batch(model, members, 1)
    logits, inside = (t.detach().requires_grad_() for t in (seen.logits, seen.features))
    before = defense.attacker_logits(logits, members.labels, inside)[-1]
    found = before > 0.05
    assert int(found.sum()) > 5
    loose = Batch(
        members.inputs, members.labels, members.ids, logits, model, 1, 0.5, features=inside
    )
    defense._attackers_learn_ = lambda _: None
    (gradient,) = torch.autograd.grad(defense.penalty(loose), inside)
    after = defense.attacker_logits(logits, members.labels, inside - 1e-2 * gradient)[-1]
    assert bool((after[found] < before[found]).all())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 1e4])
def test_the_penalty_is_bounded_whatever_the_features(mode, scale):
    members = toy(1)[0]
    for gain, low, high in (
        ("confusion", LOG_2, LARGEST_LOGIT / 2 + 1e-4),
        ("clamped", -LOG_2, 0.0),
    ):
        defense, model = prepared(attacker=mode, gain=gain, weight=1.0), network(1)
        seen = batch(model, members, 0)
        logits, inside = (
            (t.detach() * scale).requires_grad_() for t in (seen.logits, seen.features)
        )
        penalty = defense.penalty(
            Batch(members.inputs, members.labels, members.ids, logits, model, 0, 0.5, inside)
        )
        assert low - 1e-6 <= penalty.item() <= high + 1e-6
        for gradient in torch.autograd.grad(penalty, (logits, inside)):
            assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("mode", MODES)
def test_going_on_from_a_saved_state_equals_never_stopping(mode):
    model, members = network(0), toy(0)[0]
    straight = prepared(attacker=mode)
    for step in range(2):
        straight.penalty(batch(model, members, step))
    resumed = prepared(attacker=mode)
    resumed.load_state_(straight.state())
    for step in range(2, 4):
        one, two = (d.penalty(batch(model, members, step)) for d in (straight, resumed))
        assert torch.equal(one, two)


def test_both_are_as_many_attackers():
    seen = batch(network(0), toy(0)[0], 0)
    shapes = {mode: says(prepared(attacker=mode), seen).shape for mode in ("neural", *MODES)}
    assert shapes == {"neural": (1, 100), "white-box": (1, 100), "both": (2, 100)}


def test_the_first_of_both_is_the_black_box_one():
    seen = batch(network(0), toy(0)[0], 0)
    both, alone = (says(prepared(attacker=mode), seen) for mode in ("both", "neural"))
    assert torch.equal(both[0], alone[0])


def test_features_are_what_the_last_layer_is_given():
    model, rows = network(0), toy(0)[0]
    logits, features = call_with_features(model, rows.inputs)
    assert torch.equal(logits, model(rows.inputs))
    assert torch.equal(features, model[:2](rows.inputs))
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_model_without_layers_says_so():
    with pytest.raises(ModelError, match="no last features"):
        call_with_features(nn.Identity(), torch.ones(2, 3))
    with pytest.raises(ModelError, match="no last features"):
        call_with_features(lambda x: x, torch.ones(2, 3))


def test_features_must_be_there():
    seen = batch(network(0), toy(0)[0], 0)
    with pytest.raises(ConfigError, match="needs the batch's features"):
        prepared(attacker="white-box").attacker_logits(seen.logits, seen.labels)


def test_an_unknown_attacker_is_refused():
    with pytest.raises(ConfigError, match="expected one of neural, white-box, both"):
        DEFENSES.build({"adversarial": {"attacker": "gray-box"}}, where="test")


@pytest.mark.parametrize("mode", ["neural", *MODES])
def test_a_trainer_gives_it_what_it_needs(mode):
    members, reference, _ = toy(0)
    config = TrainConfig(epochs=2, batch_size=20, lr=0.05, precision="32-true")
    defense = AdversarialTraining(attacker=mode, start=0.0)
    trainer = Trainer(
        nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, CLASSES)),
        members,
        config,
        seed=0,
        engine=EngineConfig(accelerator="cpu"),
        defenses=[defense],
        reference=reference,
    )
    done = trainer.train(trainer.start(), trainer.total_steps)
    assert done.step == 10
    assert done.defenses["adversarial"]["step.0"].item() == 10
