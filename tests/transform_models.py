"""Models of every family, and candidates of them, for the tests of transforms."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from safecompress.candidate import Candidate
from safecompress.models import MODELS
from safecompress.protocols import ProposalContext
from safecompress.sparse import initialize
from safecompress.transforms import attach_

FAMILIES = {
    "mlp": ({"hidden": [40, 24], "batch_norm": True}, (3, 8, 8)),
    "mlp-gelu": ({"hidden": [40, 24], "activation": "gelu", "dropout": 0.2}, (12,)),
    "alexnet": ({"width": 0.25}, (3, 32, 32)),
    "vgg-small": ({"width": 0.5}, (3, 32, 32)),
    "vgg-c": ({"width": 0.125}, (3, 32, 32)),
    "resnet8": ({}, (3, 32, 32)),
    "resnet18": ({"width": 0.25}, (3, 32, 32)),
}
each_family = pytest.mark.parametrize("family", list(FAMILIES))


def built(family):
    options, shape = FAMILIES[family]
    torch.manual_seed(0)
    name = family.removesuffix("-gelu")
    module = MODELS.build({name: {"input_shape": shape, "classes": 5, **options}}, where="test")
    # Trained normalization: fresh running statistics would hide a channel that was mixed up.
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            nn.init.normal_(layer.weight, 1.0, 0.1)
            nn.init.normal_(layer.bias, 0.0, 0.1)
    return module, torch.randn(8, *shape)


def sparse_candidate(module, density=0.2):
    """Return a candidate under a random mask, and a context for it."""
    weights = {k: v.detach().clone() for k, v in module.state_dict().items()}
    topology = initialize(
        module, density=density, distribution="uniform", method="magnitude-layer", seed=0
    )
    topology.apply_to_tensors_(weights)
    return Candidate(weights, {}, topology, {n: m.clone() for n, m in topology.masks.items()})


def context(child, groups, seed=0):
    g = torch.Generator().manual_seed(seed)
    gradient = {n: torch.randn(m.shape, generator=g) for n, m in child.topology.masks.items()}
    return ProposalContext(gradient, 0.0, seed, groups)


def held(module, child):
    live = copy.deepcopy(module)
    live.load_state_dict(child.shown())
    attach_(live, child.transforms)
    return live.eval()
