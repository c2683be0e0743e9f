"""`choose_maskable_`: which parameters of a model are pruned, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from safecompress.compression.unused import Unused
from safecompress.config import SparseConfig
from safecompress.errors import ConfigError, ModelError, did_you_mean
from safecompress.topology import (
    can_be_masked,
    declare_maskable_,
    maskable_parameters,
    weight_names,
)

_SHOWN = 3
_WORTH_SAYING = 0.01
"""Share of the maskable weights from which other parameters with several axes are mentioned."""


def choose_maskable_(
    module: nn.Module, sparse: SparseConfig, unused: Unused, *, name: str
) -> list[str]:
    """Let a module say which of its parameters a run prunes; return remarks about the others.

    These are its weights (`weight_names`) and what `sparse.include` names, without what
    `sparse.exclude` names, what takes no part in predictions and what is frozen. So density is that
    of the function that is shipped.

    Args:
        module: the run's module.
        sparse: names what is included and excluded.
        unused: the parameters that no prediction uses.
        name: the model's name, for messages.

    Raises:
        ConfigError: when a pattern fits nothing, or names a parameter that no mask can be for.
        ModelError: when nothing is left to prune.
    """
    patterns = _Patterns(module)
    excluded = patterns.all_of(sparse.exclude, "sparse.exclude")
    parameters = dict(module.named_parameters())
    included: set[str] = set()
    for pattern in sparse.include:
        found = patterns.all_of((pattern,), "sparse.include")
        fit = {n for n in found if _is_matrix(parameters[n])}
        if not fit:
            p = parameters[min(found)]
            raise ConfigError(
                f"sparse.include: '{pattern}' is '{min(found)}', "
                f"{str(p.dtype).removeprefix('torch.')} of shape {tuple(p.shape)}; masks are for "
                "real numbers with two or more axes."
            )
        included |= fit
    weights = weight_names(module)
    names = ((weights | included) - excluded) - unused.names
    declare_maskable_(module, names)
    kept = maskable_parameters(module)
    if not kept:
        raise ModelError(
            f"{name}: no weight of a linear, convolution, recurrent, attention or embedding layer "
            "takes part in its predictions and requires a gradient; there is nothing to compress. "
            "Name parameters of the model's own in sparse.include."
        )
    total = sum(p.numel() for p in kept.values())
    own = [n for n, p in parameters.items() if n not in names | unused.names and can_be_masked(p)]
    frozen = [n for n in weights - unused.names if not parameters[n].requires_grad]
    remarks = [unused.sentence] if unused.names & weights else []
    for those, what in (
        (
            own,
            "stay dense and are not counted in the density, because they are no weights of "
            "layers or are excluded; name them in sparse.include to prune them",
        ),
        (frozen, "are frozen: they stay as they are, and the density does not count them"),
    ):
        size = sum(parameters[n].numel() for n in those)
        if size >= _WORTH_SAYING * total:
            remarks.append(f"model: {size:,} parameters ({_listed(sorted(those))}) {what}")
    return remarks


def _is_matrix(parameter: nn.Parameter) -> bool:
    """Return whether a mask can be for a parameter, frozen or not."""
    return parameter.ndim >= 2 and parameter.numel() > 0 and parameter.is_floating_point()


class _Patterns:
    """Finds parameters by name, by the name of their layer, or by its type.

    Args:
        module: the module.
    """

    def __init__(self, module: nn.Module) -> None:
        first = {id(p): n for n, p in module.named_parameters()}
        self._called: dict[str, set[str]] = {n: {n} for n in first.values()}
        for name, part in module.named_modules():
            for own, p in part.named_parameters(recurse=False):
                owners = {f"{name}.{own}".lstrip("."), name, type(part).__name__}
                self._called[first[id(p)]] |= owners - {""}

    def all_of(self, patterns: Sequence[str], where: str) -> set[str]:
        """Return the first names of the parameters that fit any pattern.

        Args:
            patterns: names with the wildcards * and ?.
            where: the key that holds them, for messages.
        """
        found: set[str] = set()
        for pattern in patterns:
            fits = {
                name
                for name, called in self._called.items()
                if any(fnmatchcase(each, pattern) for each in called)
            }
            if not fits:
                known = set().union(*self._called.values())
                raise ConfigError(
                    f"{where}: '{pattern}' fits no parameter, layer or type of layer of the "
                    f"model{did_you_mean(pattern, known)}"
                )
            found |= fits
        return found


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{n}'" for n in names[:_SHOWN]) + more
