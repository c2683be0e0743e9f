"""Hand-worked updates, ties between parameters, defaults, names and errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from safecompress.candidate import Candidate
from safecompress.config import SparseConfig
from safecompress.errors import ConfigError, ModelError, NonFiniteError
from safecompress.proposals import PROPOSALS, Strategy, rigl, set_, update
from safecompress.protocols import ProposalContext
from safecompress.randomness import generator
from safecompress.sparse import DropRule, FractionPlan, GrowRule, Layer, initialize, rewire
from safecompress.sparse.drop import MagnitudeDrop
from safecompress.sparse.grow import RandomGrow
from safecompress.topology import Topology
from tests.sparse_candidates import SHAPES, candidate, context, exchanged, exchanges, one_layer


def test_rigl_drops_the_smallest_weights_and_grows_the_largest_gradients():
    case = one_layer(
        [0.9, -0.1, 0.5, -0.7, 0.0, 0.0, 0.0, 0.0],
        # The largest gradients of all belong to existing weights, which cannot be grown.
        gradient=[9.0, 9.0, 9.0, 9.0, 0.01, -3.0, 0.2, 1.0],
    )
    assert exchanged(rigl(fraction=0.5), case) == ([1, 2], [5, 7])


def test_set_drops_the_same_share_of_each_sign():
    # Four positive and two negative weights; a third of each: positions 0 and 4, then the
    # smallest positives are all smaller than any negative weight.
    weight = [0.1, 0.2, 0.3, 0.4, -5.0, -6.0, 0.0, 0.0, 0.0]
    assert exchanged(set_(fraction=0.5), one_layer(weight))[0] == [0, 1, 4]
    by_magnitude = update(drop="magnitude", grow="random", fraction=0.5)
    assert exchanged(by_magnitude, one_layer(weight))[0] == [0, 1, 2]


def test_set_drops_the_smallest_positive_and_the_largest_negative():
    weight = [3.0, -1.0, 1.0, -4.0, 2.0, -2.0, -3.0, 4.0] + [0.0] * 8
    assert exchanged(set_(fraction=0.25), one_layer(weight))[0] == [1, 2]
    assert exchanged(set_(fraction=0.5), one_layer(weight))[0] == [1, 2, 4, 5]


@pytest.mark.parametrize("drop", ["set", "magnitude", "taylor"])
def test_grown_weights_that_are_still_zero_go_first(drop):
    parent, situation = one_layer([0.5, -0.5, 0.3, 0.0, 0.0, 0.0], gradient=[1.0] * 6)
    mask = torch.tensor([[True, True, True, True, False, False]])
    parent = parent.evolve(topology=Topology({"w": mask}))
    strategy = update(drop=drop, grow="random", fraction=0.25)
    assert exchanged(strategy, (parent, situation))[0] == [3]


def test_taylor_drops_the_smallest_product_of_weight_and_gradient():
    case = one_layer([0.1, -1.0, 2.0, -3.0, 0.0, 0.0], gradient=[-50.0, 4.0, 0.1, -0.5, 0.0, 1.0])
    assert exchanged(update(drop="taylor", grow="gradient", fraction=0.5), case) == ([2, 3], [4, 5])


def test_momentum_reads_the_dense_average_and_not_the_masked_buffer():
    case = one_layer(
        [1.0, 2.0, 0.0, 0.0, 0.0],
        average=[0.0, 0.0, 0.1, -0.9, 0.3],
        # A buffer that would lead to position 4, had anybody forgotten to mask it.
        momentum=[1.0, 1.0, 0.0, 0.0, 7.0],
        gradient=[0.0, 0.0, 9.0, 0.0, 0.0],
    )
    assert exchanged(update(drop="magnitude", grow="momentum", fraction=0.5), case) == ([0], [3])


def test_random_unfired_prefers_weights_that_never_existed():
    case = one_layer(
        [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0], ever=[1, 1, 1, 1, 1, 0, 1, 1, 0]
    )
    strategy = update(drop="magnitude", grow="random-unfired", fraction=0.5)
    assert exchanged(strategy, case)[1] == [5, 8]


def test_random_unfired_falls_back_to_other_missing_weights():
    case = one_layer(
        [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0], ever=[1, 1, 1, 1, 1, 0, 1, 1, 1]
    )
    strategy = update(drop="magnitude", grow="random-unfired", fraction=0.75)
    grown = exchanged(strategy, case)[1]
    assert 5 in grown
    assert len(grown) == 3


def two_layers() -> Candidate:
    small = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.0, 0.0, 0.0, 0.0]])
    large = small * 100
    return Candidate(
        weights={"small": small, "large": large},
        optimizer={},
        topology=Topology({"small": small != 0, "large": large != 0}),
        ever_active={},
    )


def test_threshold_divides_the_drops_by_one_threshold_for_all_layers():
    parent = two_layers()
    strategy = update(drop="threshold", grow="random", fraction=0.5)
    found = exchanges(parent, strategy(parent, ProposalContext(None, 0.0, 0)))
    # Four drops in all; the small layer would give four but keeps its last old weight.
    assert found["small"][0].flatten().nonzero().flatten().tolist() == [0, 1, 2]
    assert found["large"][0].flatten().nonzero().flatten().tolist() == [0]
    by_layer = update(drop="magnitude", grow="random", fraction=0.5)
    found = exchanges(parent, by_layer(parent, ProposalContext(None, 0.0, 0)))
    assert [int(d.sum()) for d, _ in found.values()] == [2, 2]


def test_a_dropped_weight_is_not_grown_at_once():
    # The dropped weight has by far the largest gradient.
    case = one_layer([0.1, 1.0, 0.0, 0.0], gradient=[99.0, 0.0, 0.5, 0.1])
    assert exchanged(rigl(fraction=0.5), case) == ([0], [2])


def test_few_free_places_bound_the_exchange():
    case = one_layer([1.0, 2.0, 3.0, 4.0, 5.0, 0.0], gradient=[1.0] * 6)
    assert exchanged(rigl(fraction=0.9), case) == ([0], [5])


class Tied(nn.Module):
    """An embedding that is also the output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 6)
        self.out.weight = self.embed.weight


def test_tied_weights_are_masked_once_and_stay_tied():
    module = Tied()
    topology = initialize(
        module, density=0.5, distribution="erk", method="magnitude-global", seed=0
    )
    assert set(topology.masks) == {"embed.weight"}
    assert topology.nonzeros == 12
    topology.apply_(module)
    parent = Candidate(weights=module.state_dict(), optimizer={}, topology=topology, ever_active={})
    child = update(drop="magnitude", grow="random")(parent, ProposalContext(None, 0.0, 0))
    assert child.weights["out.weight"] is child.weights["embed.weight"]
    fresh = Tied()
    fresh.load_state_dict(dict(child.weights))
    assert not bool(fresh.embed.weight[~child.topology.masks["embed.weight"]].any())


def test_normalization_and_biases_are_never_masked():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    topology = initialize(module, density=0.2, distribution="er", method="scratch", seed=0)
    assert set(topology.masks) == {"0.weight", "3.weight"}
    parent = Candidate(weights=module.state_dict(), optimizer={}, topology=topology, ever_active={})
    child = set_()(parent, ProposalContext(None, 0.0, 0))
    for name in set(parent.weights) - set(topology.masks):
        assert child.weights[name] is parent.weights[name]


def test_channels_last_weights_are_read_by_position_and_keep_their_format():
    parent = candidate({"conv.weight": (4, 3, 3, 3)})
    weights = {
        n: w.to(memory_format=torch.channels_last) if w.ndim == 4 else w
        for n, w in parent.weights.items()
    }
    other = parent.evolve(weights=weights)
    strategy = rigl()
    straight, turned = strategy(parent, context(parent)), strategy(other, context(other))
    assert torch.equal(straight.topology.masks["conv.weight"], turned.topology.masks["conv.weight"])
    assert torch.equal(straight.weights["conv.weight"], turned.weights["conv.weight"])


def test_the_candidate_carries_parameters_without_keeping_their_graph():
    parent = candidate()
    weights = {n: nn.Parameter(w) if n in SHAPES else w for n, w in parent.weights.items()}
    child = rigl()(parent.evolve(weights=weights), context(parent))
    assert not any(w.requires_grad for w in child.weights.values())


def test_the_fraction_follows_progress():
    parent = candidate({"w.weight": (20, 50)}, density=0.2)
    strategy = update(drop="magnitude", grow="random", fraction=0.4, fraction_end=0.1)

    def dropped(progress: float) -> int:
        child = strategy(parent, context(parent, progress=progress))
        return int(exchanges(parent, child)["w.weight"][0].sum())

    assert [dropped(p) for p in (0.0, 0.5, 1.0)] == [80, 50, 20]


def test_defaults_come_from_the_configuration_and_keep_the_name():
    sparse = SparseConfig(density=0.1, fraction=0.2, fraction_end=0.02, fraction_schedule="linear")
    assert rigl().with_defaults(sparse).plan == FractionPlan(0.2, 0.02, "linear")
    assert rigl().with_defaults(sparse).name == "rigl"
    explicit = rigl(fraction=0.1, schedule="constant").with_defaults(sparse)
    assert explicit.plan == FractionPlan(0.1, 0.02, "constant")
    assert rigl(fraction=0.01).with_defaults(sparse).plan.end == 0.01


def test_built_in_defaults_are_those_of_the_configuration():
    assert rigl().with_defaults(SparseConfig(density=0.1)) == rigl()


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ("set", "set"),
        ("rigl", "rigl"),
        ("keep", "keep"),
        ({"update": {"drop": "set", "grow": "random"}}, "set"),
        ({"update": {"drop": "magnitude", "grow": "random-unfired"}}, "magnitude+random-unfired"),
        ({"rigl": {"fraction": 0.1}}, "rigl f=0.1"),
        ({"set": {"fraction_end": 0.0, "schedule": "linear", "updates": 3}}, "set end=0 linear x3"),
    ],
)
def test_names(request_, name):
    assert PROPOSALS.build(request_, where="steer.proposals[0]").name == name


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ("rigel", "did you mean 'rigl'"),
        ("update", "missing 2 required"),
        ({"update": {"drop": "magnitud", "grow": "random"}}, "did you mean 'magnitude'"),
        ({"update": {"drop": "set", "grow": "gradients"}}, "did you mean 'gradient'"),
        ({"rigl": {"fraction": 1.0}}, r"fraction is 1.0; expected a number in \(0, 1\)"),
        ({"rigl": {"fraction": "much"}}, "fraction is 'much'|refused"),
        ({"rigl": {"fraction": True}}, "fraction is True"),
        ({"rigl": {"fraction": float("nan")}}, "fraction is nan"),
        ({"rigl": {"fraction_end": 1.0}}, "fraction_end is 1.0"),
        ({"rigl": {"schedule": "cosin"}}, "did you mean 'cosine'"),
        ({"set": {"updates": 0}}, "updates is 0"),
        ({"set": {"drop": "set"}}, "unknown option 'drop'"),
    ],
)
def test_bad_requests_name_the_place_and_the_remedy(request_, words):
    with pytest.raises(ConfigError, match=words) as caught:
        PROPOSALS.build(request_, where="steer.proposals[0]")
    assert str(caught.value).startswith("steer.proposals[0]")


def test_missing_gradients_and_averages_are_named():
    parent = candidate()
    with pytest.raises(ConfigError, match=r"rigl: 'first.weight' has no gradient; pass dense"):
        rigl()(parent, ProposalContext(None, 0.0, 0))
    partial = {n: g for n, g in context(parent).gradient.items() if n != "third.weight"}
    with pytest.raises(ConfigError, match=r"'third.weight' has no gradient"):
        rigl()(parent, ProposalContext(partial, 0.0, 0))
    with pytest.raises(ConfigError, match=r"no moving average; train with track_moving_average"):
        update(drop="set", grow="momentum")(parent.evolve(moving_average={}), context(parent))
    wrong = {n: g.flatten() for n, g in context(parent).gradient.items()}
    with pytest.raises(ConfigError, match=r"the gradient has shape \(216,\), the weight"):
        rigl()(parent, ProposalContext(wrong, 0.0, 0))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_diverged_gradients_discard_the_candidate(bad):
    parent, situation = candidate(), context(candidate())
    gradient = {n: torch.full_like(g, bad) for n, g in situation.gradient.items()}
    with pytest.raises(NonFiniteError, match=r"scores of rule 'gradient' are NaN or infinite"):
        rigl()(parent, replace(situation, gradient=gradient))


def test_a_topology_of_another_model_is_refused():
    parent = candidate()
    shapes = {n: w for n, w in parent.weights.items() if n != "first.weight"}
    with pytest.raises(ModelError, match=r"'first.weight' has a mask .* but no such weight"):
        set_()(parent.evolve(weights=shapes), context(parent))
    shapes["first.weight"] = torch.zeros(2, 2)
    with pytest.raises(ModelError, match=r"but one of shape \(2, 2\)"):
        set_()(parent.evolve(weights=shapes), context(parent))


def test_rewire_refuses_other_masks():
    parent = candidate()
    masks = dict(parent.topology.masks)
    with pytest.raises(ModelError, match="mine: the new masks differ"):
        rewire(parent, masks | {"extra": torch.ones(2, 2).bool()}, proposal="mine")
    with pytest.raises(ModelError, match="mine: the new masks differ"):
        rewire(parent, masks | {"third.weight": torch.ones(2, 2).bool()}, proposal="mine")


@dataclass(frozen=True)
class LastGrow(GrowRule):
    """A rule of somebody else's: grows the last missing weights, by integer scores."""

    name: ClassVar[str] = "last"

    def score(self, layer: Layer) -> Tensor:
        """Return positions."""
        return torch.arange(layer.weight.numel()).reshape(layer.weight.shape)


@dataclass(frozen=True)
class FlatDrop(DropRule):
    """A broken rule: scores of the wrong shape."""

    name: ClassVar[str] = "flat"

    def score(self, layer: Layer) -> Tensor:
        """Return flat scores."""
        return layer.weight.flatten()


@dataclass(frozen=True)
class RandomDrop(DropRule):
    """Another one: drops at random."""

    name: ClassVar[str] = "random"

    def score(self, layer: Layer) -> Tensor:
        """Return uniform random numbers."""
        return torch.rand(layer.weight.shape, generator=layer.generator)


def test_dropping_and_growing_draw_different_numbers():
    # Otherwise a random drop and a random growth would be one choice, not two.
    case = one_layer([1.0, 0.0] * 20)
    situation = case[1]
    dropped, grown = exchanged(Strategy(RandomDrop(), RandomGrow(), fraction=0.5), case)
    same = torch.rand(1, 40, generator=generator(situation.seed, "grow", "w"))
    order = same.flatten().argsort().tolist()
    assert grown == sorted([i for i in reversed(order) if i % 2][:10])
    assert dropped != sorted([i for i in order if i % 2 == 0][:10])


def test_other_peoples_rules_work_and_broken_ones_are_named():
    case = one_layer([1.0, 2.0, 0.0, 0.0, 0.0])
    assert exchanged(Strategy(MagnitudeDrop(), LastGrow(), fraction=0.5), case) == ([0], [4])
    assert Strategy(MagnitudeDrop(), LastGrow()).name == "magnitude+last"
    with pytest.raises(ConfigError, match=r"rule 'flat' returned scores of shape \(5,\) for 'w'"):
        Strategy(FlatDrop(), RandomGrow(), fraction=0.5)(*case)
