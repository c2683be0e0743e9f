"""Published architectures as their packages make them, without weights or with a user's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from safecompress import Splits, splits_from_arrays
from tests.text_folders import labeled_texts

CLASSES, SIDE = 3, 32
MINILM, EFFICIENTNET_LITE0 = "MINILM", "EFFICIENTNET_LITE0"
"""Environment variables that name a folder with MiniLM and the file of EfficientNet-Lite0's
weights."""


@dataclass(frozen=True)
class Net:
    """A published architecture and what becomes of it.

    Args:
        name: as the documents call it, unique.
        make: makes the module, or skips the test where a package or a variable is missing.
        texts: whether its rows are texts instead of images.
        unfit: by format, a pattern of the one message with which an export refuses it.
        quick: whether it runs in `make test`, too.
    """

    name: str
    make: Callable[[], nn.Module]
    texts: bool = False
    unfit: Mapping[str, str] = field(default_factory=dict)
    quick: bool = False


def of_timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    """Return a callable that makes a model of timm for small images."""

    def make() -> nn.Module:
        # Where torchvision was built for another torch, its import raises a RuntimeError.
        try:
            import timm
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"needs timm, with the torchvision that fits torch: {error}")
        made: nn.Module = timm.create_model(name, num_classes=CLASSES, **options)
        return made

    return make


def variable(name: str) -> str:
    """Return the value of an environment variable, or skip the test."""
    if not (value := os.environ.get(name)):
        pytest.skip(f"needs a pretrained model: {name} is not set")
    return value


def minilm() -> nn.Module:
    """Return MiniLM with a new head."""
    pytest.importorskip("transformers", reason="needs the extra safecompress[transformers]")
    from safecompress.models import MODELS

    options = {"folder": variable(MINILM), "input_shape": (12,), "classes": 2}
    return MODELS.build({"hugging_face": options}, where="test")


def efficientnet_lite0() -> nn.Module:
    """Return EfficientNet-Lite0 as the recipe makes it."""
    weights = variable(EFFICIENTNET_LITE0)
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs efficientnet-lite-pytorch")
    from recipes.efficientnet_lite0 import pretrained

    return pretrained(classes=CLASSES, weights=weights, size=64)


NETS = (
    Net("MobileNetV3 (timm)", of_timm("mobilenetv3_small_050")),
    Net("EfficientNet (timm)", of_timm("test_efficientnet")),
    Net("ConvNeXt (timm)", of_timm("test_convnext")),
    Net("ViT (timm)", of_timm("test_vit", img_size=SIDE), quick=True),
    Net(
        "Swin (timm)",
        of_timm(
            "swin_tiny_patch4_window7_224",
            img_size=SIDE,
            window_size=4,
            embed_dim=24,
            depths=(1, 1),
            num_heads=(2, 4),
        ),
    ),
    Net("EfficientNet-Lite0, pretrained", efficientnet_lite0),
    Net("MiniLM, pretrained", minilm, texts=True),
)


@cache
def rows_of(*, texts: bool, n: int = 120) -> Splits:
    """Return a few rows that any of the nets takes."""
    if texts:
        given = {"tokenizer": variable(MINILM), "max_length": 12}
        return splits_from_arrays(*labeled_texts(n), preprocessing=given, seed=0)
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(n, 3, SIDE, SIDE, generator=draw)
    labels = images.mean(dim=(2, 3)).argmax(dim=1)
    return splits_from_arrays(images, labels, preprocessing={"features": "none"}, seed=0)
