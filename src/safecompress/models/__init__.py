"""Families of plain `nn.Module`s, models by import path, and one way to call any of them."""

from __future__ import annotations

from safecompress.models.registry import MODELS

# Importing a module adds its families, so this is the order in which they are listed.
# isort: off
from safecompress.models import (
    mlp as mlp,
    alexnet as alexnet,
    vgg as vgg,
    resnet as resnet,
    text as text,
)

# isort: on
from safecompress.models.adapt import adapt, call
from safecompress.models.build import build_model, check_model
from safecompress.models.channels import channel_groups, few_inputs, require_channel_groups
from safecompress.models.weights import fresh_weights, load_weights_

__all__ = [
    "MODELS",
    "adapt",
    "build_model",
    "call",
    "channel_groups",
    "check_model",
    "few_inputs",
    "fresh_weights",
    "load_weights_",
    "require_channel_groups",
]
