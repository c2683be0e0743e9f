"""What the neural attacks are made of, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from safecompress.attacks import ATTACKS
from safecompress.attacks.contract import synthetic_outputs
from safecompress.attacks.features import feature_count, features
from safecompress.attacks.neural import NeuralAttack
from safecompress.attacks.neural_published import PublishedNetwork, PublishedNeuralAttack
from safecompress.errors import ConfigError
from safecompress.protocols import Evidence, Pool


def halves(pool):
    return pool.map(lambda e: torch.arange(len(e.outputs)) < len(e.outputs) // 2)


def groups(members: int, nonmembers: int, *, classes: int = 3) -> Pool[Evidence]:
    return Pool(
        Evidence(synthetic_outputs(members, classes=classes, seed=1)),
        Evidence(synthetic_outputs(nonmembers, classes=classes, seed=2)),
    )


@pytest.mark.parametrize("classes", [1, 2, 3, 50])
def test_features_are_finite_sorted_and_as_many_as_announced(classes):
    logits = torch.randn(40, classes) * 1e4
    seen = features(logits, torch.zeros(40, dtype=torch.long), top=5)
    assert seen.shape == (40, feature_count(classes, top=5)) == (40, min(5, classes) + 7)
    assert bool(torch.isfinite(seen).all())
    ranked = seen[:, : min(5, classes)]
    assert bool((ranked.diff(dim=1) <= 0).all())


def test_features_do_not_say_which_class_it_is():
    logits = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.arange(30) % 6
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    moved = features(logits[:, order], torch.argsort(order)[labels], top=6)
    torch.testing.assert_close(moved, features(logits, labels, top=6))


@pytest.mark.parametrize(("members", "nonmembers"), [(2, 2), (2, 40), (9, 3), (60, 7)])
def test_small_and_uneven_groups_are_scored(members, nonmembers):
    for attack in (NeuralAttack(), PublishedNeuralAttack(epochs=1)):
        pool = groups(members, nonmembers)
        result = attack(pool, halves=halves(pool), seed=0)
        assert bool(torch.isfinite(result.scores.members).all())
        assert len(result.scores.nonmembers) == nonmembers - nonmembers // 2


@pytest.mark.parametrize("attack", [NeuralAttack(), PublishedNeuralAttack(epochs=1)], ids=repr)
def test_learning_works_where_gradients_are_switched_off(attack):
    pool = groups(20, 20)
    plain = attack(pool, halves=halves(pool), seed=0).scores.members
    with torch.no_grad():
        again = attack(pool, halves=halves(pool), seed=0).scores.members
    assert torch.equal(plain, again)


def test_an_uneven_fit_half_does_not_tilt_the_guesses():
    pool = groups(1200, 150)
    result = NeuralAttack()(pool, halves=halves(pool), seed=0)
    said = torch.sigmoid(torch.cat([result.scores.members, result.scores.nonmembers]))
    # Without balance an attacker of 8:1 would say .89 of everybody.
    assert abs(float(said.mean()) - 0.5) < 0.15


def test_another_seed_gives_another_attacker():
    pool = groups(60, 60)
    one, two = (NeuralAttack()(pool, halves=halves(pool), seed=s).scores.members for s in (0, 1))
    assert not torch.equal(one, two)


def test_the_published_network_is_the_published_one():
    network = PublishedNetwork(30)
    widths = [
        tuple(layer.weight.T.shape) for layer in network.modules() if isinstance(layer, nn.Linear)
    ]
    assert widths == [
        (30, 1024), (1024, 512), (512, 64), (30, 512), (512, 64), (128, 256), (256, 64), (64, 1),
    ]  # fmt: skip
    relus = sum(isinstance(layer, nn.ReLU) for layer in network.modules())
    assert relus == 7
    seen: list[torch.Tensor] = []
    network.prediction.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network.label.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    assert network(torch.randn(4, 30) * 9, torch.tensor([3, 1, 0, 29])).shape == (4,)
    torch.testing.assert_close(seen[0].sum(dim=1), torch.ones(4))
    assert seen[1].argmax(dim=1).tolist() == [3, 1, 0, 29]
    assert seen[1].sum().item() == 4


def test_the_published_settings_are_the_defaults():
    attack = PublishedNeuralAttack()
    assert (attack.epochs, attack.learning_rate) == (100, 1e-3)


def test_the_published_attack_shows_as_many_members_as_nonmembers(monkeypatch):
    shown = []

    def record(network, members, nonmembers):
        shown.append((len(members[0]), len(nonmembers[0])))
        return network(*members).sum()

    monkeypatch.setattr("safecompress.attacks.descent.balanced_loss", record)
    pool = groups(200, 40)
    PublishedNeuralAttack(epochs=1, batch_size=32, validation=0)(pool, halves=halves(pool), seed=0)
    assert shown == [(16, 16)] * 6 + [(4, 4)]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"neural": {"hidden": 0}}, "hidden is 0; expected at least 1"),
        ({"neural": {"kinks": 0}}, "kinks is 0; expected at least 1"),
        ({"neural": {"top": 0}}, "top is 0; expected at least 1"),
        ({"neural": {"steps": -1}}, "steps is -1; expected at least 0"),
        ({"neural": {"hiden": 3}}, "did you mean 'hidden'"),
        ({"neural-published": {"epochs": 0}}, "epochs is 0"),
        ({"neural-published": {"batch_size": 7}}, "batch_size is 7; expected an even number"),
        ({"neural-published": {"learning_rate": 2}}, "learning_rate is 2"),
        ({"neural-published": {"validation": 1}}, "validation is 1"),
    ],
)
def test_bad_options_are_refused_with_the_remedy(request_, message):
    with pytest.raises(ConfigError, match=message):
        ATTACKS.build(request_, where="steer.attacks[0]")
