"""Checks of shapes and options that the model families share."""

from __future__ import annotations

from collections.abc import Sequence

from safecompress.errors import ModelError


def require_classes(family: str, classes: int) -> None:
    """Raise ModelError unless there are at least two classes.

    Args:
        family: the model's name, for the message.
        classes: number of classes.
    """
    if classes < 2:
        raise ModelError(f"{family}: {classes} classes; a classifier needs at least 2.")


def require_image(family: str, input_shape: Sequence[int], *, side: int) -> int:
    """Return the number of channels of an image's shape.

    Args:
        family: the model's name, for the message.
        input_shape: shape of one input, expected (channels, height, width).
        side: smallest height and width in pixels.

    Raises:
        ModelError: when the shape is not an image's, or the image is too small.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ModelError(
            f"{family}: inputs have shape {shape}; expected images (channels, height, width). "
            "For rows of features use the family mlp, which accepts any shape."
        )
    if min(shape[1:]) < side:
        raise ModelError(
            f"{family}: images of {shape[1]}×{shape[2]} pixels are too small; expected at least "
            f"{side}×{side}. Smaller images fit vgg-small, resnet8 or mlp."
        )
    return shape[0]


def require_positive(family: str, **numbers: float) -> None:
    """Raise ModelError naming the first number that is not positive.

    Args:
        family: the model's name, for the message.
        numbers: numbers by the names of their options.
    """
    for name, number in numbers.items():
        if not number > 0:
            raise ModelError(f"{family}: option {name} is {number}; expected a positive number.")


def require_dropout(family: str, dropout: float) -> None:
    """Raise ModelError unless a dropout probability is in [0, 1).

    Args:
        family: the model's name, for the message.
        dropout: the option's value.
    """
    if not 0.0 <= dropout < 1.0:
        raise ModelError(f"{family}: option dropout is {dropout}; expected a number in [0, 1).")


def widened(channels: int, width: float) -> int:
    """Return `channels` times `width`, rounded, at least 1.

    Args:
        channels: number of channels at width 1.
        width: factor, > 0.

    >>> widened(64, 0.5), widened(16, 0.01)
    (32, 1)
    """
    return max(1, round(channels * width))
