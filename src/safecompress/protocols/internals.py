"""What somebody who holds the model itself computes of each row, beside what it says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress.errors import DataError, NonFiniteError


@dataclass(frozen=True)
class Internals:
    """What a model computes inside for some rows: the hinge between models and white-box attacks.

    With p the predicted probabilities and y the one-hot label, the gradient of a row's loss
    towards the weights of a last linear layer is the outer product (p − y) ⊗ h: the outputs and
    `features` hold all of it in n·(classes + d) numbers.

    Args:
        features: float32 (n, d), h: the input of the last weight layer, averaged over positions
            where it has any.
        gradient_norms: float64 (n, layers), the L2 norm of the gradient of each row's loss towards
            each layer's weights; float64, so that rows of a loss near zero stay apart.
        layers: the layers' names, in the order they are called.

    Raises:
        DataError: on other shapes or dtypes, or without a single layer.
        NonFiniteError: on NaN or infinite entries.
    """

    features: Tensor
    gradient_norms: Tensor
    layers: tuple[str, ...]

    def __post_init__(self) -> None:
        features, norms = self.features, self.gradient_norms
        if (
            features.ndim != 2
            or norms.shape != (len(features), len(self.layers))
            or not self.layers
            or features.dtype != torch.float32
            or norms.dtype != torch.float64
        ):
            raise DataError(
                f"internals: features {features.dtype} {tuple(features.shape)}, gradient_norms "
                f"{norms.dtype} {tuple(norms.shape)}, {len(self.layers)} layers; expected float32 "
                "(n, d), float64 (n, layers) and at least one layer."
            )
        finite = torch.isfinite(features).all(dim=1) & torch.isfinite(norms).all(dim=1)
        if not bool(finite.all()):
            raise NonFiniteError(
                f"internals: {int((~finite).sum())} of {len(finite)} rows are NaN or infinite."
            )

    def __len__(self) -> int:
        return len(self.features)

    def take(self, index: Tensor) -> Internals:
        """Return the internals of the rows at `index` (int64 positions or a bool mask)."""
        return Internals(self.features[index], self.gradient_norms[index], self.layers)
