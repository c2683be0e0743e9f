"""The models whose files the benchmarks of exports measure: random weights under random masks.

A model whose name ends in `-half` has lost half the channels of every group that can lose any.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from safecompress.candidate import Candidate
from safecompress.export import ExportContext
from safecompress.models import MODELS, channel_groups
from safecompress.proposals import without_channels
from safecompress.sparse import initialize
from safecompress.topology import Topology
from safecompress.transforms import remove_channels

CLASSES = 100
CALIBRATION = 64
HALF = "-half"


@dataclass(frozen=True)
class Net:
    """A model of the benchmark; one with words takes their numbers instead of real numbers."""

    family: str
    input_shape: tuple[int, ...]
    options: dict[str, Any]
    words: int = 0

    def rows(self, n: int) -> torch.Tensor:
        """Return random rows."""
        if self.words:
            return torch.randint(self.words, (n, *self.input_shape))
        return torch.randn(n, *self.input_shape)


class Transformer(nn.Module):
    """A table of word vectors, two encoder layers, and a linear layer over their mean."""

    def __init__(self, words: int, *, width: int, classes: int = CLASSES) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(words, width), nn.Linear(width, classes)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return logits (n, classes) of words (n, length)."""
        return self.out(self.encoder(self.table(ids)).mean(dim=1))


IMAGE = (3, 32, 32)
NETS = {
    "mlp": Net("mlp", (600,), {"hidden": [1024, 512, 256]}),
    "alexnet": Net("alexnet", IMAGE, {}),
    "vgg16": Net("vgg16", IMAGE, {}),
    "resnet18": Net("resnet18", IMAGE, {}),
    "transformer": Net("", (32,), {"width": 128}, words=20_000),
    "minilm": Net("hugging_face", (20,), {"folder": "${MINILM}", "start": "nothing"}, words=30_522),
}
"""Of MiniLM the architecture, from the folder that the environment variable MINILM names."""
MODELS_MEASURED = [*NETS, *(f"{name}{HALF}" for name, net in NETS.items() if not net.words)]


def _strong_(module: nn.Module, topology: Topology) -> None:
    """Draw weights that keep the variance of activations under the masks, and random statistics."""
    with torch.no_grad():
        for parameter, mask in topology.bind(module):
            fan_in = parameter[0].numel() * float(mask.float().mean())
            parameter.normal_(0, math.sqrt(2 / max(fan_in, 1)))
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.1)
    topology.apply_(module)


def whole_model(net: Net) -> nn.Module:
    """Return an untrained model of the zoo."""
    torch.manual_seed(0)
    if net.words and not net.family:
        return Transformer(net.words, **net.options).eval()
    given = {k: os.path.expandvars(v) if k == "folder" else v for k, v in net.options.items()}
    options = {"input_shape": net.input_shape, "classes": CLASSES, **given}
    return MODELS.build({net.family: options}, where="artifact").eval()


def half_model(module: nn.Module, net: Net) -> nn.Module:
    """Return a model without half its channels."""
    weights = {name: t.detach().clone() for name, t in module.state_dict().items()}
    topology = Topology.dense(module)
    groups = channel_groups(module, torch.randn(2, *net.input_shape))
    whole = Candidate(weights, {}, topology, {n: m.clone() for n, m in topology.masks.items()})
    half = without_channels(whole, groups, share=0.5)
    module.load_state_dict(dict(half.weights))
    half.topology.apply_(module)
    return remove_channels(module, half.transforms.channels).eval()


def sparse_model(name: str, zeros: float) -> tuple[nn.Module, Topology]:
    """Return a model with random weights and masks; layers keep the variance of dense ones."""
    net = NETS[name.removesuffix(HALF)]
    module = whole_model(net)
    kept = (1 - zeros) * sum(m.numel() for m in Topology.dense(module).masks.values())
    if name.endswith(HALF):
        module = half_model(module, net)
    left = sum(m.numel() for m in Topology.dense(module).masks.values())
    density = min(1.0, kept / left)
    topology = initialize(module, density=density, distribution="erk", method="scratch", seed=0)
    _strong_(module, topology)
    return module, topology


def context_of(name: str, zeros: float) -> tuple[ExportContext, torch.Tensor]:
    """Return the export context of a model, with random rows that fix its ranges."""
    module, topology = sparse_model(name, zeros)
    members = NETS[name.removesuffix(HALF)].rows(CALIBRATION)
    return ExportContext.of(module, topology, members), members
