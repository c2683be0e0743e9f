"""`Topology`, `maskable_parameters`, `declare_maskable_`, `embedding_tables`: masks of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from safecompress.errors import ModelError

_WEIGHTED = (
    nn.Linear,
    nn.Bilinear,
    nn.modules.conv._ConvNd,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.Embedding,
    nn.EmbeddingBag,
)
"""Modules whose weights multiply what passes through them, or are looked up."""
_PLACES = ("position_embeddings", "token_type_embeddings")
"""What transformers calls tables that say where a token is and not which one."""
_DECLARED = "_safecompress_maskable"


def maskable_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that a topology may mask, by name.

    What a parameter is for decides, and not its number of axes: these are the trained weights of
    linear, convolution, recurrent, attention and embedding modules. Biases, normalization, layer
    scales, class and positional tokens, and parameters of a module's own stay dense, unless the
    module says otherwise (`declare_maskable_`).

    Args:
        module: any module; a parameter with several names appears under its first one.
    """
    declared = getattr(module, _DECLARED, None)
    names = weight_names(module) if declared is None else declared
    return {name: p for name, p in module.named_parameters() if name in names and can_be_masked(p)}


def weight_names(module: nn.Module) -> frozenset[str]:
    """Return the first name of every parameter that is a weight by the module that owns it.

    Args:
        module: any module.
    """
    weights = {
        id(parameter)
        for place, part in module.named_modules(remove_duplicate=False)
        if isinstance(part, _WEIGHTED) or _is_weighted_elsewhere(part)
        if not place.endswith(_PLACES)
        for name, parameter in part.named_parameters(recurse=False)
        if "weight" in name
    }
    return frozenset(name for name, p in module.named_parameters() if id(p) in weights)


def can_be_masked(parameter: nn.Parameter) -> bool:
    """Return whether a parameter has entries that a mask can take away and training can change.

    Args:
        parameter: of any type and shape.
    """
    return (
        parameter.ndim >= 2
        and parameter.numel() > 0
        and parameter.is_floating_point()
        and parameter.requires_grad
    )


def declare_maskable_(module: nn.Module, names: Iterable[str]) -> None:
    """Let a module, and copies of it, say which of its parameters a topology may mask.

    Args:
        module: the module.
        names: first names of its parameters; those that cannot be masked are passed over.
    """
    setattr(module, _DECLARED, frozenset(names))


def _is_weighted_elsewhere(part: nn.Module) -> bool:
    """Return whether a module is the linear layer that GPT-2 has instead of torch's."""
    return type(part).__name__ == "Conv1D" and type(part).__module__.startswith("transformers.")


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
