"""ADMM: it converges, keeps the budget exactly, settles ties, and resumes; and min-max joins in."""

from __future__ import annotations

import pytest
import torch

from safecompress.candidate import Candidate
from safecompress.config import SparseConfig
from safecompress.defenses import Admm, Scope, support
from safecompress.defenses.support import largest
from safecompress.errors import ConfigError
from safecompress.files import read_tensors, write_tensors
from safecompress.protocols import Batch, TrainingContext
from safecompress.sparse import layer_counts
from safecompress.topology import maskable_parameters
from tests.defended import (
    CLASSES,
    MEMBERS,
    STEPS,
    WIDTH,
    built,
    loss_gap,
    network,
    toy,
    trained,
    trainer,
)

BOTH = pytest.mark.parametrize("scope", ["global", "layer"])


def settings(**admm) -> SparseConfig:
    options = {"rounds": 8, "rho": 0.02, "growth": 2.0} | admm
    return SparseConfig(density=0.1, admm=options)


def admm_trained(seed: int, scope: Scope) -> Candidate:
    """Return the toy's dense model, trained on by ADMM."""
    made = trainer(seed, [Admm(settings(), scope=scope)])
    made._module.load_state_dict(dict(trained(seed).weights))
    return made.train(made.start(), STEPS)


@BOTH
@pytest.mark.parametrize("seed", [0, 1])
def test_the_primal_residual_falls_to_a_tenth(scope, seed) -> None:
    candidate = admm_trained(seed, scope)
    residuals = candidate.defenses["admm"]["residuals"]
    assert len(residuals) == 8
    assert residuals[-1] <= 0.1 * residuals[0]


@BOTH
def test_what_it_keeps_is_the_budget_exactly(scope) -> None:
    kept = support(admm_trained(0, scope).defenses["admm"])
    shapes = {n: tuple(p.shape) for n, p in maskable_parameters(network(0)).items()}
    assert kept.nonzeros == round(0.1 * kept.total)
    if scope == "layer":
        assert kept.layer_counts() == layer_counts(shapes, 0.1, "erk")


@BOTH
def test_the_weights_have_moved_onto_what_is_kept(scope) -> None:
    candidate = admm_trained(0, scope)
    kept = support(candidate.defenses["admm"])
    within = sum(float(candidate.weights[n][m].square().sum()) for n, m in kept.masks.items())
    whole = sum(float(candidate.weights[n].square().sum()) for n in kept.masks)
    assert within > 0.99 * whole


@BOTH
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_equal_magnitudes_are_settled_and_the_budget_still_met(scope, value) -> None:
    tied = {"a": torch.full((10, 10), value), "b": -torch.full((5, 4), value)}
    kept = [
        largest(weights, settings(), scope=scope, density=0.25)
        for weights in (tied, {"b": tied["b"], "a": tied["a"]})
    ]
    assert kept[0].nonzeros == 30
    assert all(torch.equal(kept[0].masks[n], kept[1].masks[n]) for n in tied)


def test_the_projection_is_the_nearest_point_that_keeps_the_budget() -> None:
    source = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(3, 4, generator=source), "b": torch.randn(2, 3, generator=source)}
    sparse = SparseConfig(density=0.5, distribution="uniform")
    kept = largest(weights, sparse, scope="layer", density=0.5)
    for name, w in weights.items():
        least = w.abs().flatten().sort().values[: w.numel() // 2].square().sum()
        assert w[~kept.masks[name]].square().sum().item() == pytest.approx(float(least))


def test_one_round_by_hand() -> None:
    """Z keeps the largest of W + U, U takes up W − Z, scaled where ρ grows."""
    sparse = settings(rho=0.5, growth=2.0)
    defense, module = Admm(sparse), network(0)
    defense.prepare_(TrainingContext(CLASSES, STEPS, 0, None, module=module))
    before = {n: p.detach().clone() for n, p in maskable_parameters(module).items()}
    with torch.no_grad():
        for parameter in maskable_parameters(module).values():
            # The last layer's are larger: both layers keep some of their own accord.
            parameter.mul_(-0.7 if parameter.shape[1] == WIDTH else 2.0).add_(0.01)
    rows = toy(0)["members"]
    defense.after_step_(Batch(rows.inputs, rows.labels, rows.ids, rows.inputs, module, 9, 0.1))
    state = defense.state()
    weights = {n: p.detach() for n, p in maskable_parameters(module).items()}
    cut = torch.cat([w.abs().flatten() for w in weights.values()]).sort(descending=True).values
    kept = round(0.1 * len(cut))
    distance = 0.0
    for name, w in weights.items():
        copy = torch.where(w.abs() >= cut[kept - 1], w, torch.zeros_like(w))
        assert torch.equal(state[f"copy.{name}"], copy)
        assert torch.allclose(state[f"dual.{name}"], (w - copy) / 2)
        distance += float((w - copy).double().square().sum())
        assert not torch.equal(before[name], w)
    assert float(defense.residuals[0]) == pytest.approx(distance**0.5)
    expected = sum(
        0.5 * 1.0 * (w - state[f"copy.{n}"] + state[f"dual.{n}"]).square().sum()
        for n, w in weights.items()
    )
    penalty = defense.penalty(Batch(rows.inputs, rows.labels, rows.ids, rows.inputs, module, 10, 0))
    assert float(penalty.detach()) == pytest.approx(float(expected))


@pytest.mark.parametrize("steps", [1, 37, 79])
def test_stopping_and_resuming_changes_no_bit(steps, tmp_path) -> None:
    whole = admm_trained(0, "global")
    made = trainer(0, [Admm(settings())])
    made._module.load_state_dict(dict(trained(0).weights))
    part = made.train(made.start(), steps)
    write_tensors(tmp_path / "part.safetensors", part.tensors())
    back = Candidate.from_tensors(read_tensors(tmp_path / "part.safetensors"), part.settings())
    resumed = trainer(0, [Admm(settings())]).train(back, STEPS - steps)
    assert all(torch.equal(v, resumed.tensors()[k]) for k, v in whole.tensors().items())


def test_with_min_max_in_its_steps_members_stand_out_less() -> None:
    """The joint variant: the attacker's bounded gain beside the pull towards the mask."""

    def gap(seed, *others) -> float:
        made = trainer(
            seed,
            [*map(built, others), Admm(settings(growth=1.5))],
            batch_size=MEMBERS,
            epochs=150,
            optimizer="adamw",
            lr=0.01,
        )
        return loss_gap(made.train(made.start(), made.total_steps), seed)

    joint = {"adversarial": {"weight": 10.0, "start": 0.0, "attacker_steps": 3}}
    seeds = range(3)
    assert sum(gap(s, joint) for s in seeds) < 0.8 * sum(map(gap, seeds))


def test_more_rounds_than_steps_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"sparse\.admm\.rounds is 500"):
        trainer(0, [Admm(settings(rounds=500))])


def test_without_a_module_it_says_so() -> None:
    with pytest.raises(ConfigError, match="gave no module"):
        Admm(settings()).prepare_(TrainingContext(CLASSES, STEPS, 0, None))
