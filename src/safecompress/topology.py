"""`Topology`, `maskable_parameters`, `embedding_tables`: which weights exist, as masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from safecompress.errors import ModelError


def maskable_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that a topology may mask, by name.

    These are all trained floating-point parameters with two or more dimensions: weights of linear,
    convolution and embedding layers. Biases and normalization have one dimension and stay dense.

    Args:
        module: any module; a parameter with several names appears under its first one.
    """
    return {
        name: p
        for name, p in module.named_parameters()
        if p.ndim >= 2 and p.is_floating_point() and p.requires_grad
    }


def embedding_tables(module: nn.Module) -> frozenset[str]:
    """Return the names of the maskable parameters whose rows are looked up and not summed.

    Args:
        module: any module; a table that another layer shares counts as a table.
    """
    tables = {
        id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)
    }
    return frozenset(n for n, p in maskable_parameters(module).items() if id(p) in tables)


@dataclass(frozen=True)
class Topology:
    """Boolean masks of a model's maskable weights.

    Non-zeros are counted in the masks, because a weight that has just been grown exists while its
    value is still zero.

    Args:
        masks: per parameter name bool of the parameter's shape, True where a weight exists.
    """

    masks: Mapping[str, Tensor]

    @classmethod
    def dense(cls, module: nn.Module) -> Topology:
        """Return the topology in which every maskable weight exists.

        Args:
            module: any module.
        """
        return cls(
            {
                name: torch.ones(p.shape, dtype=torch.bool)
                for name, p in maskable_parameters(module).items()
            }
        )

    @property
    def nonzeros(self) -> int:
        """Number of existing maskable weights."""
        return sum(int(m.sum()) for m in self.masks.values())

    @property
    def total(self) -> int:
        """Number of maskable weights."""
        return sum(m.numel() for m in self.masks.values())

    @property
    def density(self) -> float:
        """Existing share of the maskable weights, in [0, 1]; 1 without any maskable weight."""
        return self.nonzeros / self.total if self.total else 1.0

    @property
    def sparsity(self) -> float:
        """Missing share of the maskable weights: 1 - density."""
        return 1.0 - self.density

    def layer_counts(self) -> dict[str, int]:
        """Return the number of existing weights per parameter name."""
        return {name: int(m.sum()) for name, m in self.masks.items()}

    def bind(self, module: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
        """Return each masked parameter with its mask, on the parameter's device.

        Args:
            module: the module that the masks belong to.

        Raises:
            ModelError: when the module lacks a masked parameter or its shape differs.
        """
        parameters = dict(module.named_parameters())
        pairs = []
        for name, mask in self.masks.items():
            p = parameters.get(name)
            if p is None or p.shape != mask.shape:
                found = "no such parameter" if p is None else f"shape {tuple(p.shape)}"
                raise ModelError(
                    f"topology: '{name}' has a mask of shape {tuple(mask.shape)}, the model has "
                    f"{found}; the topology belongs to another model."
                )
            pairs.append((p, mask.to(p.device)))
        return pairs

    def apply_(self, module: nn.Module) -> None:
        """Set every weight that does not exist to zero, in place.

        Args:
            module: the module that the masks belong to.

        Raises:
            ModelError: when the module lacks a masked parameter or its shape differs.
        """
        with torch.no_grad():
            for parameter, mask in self.bind(module):
                parameter.masked_fill_(~mask, 0.0)

    def apply_to_tensors_(self, tensors: Mapping[str, Tensor], names: Iterable[str] = ()) -> None:
        """Set entries of tensors to zero where weights do not exist, in place.

        Args:
            tensors: weights or optimizer states by parameter name; those without a mask of their
                shape are left as they are.
            names: masks to apply; by default all.
        """
        for name in names or self.masks:
            if name in tensors and tensors[name].shape == self.masks[name].shape:
                tensors[name].masked_fill_(~self.masks[name].to(tensors[name].device), 0.0)


def rounded_density(module: nn.Module, density: float) -> float:
    """Return the density nearest to a wanted one that is a share of whole maskable weights.

    Args:
        module: the model.
        density: the wanted density, in [0, 1].
    """
    total = Topology.dense(module).total
    return round(density * total) / total
