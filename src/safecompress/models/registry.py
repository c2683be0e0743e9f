"""`MODELS`: the model families a configuration can name, each added below its factory."""

from __future__ import annotations

from torch import nn

from safecompress.registry import Registry

MODELS: Registry[nn.Module] = Registry(
    "model", "safecompress.models", nn.Module, given=("input_shape", "classes")
)
