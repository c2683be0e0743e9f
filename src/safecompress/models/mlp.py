"""`MLP`: multi-layer perceptrons, for rows of features and as the simplest model of other data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from safecompress.errors import ModelError, did_you_mean
from safecompress.models.registry import MODELS
from safecompress.models.shapes import require_classes, require_dropout, require_positive

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class MLP(nn.Module):
    """Linear layers with an activation between them; inputs of any shape are flattened.

    Args:
        input_shape: shape of one input, for example (features,) or (channels, height, width).
        classes: number of classes.
        hidden: widths of the hidden layers; empty gives a linear classifier.
        activation: `relu`, `gelu`, `silu` or `tanh`.
        dropout: probability of dropping a hidden unit during training, in [0, 1).
        batch_norm: normalize every hidden layer before its activation.

    Raises:
        ModelError: on a bad shape, number of classes or option.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        classes: int,
        hidden: Sequence[int] = (512, 256),
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        require_classes("mlp", classes)
        require_dropout("mlp", dropout)
        require_positive("mlp", **{f"hidden[{i}]": size for i, size in enumerate(hidden)})
        if not input_shape or min(input_shape) < 1:
            raise ModelError(
                f"mlp: inputs have shape {tuple(input_shape)}; expected one or more features."
            )
        if activation not in ACTIVATIONS:
            near = did_you_mean(activation, ACTIVATIONS)
            raise ModelError(f"mlp: no activation is called '{activation}'{near}")
        layers: list[nn.Module] = [nn.Flatten()]
        size = math.prod(input_shape)
        for width in hidden:
            layers.append(nn.Linear(size, width))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(ACTIVATIONS[activation]())
            if dropout:
                layers.append(nn.Dropout(dropout))
            size = width
        layers.append(nn.Linear(size, classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (n, classes).

        Args:
            inputs: float (n, *input_shape).
        """
        logits: Tensor = self.layers(inputs)
        return logits


MODELS.add(
    "mlp",
    MLP,
    summary="linear layers for rows of features; flattens anything else",
    cost="446-512-256-30: 0.4 M weights",
)
