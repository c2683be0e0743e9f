"""`VGG` for small images: convolutions with batch normalization, halved after each stage."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from safecompress.models.registry import MODELS
from safecompress.models.shapes import (
    require_classes,
    require_dropout,
    require_image,
    require_positive,
    widened,
)

_PUBLISHED = "Simonyan and Zisserman, ICLR 2015"

Stage = tuple[tuple[int, int], ...]
"""Convolutions of one resolution as (channels, kernel size)."""

VGG16: tuple[Stage, ...] = (
    ((64, 3),) * 2,
    ((128, 3),) * 2,
    ((256, 3),) * 3,
    ((512, 3),) * 3,
    ((512, 3),) * 3,
)
VGG_C: tuple[Stage, ...] = (
    ((64, 3),) * 2,
    ((128, 3),) * 2,
    ((256, 3), (256, 3), (256, 1)),
    ((512, 3), (512, 3), (512, 1)),
    ((512, 3), (512, 3), (512, 1)),
)
VGG_SMALL: tuple[Stage, ...] = (((32, 3),) * 2, ((64, 3),) * 2, ((128, 3),) * 2)


class VGG(nn.Module):
    """Convolution, normalization, ReLU; a pooling layer after each stage; linear layers at the end.

    Args:
        family: name for messages.
        stages: the convolutions of each resolution.
        linear: widths of the hidden linear layers.
        input_shape: (channels, height, width).
        side: smallest height and width in pixels that the stages can halve.
        classes: number of classes.
        width: multiplies the width of every layer, > 0.
        dropout: probability of dropping a feature before each linear layer, in [0, 1).

    Raises:
        ModelError: on a bad shape, number of classes or option.

    Reference: Simonyan and Zisserman, ICLR 2015, table 1.
    """

    def __init__(
        self,
        *,
        family: str,
        stages: Sequence[Stage],
        linear: Sequence[int],
        input_shape: Sequence[int],
        side: int,
        classes: int,
        width: float,
        dropout: float,
    ) -> None:
        super().__init__()
        require_classes(family, classes)
        require_positive(family, width=width)
        require_dropout(family, dropout)
        size = require_image(family, input_shape, side=side)
        layers: list[nn.Module] = []
        for stage in stages:
            for channels, kernel in stage:
                wide = widened(channels, width)
                layers += [
                    nn.Conv2d(size, wide, kernel, padding=kernel // 2, bias=False),
                    nn.BatchNorm2d(wide),
                    nn.ReLU(),
                ]
                size = wide
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        head: list[nn.Module] = []
        for channels in linear:
            wide = widened(channels, width)
            head += [
                nn.Dropout(dropout),
                nn.Linear(size, wide, bias=False),
                nn.BatchNorm1d(wide),
                nn.ReLU(),
            ]
            size = wide
        self.classifier = nn.Sequential(*head, nn.Dropout(dropout), nn.Linear(size, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (n, classes).

        Args:
            inputs: images, float (n, channels, height, width).
        """
        logits: Tensor = self.classifier(self.features(inputs))
        return logits


def vgg_small(
    *, input_shape: Sequence[int], classes: int, width: float = 1.0, dropout: float = 0.0
) -> VGG:
    """Return six convolutions (32-64-128) and one linear layer, 0.3 M weights.

    Args:
        input_shape: (channels, height, width), sides of at least 4 pixels.
        classes: number of classes, at least 2.
        width: multiplies the width of every layer, > 0.
        dropout: probability of dropping a feature before each linear layer, in [0, 1).

    Raises:
        ModelError: on a bad shape, number of classes or option.
    """
    return VGG(
        family="vgg-small",
        stages=VGG_SMALL,
        linear=(),
        input_shape=input_shape,
        side=4,
        classes=classes,
        width=width,
        dropout=dropout,
    )


MODELS.add(
    "vgg-small",
    vgg_small,
    summary="six convolutions with batch normalization",
    reference=_PUBLISHED,
    cost="0.3 M weights",
)


def vgg16(
    *, input_shape: Sequence[int], classes: int, width: float = 1.0, dropout: float = 0.0
) -> VGG:
    """Return VGG-16 for small images: 13 convolutions and one linear layer, 14.7 M weights.

    Args:
        input_shape: (channels, height, width), sides of at least 16 pixels.
        classes: number of classes, at least 2.
        width: multiplies the width of every layer, > 0.
        dropout: probability of dropping a feature before each linear layer, in [0, 1).

    Raises:
        ModelError: on a bad shape, number of classes or option.
    """
    return VGG(
        family="vgg16",
        stages=VGG16,
        linear=(),
        input_shape=input_shape,
        side=16,
        classes=classes,
        width=width,
        dropout=dropout,
    )


MODELS.add(
    "vgg16",
    vgg16,
    summary="13 convolutions with batch normalization and one linear layer",
    reference=_PUBLISHED,
    cost="14.7 M weights",
)


def vgg_c(
    *, input_shape: Sequence[int], classes: int, width: float = 1.0, dropout: float = 0.0
) -> VGG:
    """Return VGG configuration C as the sparse-training literature uses it on 32×32 images.

    The third convolution of the last three stages is 1×1, and two linear layers of 512 units
    replace the 4096-unit ones; 10 M weights.

    Args:
        input_shape: (channels, height, width), sides of at least 16 pixels.
        classes: number of classes, at least 2.
        width: multiplies the width of every layer, > 0.
        dropout: probability of dropping a feature before each linear layer, in [0, 1).

    Raises:
        ModelError: on a bad shape, number of classes or option.
    """
    return VGG(
        family="vgg-c",
        stages=VGG_C,
        linear=(512, 512),
        input_shape=input_shape,
        side=16,
        classes=classes,
        width=width,
        dropout=dropout,
    )


MODELS.add(
    "vgg-c",
    vgg_c,
    summary="configuration C with two linear layers of 512, as in the sparse-training literature",
    reference=_PUBLISHED,
    cost="10 M weights",
)
