"""`MODELS`: the model families that a configuration can name."""

from __future__ import annotations

from torch import nn

from safecompress.models.alexnet import AlexNet
from safecompress.models.mlp import MLP
from safecompress.models.resnet import resnet8, resnet18, resnet20
from safecompress.models.vgg import vgg16, vgg_c, vgg_small
from safecompress.registry import Registry

MODELS: Registry[nn.Module] = Registry(kind="model", group="safecompress.models")
"""Families by name; a factory is called with `input_shape=…`, `classes=…` and the options."""

_VGG = "Simonyan and Zisserman, ICLR 2015"
_RESNET = "He et al., CVPR 2016"

MODELS.add(
    "mlp",
    MLP,
    summary="linear layers for rows of features; flattens anything else",
    cost="446-512-256-30: 0.4 M weights",
)
MODELS.add(
    "alexnet",
    AlexNet,
    summary="five convolutions for small images; the cheapest image family",
    reference="Krizhevsky et al., NeurIPS 2012",
    cost="2.5 M weights",
)
MODELS.add(
    "vgg-small",
    vgg_small,
    summary="six convolutions with batch normalization",
    reference=_VGG,
    cost="0.3 M weights",
)
MODELS.add(
    "vgg16",
    vgg16,
    summary="13 convolutions with batch normalization and one linear layer",
    reference=_VGG,
    cost="14.7 M weights",
)
MODELS.add(
    "vgg-c",
    vgg_c,
    summary="configuration C with two linear layers of 512, as in the sparse-training literature",
    reference=_VGG,
    cost="10 M weights",
)
MODELS.add(
    "resnet8",
    resnet8,
    summary="three residual blocks of 16-32-64 channels",
    reference=_RESNET,
    cost="0.08 M weights",
)
MODELS.add(
    "resnet20",
    resnet20,
    summary="nine residual blocks of 16-32-64 channels",
    reference=_RESNET,
    cost="0.27 M weights",
)
MODELS.add(
    "resnet18",
    resnet18,
    summary="eight residual blocks of 64-128-256-512 channels with a stem for small images",
    reference=_RESNET,
    cost="11.2 M weights",
)
