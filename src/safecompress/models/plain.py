"""`copied`, `forget_computed_`, `plain_`: a module that a run can train, mask, copy and store.

A run copies modules, replaces their parameters' values and stores them by name. Some modules
compute the same as a plain one and cannot be treated so: weights computed from other parameters,
wrappers that compile or distribute a module, parameters that overlap in memory. They are made plain
here, on the run's own copy, and every such change is told.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, prune

from safecompress.errors import FOREIGN, ModelError
from safecompress.models.memory import repack_

Remark = Callable[[str], None]
"""Called with a sentence about every change that was made to a module."""

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def ignore(sentence: str) -> None:
    """Take a remark and do nothing with it.

    Args:
        sentence: what was changed.
    """


def copied(module: nn.Module) -> nn.Module:
    """Return a copy of a module, also of one that holds tensors computed by an earlier call.

    Args:
        module: any module, which stays as it is.

    Raises:
        ModelError: when it holds what cannot be copied, such as an open file.
    """
    memo: dict[int, Any] = {}
    for _, _, value in computed_tensors(module):
        memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(module, memo)
    except FOREIGN as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"the model cannot be copied ({type(error).__name__}: {reason}), and a run works on "
            "copies; pass a callable that makes it, and keep files, locks and generators out of "
            "its attributes."
        ) from error


def computed_tensors(module: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """Yield every attribute that holds a tensor with a history of gradients, with its owner.

    Such a tensor is what an earlier call computed, and torch refuses to copy it.

    Args:
        module: any module.
    """
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor) and not value.is_leaf:
                yield part, name, value


def forget_computed_(module: nn.Module) -> None:
    """Set every attribute that holds a tensor computed by an earlier call to None.

    Some modules keep their features or attention for a look from outside. The next call writes
    them again; a copy of the module must not hold them.

    Args:
        module: any module.
    """
    for part, name, _ in list(computed_tensors(module)):
        setattr(part, name, None)


def plain_(module: nn.Module, remark: Remark = ignore) -> nn.Module:
    """Return a module that computes the same and that a run can work on; the given one is used up.

    Args:
        module: any module; its parts are changed in place.
        remark: called with a sentence about every change.

    Raises:
        ModelError: when it is compiled to TorchScript, or its weights have no shape or no values.
    """
    module = _unwrapped(module, remark)
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise ModelError(
                f"{_place(name, part)} is compiled to TorchScript, whose parameters cannot be "
                "trained here; pass the Python module it was scripted or traced from."
            )
    for name, parameter in module.named_parameters():
        if is_lazy(parameter):
            raise ModelError(
                f"the model's '{name}' is a lazy parameter without a shape; call the model once "
                "before handing it over, or give the layer its input size."
            )
        if parameter.device.type == "meta":
            raise ModelError(
                f"the model's '{name}' is on the meta device and has no values; load its weights "
                "first."
            )
    _fold_(module, remark)
    _densify_gradients_(module, remark)
    repack_(module, remark)
    return module


def _unwrapped(module: nn.Module, remark: Remark) -> nn.Module:
    """Return the module inside wrappers that compile or distribute it, at any depth."""
    while (inner := _inside(module)) is not None:
        remark(f"model: taken out of its {type(module).__name__}, so that its names are its own")
        module = inner
    for name, child in list(module.named_children()):
        plain = _unwrapped(child, remark)
        if plain is not child:
            setattr(module, name, plain)
    return module


def _inside(module: nn.Module) -> nn.Module | None:
    if isinstance(module, _PARALLEL):
        return module._modules["module"]
    return module._modules["_orig_mod"] if type(module).__name__ == "OptimizedModule" else None


def _fold_(module: nn.Module, remark: Remark) -> None:
    """Replace weights that are computed from other parameters by their values, as parameters."""
    folded: dict[str, list[str]] = {}
    for name, part in list(module.named_modules()):
        for kind in (*_parametrized_(part), *_hooked_(part)):
            folded.setdefault(kind, []).append(name)
    for kind, names in folded.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        remark(
            f"model: the weights that {kind} computes in '{names[0]}'{others} were replaced by "
            "their values, which are trained and masked directly"
        )


def _parametrized_(part: nn.Module) -> Iterator[str]:
    if not parametrize.is_parametrized(part):
        return
    for name, rules in list(part._modules["parametrizations"].named_children()):  # type: ignore[union-attr]
        rules.eval()
        kind = " and ".join(type(rule).__name__.lstrip("_") for rule in rules.children())
        trained = any(p.requires_grad for p in rules.parameters(recurse=False))
        parametrize.remove_parametrizations(part, name, leave_parametrized=True)
        getattr(part, name).requires_grad_(trained)
        yield kind


def _hooked_(part: nn.Module) -> Iterator[str]:
    for hook in list(part._forward_pre_hooks.values()):
        kind = type(hook).__name__
        if isinstance(hook, prune.BasePruningMethod):
            name = str(hook._tensor_name)
            prune.remove(part, name)  # type: ignore[no-untyped-call]
            kind = "torch.nn.utils.prune"
        elif kind == "WeightNorm":
            torch.nn.utils.remove_weight_norm(part, hook.name)  # type: ignore[attr-defined]
        elif kind == "SpectralNorm":
            torch.nn.utils.remove_spectral_norm(part, hook.name)  # type: ignore[attr-defined]
            # torch leaves this one behind, and loading a state_dict would then ask for old names.
            before = part._load_state_dict_pre_hooks
            for key, other in list(before.items()):
                if type(getattr(other, "hook", other)).__name__.startswith("SpectralNorm"):
                    del before[key]
        else:
            continue
        yield kind


def _densify_gradients_(module: nn.Module, remark: Remark) -> None:
    """Let embeddings have dense gradients, which optimizers with masks need."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.sparse:
            part.sparse = False
            remark(f"model: the embedding '{name}' gets dense gradients instead of sparse ones")


def _place(name: str, part: nn.Module) -> str:
    return f"the model's '{name}'" if name else f"the model, a {type(part).__name__},"
