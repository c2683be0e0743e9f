"""Distributions and first topologies: hand-worked tables, references, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from safecompress.config import ModelConfig
from safecompress.errors import ConfigError, ModelError, NonFiniteError
from safecompress.models import build_model
from safecompress.sparse import initialize, layer_counts, scale_to_mask_
from safecompress.topology import Topology
from tests.sparse_candidates import SHAPES, noise


def start(weights, density=0.5, method="magnitude-global", distribution="erk", seed=0):
    return initialize(weights, density=density, distribution=distribution, method=method, seed=seed)


def test_uniform_by_hand():
    shapes = {"a": (10, 10), "b": (20, 5, 3, 3), "c": (7, 7)}
    assert layer_counts(shapes, 0.1, "uniform") == {"a": 10, "b": 90, "c": 5}


def test_erk_by_hand():
    # Raw densities: a (20+10+3+3)/1800 = .02, b (10+40)/400 = .125; 220 of 2200 weights:
    # factor 220/(36+50) = 2.558 gives a 92.09 and b 127.91.
    shapes = {"a": (20, 10, 3, 3), "b": (10, 40)}
    assert layer_counts(shapes, 0.1, "erk") == {"a": 92, "b": 128}


def test_er_ignores_the_kernel():
    # Raw densities: a (20+10)/200 = .15, b .125; 220 = factor * (270 + 50).
    shapes = {"a": (20, 10, 3, 3), "b": (10, 40)}
    assert layer_counts(shapes, 0.1, "er") == {"a": 186, "b": 34}


def test_layers_above_one_are_dense_and_the_rest_is_scaled_up():
    # b would get factor 5000/(200+8) = 24 times its size; dense it takes 16, and a the rest.
    shapes = {"a": (100, 100), "b": (4, 4)}
    assert layer_counts(shapes, 0.5, "erk") == {"a": 4992, "b": 16}


def test_every_layer_keeps_a_weight():
    shapes = {"a": (300, 300), "b": (2, 2), "c": (1, 3)}
    assert layer_counts(shapes, 0.0001, "uniform") == {"a": 7, "b": 1, "c": 1}


@pytest.mark.parametrize("distribution", ["uniform", "er", "erk"])
def test_density_one_is_dense(distribution):
    assert layer_counts(SHAPES, 1.0, distribution) == {
        name: math.prod(shape) for name, shape in SHAPES.items()
    }


@pytest.mark.parametrize(
    ("shapes", "density", "distribution", "words"),
    [
        (SHAPES, 0.0, "erk", r"density is 0.0; expected a number in \(0, 1\]"),
        (SHAPES, 1.5, "erk", "density is 1.5"),
        (SHAPES, float("nan"), "erk", "density is nan"),
        (SHAPES, 0.5, "erdos", "distribution: 'erdos' is unknown"),
        (SHAPES, 0.001, "erk", "keeps 0 of 416 weights, but 3 layers .* density of at least 0.00"),
        ({}, 0.5, "erk", "no weights to mask"),
        ({"a": (0, 3)}, 0.5, "erk", "no weights to mask"),
    ],
)
def test_impossible_totals_are_refused(shapes, density, distribution, words):
    with pytest.raises(ConfigError, match=words):
        layer_counts(shapes, density, distribution)


def test_layers_without_weights_are_left_alone():
    assert layer_counts({"a": (0, 3), "b": (4, 4)}, 0.5, "erk") == {"a": 0, "b": 8}
    weights = {"a": torch.empty(0, 3), "b": noise((4, 4), 0)}
    for method in ("magnitude-global", "magnitude-layer", "scratch"):
        assert start(weights, method=method).layer_counts() == {"a": 0, "b": 8}


def test_magnitude_global_keeps_the_largest_of_the_network():
    weights = {name: noise(shape, 3, name) for name, shape in SHAPES.items()}
    topology = start(weights, 0.2)
    everything = np.concatenate([w.abs().flatten().numpy() for w in weights.values()])
    threshold = np.sort(everything)[-topology.nonzeros]
    for name, weight in weights.items():
        assert torch.equal(topology.masks[name], weight.abs() >= float(threshold))


def test_magnitude_layer_keeps_the_largest_of_each_layer():
    weights = {name: noise(shape, 3, name) for name, shape in SHAPES.items()}
    topology = start(weights, 0.2, "magnitude-layer")
    for name, kept in layer_counts(SHAPES, 0.2, "erk").items():
        magnitudes = weights[name].abs().flatten().numpy()
        best = np.argsort(-magnitudes)[:kept]
        assert set(topology.masks[name].flatten().nonzero().flatten().tolist()) == set(best)


def test_magnitude_global_never_empties_a_layer():
    weights = {"big": torch.full((10, 10), 5.0), "tiny": torch.tensor([[0.1, 0.3], [0.2, 0.0]])}
    topology = start(weights, 20 / 104)
    assert topology.layer_counts() == {"big": 19, "tiny": 1}
    assert topology.masks["tiny"].tolist() == [[False, True], [False, False]]


def test_scratch_ignores_the_weights_and_follows_the_seed():
    weights = {name: noise(shape, 3, name) for name, shape in SHAPES.items()}
    zeros = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    first, second = start(weights, method="scratch"), start(zeros, method="scratch")
    other = start(weights, method="scratch", seed=1)
    for name in SHAPES:
        assert torch.equal(first.masks[name], second.masks[name])
    assert any(not torch.equal(first.masks[n], other.masks[n]) for n in SHAPES)


def test_scratch_draws_different_masks_for_layers_of_one_shape():
    masks = start({"a": torch.zeros(8, 8), "b": torch.zeros(8, 8)}, method="scratch").masks
    assert not torch.equal(masks["a"], masks["b"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_floating_point_type(dtype):
    weights = {name: noise(shape, 3, name).to(dtype) for name, shape in SHAPES.items()}
    for method in ("magnitude-global", "magnitude-layer", "scratch"):
        assert start(weights, 0.25, method).nonzeros == 104


def test_the_weights_are_only_read():
    module = nn.Linear(8, 8)
    before = module.weight.detach().clone()
    topology = start(module, 0.25)
    assert set(topology.masks) == {"weight"}
    assert torch.equal(module.weight, before)


def test_what_cannot_be_masked_is_refused():
    with pytest.raises(ModelError, match=r"'bias' cannot be masked; .* maskable_parameters"):
        start({"w": noise((2, 2), 0), "bias": torch.zeros(2)})
    with pytest.raises(ModelError, match="'steps' cannot be masked"):
        start({"steps": torch.zeros(2, 2, dtype=torch.int64)})
    with pytest.raises(ConfigError, match="did you mean 'magnitude-global'"):
        start({"w": noise((2, 2), 0)}, method="magnitude-globl")
    for method in ("magnitude-global", "magnitude-layer"):
        with pytest.raises(NonFiniteError, match="'w' holds NaN or infinite weights"):
            start({"w": torch.tensor([[1.0, float("nan")]])}, method=method)


SCALED = {
    "linear": (nn.Linear(400, 60, bias=False), (512, 400)),
    "convolution": (nn.Conv2d(32, 24, 3, bias=False), (64, 32, 8, 8)),
    "grouped": (nn.Conv1d(64, 24, 3, groups=2, bias=False), (128, 64, 11)),
    "transposed": (nn.ConvTranspose2d(64, 12, 1, groups=2, bias=False), (64, 64, 6, 6)),
}


@pytest.mark.parametrize("name", SCALED)
def test_scaled_weights_give_every_output_the_variance_it_had(name):
    layer, shape = SCALED[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Equal magnitudes: outputs lose different shares only because of their number.
        layer.weight.data.normal_().sign_()
        x = torch.randn(shape)
        mask = torch.rand(layer.weight.shape) < 0.3
        dims = [0, *range(2, x.ndim)]
        before = layer(x).detach().var(dims)
        topology = Topology({"weight": mask})
        scale_to_mask_(layer, topology)
        topology.apply_(layer)
        after = layer(x).detach().var(dims)
    assert (after / before).log().abs().mean() < 0.1


def test_an_output_without_a_weight_and_a_table_of_rows_stay_finite_and_as_they_are():
    layer, table = nn.Linear(6, 3), nn.Embedding(5, 4)
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[0, :3] = True
    weights = layer.weight.detach().clone(), table.weight.detach().clone()
    scale_to_mask_(layer, Topology({"weight": mask}))
    scale_to_mask_(table, Topology({"weight": torch.rand(5, 4) < 0.5}))
    assert torch.allclose(layer.weight[0], weights[0][0] * math.sqrt(2))
    assert torch.isfinite(layer.weight).all()
    assert torch.equal(table.weight, weights[1])


@pytest.mark.parametrize("name", SCALED)
def test_weights_that_a_mask_chose_get_the_length_that_all_had(name):
    layer, _ = SCALED[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer.weight.data.normal_()
    weight = layer.weight.detach().clone()
    mask = weight.abs() > 1.0

    def lengths(w):
        if not isinstance(layer, nn.ConvTranspose2d):
            return w.flatten(1).norm(dim=1)
        return (
            w.reshape(layer.groups, -1, *w.shape[1:])
            .transpose(1, 2)
            .flatten(2)
            .norm(dim=2)
            .flatten()
        )

    topology = Topology({"weight": mask})
    scale_to_mask_(layer, topology, drawn=False)
    topology.apply_(layer)
    assert torch.allclose(lengths(layer.weight.detach()), lengths(weight), rtol=1e-5)
    # What the factor of drawn masks would make of them.
    assert (
        lengths(weight * mask) * math.sqrt(mask.numel() / mask.sum()) > 1.3 * lengths(weight)
    ).all()


def test_a_deep_sparse_network_tells_inputs_apart_before_it_is_trained():
    config = ModelConfig(name="alexnet", options={"width": 0.25})
    module = build_model(config, input_shape=(3, 32, 32), classes=10, seed=0).eval()
    topology = start(module, density=0.05, method="scratch")
    x = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def spread():
        with torch.no_grad():
            return module(x).std(dim=0).mean()

    dense = spread()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    topology.apply_(module)
    unscaled = spread()
    module.load_state_dict(state)
    scale_to_mask_(module, topology)
    topology.apply_(module)
    assert unscaled < 0.01 * dense
    assert spread() > 0.2 * dense
