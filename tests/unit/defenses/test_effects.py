"""What every defense does to training: nothing at weight 0, and it defends."""

from __future__ import annotations

import statistics

import pytest
import torch

from safecompress.defenses import DEFENSES
from safecompress.errors import ConfigError
from safecompress.transforms import Transforms
from tests.defended import (
    ON,
    STEPS,
    built,
    loss_auc,
    loss_gap,
    losses,
    network,
    sparse_topology,
    toy,
    trained,
    trainer,
)

OFF = {
    "adversarial": {"weight": 0.0},
    "label-smoothing": {"share": 0.0},
    "entropy": {"weight": 0.0},
    "relax-loss": {"target": 0.0},
    "ppb": {"weight": 0.0},
    "hamp": {"entropy": 0.0, "weight": 0.0},
    "past": {"weight": 0.0},
    "wemem": {"window": 1.0, "weight": 0.0},
    "dropout": {"rate": 0.0},
    "early-stopping": {"looks": 0},
    "distillation": {"share": 0.0},
    "unpairing": {"weight": 0.0, "alpha": 0.0},
}
HIDING = [name for name in ON if name != "unpairing"]
"""What hides members; unpairing hides a parent model, and has laws of its own."""

SEEDS = range(4)
FLATTENING = ("label-smoothing", "entropy", "hamp", "ppb")
"""They make outputs flatter; whether that hides members is another question."""


def test_the_tables_name_every_defense() -> None:
    assert set(ON) == set(DEFENSES.parts)
    assert set(OFF) == set(DEFENSES.parts) - {"dp-sgd"}


@pytest.mark.parametrize("name", DEFENSES.parts)
def test_it_says_what_it_is_and_what_becomes_of_dense_weights(name) -> None:
    part = DEFENSES.parts[name]
    assert part.summary
    assert part.reference
    assert any(word in part.cost for word in ("inherits", "anew", "new dense"))
    assert DEFENSES.build(name, where="test").name == name


@pytest.mark.parametrize("name", OFF)
def test_at_weight_zero_training_is_the_same_bit_for_bit(name) -> None:
    plain, off = trained(0), trained(0, name, tuple(OFF[name].items()))
    assert all(torch.equal(plain.weights[k], v) for k, v in off.weights.items())


@pytest.mark.parametrize("name", [name for name in ON if name != "dp-sgd"])
def test_it_works_in_mixed_precision(name) -> None:
    exact, mixed = (
        trainer(0, [built({name: ON[name]})], precision=p) for p in ("32-true", "bf16-mixed")
    )
    first, second = (losses(t.train(t.start(), 3), toy(0)["validation"]) for t in (exact, mixed))
    assert (first - second).abs().mean() < 0.1 * first.mean()


@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_stopped_early_a_candidate_ends_as_it_served_unseen_rows_best(masked, bits) -> None:
    made = trainer(0, [built({"early-stopping": {"looks": 20}})])
    start = made.start(sparse_topology(network(0)) if masked else None)
    candidate = made.train(start.evolve(transforms=Transforms(bits)), STEPS)
    said = made.outputs(candidate, toy(0)["validation"])
    loss = torch.nn.functional.cross_entropy(said.logits.double(), said.labels)
    assert float(loss) == pytest.approx(float(candidate.defenses["early-stopping"]["loss"]))


def over_seeds(figure, name="") -> float:
    options = tuple(ON[name].items()) if name else ()
    return statistics.fmean(figure(trained(s, name, options), s) for s in SEEDS)


@pytest.mark.parametrize("name", HIDING)
def test_on_a_toy_that_overfits_the_gap_between_members_and_others_is_smaller(name) -> None:
    bare = over_seeds(loss_gap)
    assert bare > 0.9
    assert over_seeds(loss_gap, name) < 0.9 * bare


@pytest.mark.parametrize("name", [name for name in HIDING if name not in FLATTENING])
def test_on_a_toy_that_overfits_members_are_harder_to_tell(name) -> None:
    bare = over_seeds(loss_auc)
    assert bare > 0.68
    assert over_seeds(loss_auc, name) < bare - 0.01


@pytest.mark.parametrize("name", ["label-smoothing", "entropy", "hamp"])
def test_flatter_outputs_alone_do_not_hide_members(name) -> None:
    """The trap: the gap shrinks several times, and whoever ranks rows by loss finds as many."""
    assert over_seeds(loss_gap, name) < 0.5 * over_seeds(loss_gap)
    assert over_seeds(loss_auc, name) > over_seeds(loss_auc) - 0.02


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"label-smoothing": {"share": 1.5}}, "share is 1.5"),
        ({"entropy": {"weight": -1}}, "weight is -1"),
        ({"entropy": {"rows": "some"}}, "rows is 'some'"),
        ({"relax-loss": {"target": float("nan")}}, "target is nan"),
        ({"ppb": {"weight": float("inf")}}, "weight is inf"),
        ({"hamp": {"entropy": 1.0}}, "entropy is 1.0"),
        ({"past": {"weight": -1.0}}, "weight is -1.0"),
        ({"wemem": {"window": 0.0}}, "window is 0.0"),
        ({"wemem": {"windows": 0}}, "windows is 0"),
        ({"wemem": {"order": "any"}}, "order is 'any'"),
        ({"dropout": {"rate": 1.0}}, "rate is 1.0"),
        ({"early-stopping": {"looks": -1}}, "looks is -1"),
        ({"distillation": {"temperature": 0.0}}, "temperature is 0.0"),
        ({"distillation": {"rows": "others"}}, "rows is 'others'"),
        ({"dp-sgd": {"clip": 0.0}}, "clip is 0.0"),
        ({"dp-sgd": {"delta": 1.0}}, "delta is 1.0"),
        ({"ppb": {"wieght": 1}}, "did you mean 'weight'"),
    ],
)
def test_bad_options_are_refused_with_what_was_expected(request_, message) -> None:
    with pytest.raises(ConfigError, match=message):
        built(request_)
