"""`load_weights_`, `fresh_weights`: weights read from a file without running code, and new ones."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from safecompress import files
from safecompress.errors import DataError, ModelError
from safecompress.randomness import seeded

_SHOWN = 5
_KEYS = ("state_dict", "model_state_dict", "model")
"""Under which names checkpoints keep a state dict."""
_COUNTER = "num_batches_tracked"


def load_weights_(module: nn.Module, path: Path) -> None:
    """Replace the module's parameters and buffers by those in a file, all of them or none.

    Args:
        module: the model the weights belong to.
        path: a `.safetensors` file, or a file for `torch.load` with a state dict, either plain or
            under the key `state_dict`, `model_state_dict` or `model`. What wrappers put before
            names (`module.`, `_orig_mod.`, Lightning's name of the attribute) is removed. Counters
            of batches that old files lack stay as they are.

    Raises:
        ModelError: when the file is missing, unreadable, would run code, or does not fit the model.
    """
    target = {k: v for k, v in module.state_dict().items() if isinstance(v, Tensor)}
    tensors = _without_prefix(_read(path), target)
    covered = {t.data_ptr() for name, t in target.items() if name in tensors}
    problems = []
    # A tied parameter has several names, of which files often keep only one.
    if missing := [
        n
        for n, t in target.items()
        if n not in tensors
        and t.data_ptr() not in covered
        and not n.endswith(_COUNTER)
        and n not in getattr(module, "not_in_files", ())
    ]:
        problems.append(f"{len(missing)} missing ({_listed(missing)})")
    if unexpected := [name for name in tensors if name not in target]:
        problems.append(f"{len(unexpected)} unexpected ({_listed(unexpected)})")
    mismatched = [
        f"{name}: file {_described(tensors[name])}, model {_described(target[name])}"
        for name in target
        if name in tensors and not _fits(tensors[name], target[name])
    ]
    if mismatched:
        problems.append(f"{len(mismatched)} of another shape or type ({_listed(mismatched)})")
    if problems:
        raise ModelError(
            f"{path}: the weights do not fit the model: {'; '.join(problems)}. "
            "The model must have the layers and the names that the weights were trained with."
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            target[name].copy_(tensor)


def fresh_weights(module: nn.Module, *, seed: int) -> dict[str, Tensor]:
    """Return newly initialized weights of a module.

    Args:
        module: any module; left as it is.
        seed: fixes the initialization.

    Returns:
        A state dict: every parameter and every buffer set by its module's `reset_parameters`. A
        module with a true `resets_inside` sets those of the modules inside it, too.

    Raises:
        ModelError: naming the first parameter whose module has no `reset_parameters`.
    """
    copied = copy.deepcopy(module)
    done: tuple[str, ...] = ()
    with seeded(seed, "fresh"):
        for name, part in copied.named_modules():
            if name.startswith(done):
                continue
            if getattr(part, "resets_inside", False):
                done = (*done, f"{name}.".lstrip("."))
            reset = getattr(part, "reset_parameters", getattr(part, "_reset_parameters", None))
            if callable(reset):
                reset()
            elif own := next((n for n, _ in part.named_parameters(recurse=False)), None):
                raise ModelError(
                    f"the parameter '{f'{name}.{own}'.lstrip('.')}' cannot be initialized anew: "
                    f"{type(part).__name__} has no reset_parameters."
                )
    state = copied.state_dict()
    return {n: t.detach().clone() for n, t in state.items() if isinstance(t, Tensor)}


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(f"{path}: no such file; model.weights must name a weights file.")
    if path.suffix == ".safetensors":
        try:
            return files.read_tensors(path)
        except DataError as error:
            raise ModelError(str(error)) from error
    try:
        with warnings.catch_warnings():
            # torch warns about a foreign pickle protocol; the error below says it better.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: refused; it holds more than tensors, and reading it would run code from the "
            "file. Save the model's state_dict(), best as .safetensors."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{path}: not a readable weights file ({_first_line(error)}).") from error
    return _state_dict(content, path)


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    for key in _KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if isinstance(content, Mapping) and content:
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if len(tensors) == len(content):
            return tensors
    found = type(content).__name__
    if isinstance(content, Mapping):
        found += f" with the keys {_listed([str(key) for key in content])}" if content else " empty"
    raise ModelError(
        f"{path}: expected a state dict (names to tensors), plain or under one of "
        f"{', '.join(_KEYS)}; found {found}. Save model.state_dict()."
    )


def _without_prefix(
    tensors: Mapping[str, Tensor], target: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return tensors without what wrappers put before their names, under the model's names.

    Prefixes that all names share are removed one by one, as long as no name fits the model.
    """
    named = {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items()}
    while named and not named.keys() & target.keys():
        prefixes = {name.partition(".")[0] for name in named if "." in name}
        if len(prefixes) != 1 or not all("." in name for name in named):
            break
        named = {name.partition(".")[2]: tensor for name, tensor in named.items()}
    if not named.keys() & target.keys():
        # The model itself may be wrapped, as text classifiers are.
        outer = sorted({name.partition(".")[0] for name in target if "." in name})
        named = {f"{outer[0]}.{name}": t for name, t in named.items()} if len(outer) == 1 else {}
    return named if named.keys() & target.keys() else dict(tensors)


def _fits(given: Tensor, own: Tensor) -> bool:
    return (
        given.shape == own.shape
        and given.layout == own.layout
        and given.is_floating_point() == own.is_floating_point()
    )


def _described(tensor: Tensor) -> str:
    layout = "" if tensor.layout == torch.strided else "sparse "
    return f"{layout}{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _listed(items: Sequence[str]) -> str:
    rest = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f", and {rest} more" if rest > 0 else "")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
