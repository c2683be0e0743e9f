"""`Internals`: last features and gradient norms of each row, for attackers who hold the weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress.errors import DataError, NonFiniteError


@dataclass(frozen=True)
class Internals:
    """A model's internal values on some rows, the input of white-box attacks.

    With p the predicted probabilities, y the one-hot label and h the last features, the gradient of
    a row's loss with respect to the weights of a last linear layer is the outer product
    (p − y) ⊗ h. The outputs and `features` therefore determine it, in n·(classes + d) numbers.

    Args:
        features: float32 (n, d), the input h of the last weight layer, averaged over positions (of
            a sequence or an image) where the layer has several.
        gradient_norms: float64 (n, layers), the L2 norm of the gradient of each row's loss with
            respect to each layer's weights; float64 keeps rows with a loss near zero apart.
        layers: the layers' names, in the order of the forward pass.

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
        """Return the internals of some of the rows.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        return Internals(self.features[index], self.gradient_norms[index], self.layers)
