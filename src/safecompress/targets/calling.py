"""`as_module`: any model as a module, and `fitted`: rows in the types that a module takes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from safecompress.errors import ModelError
from safecompress.protocols import Inputs, Pool, Rows, map_inputs, tensors_of
from safecompress.targets.estimator import Estimator, estimator_of
from safecompress.train.predict import answers

_LOW = (torch.float16, torch.bfloat16)
_TRIED_ROWS = 2
_MOST_TRIED = 27
"""Most combinations of types that are tried; three types of three inputs."""
_DIGITS_LOST = 1e-3
"""Rounding error of a column, in standard deviations, from which digits count as lost."""


def as_module(model: nn.Module | Callable[..., Any]) -> nn.Module:
    """Return a model as a module that computes in fp32 or fp64.

    Args:
        model: a module, which is returned as it is, or as a copy in fp32 where it holds numbers of
            16 bits; or a classifier or callable, which becomes a module without parameters.

    Raises:
        ModelError: when it is no model, or cannot be copied.
    """
    if isinstance(model, nn.Module):
        return _in_full_precision(model)
    estimator = estimator_of(model)
    if estimator is None and not callable(model):
        raise ModelError(
            f"the model is a {type(model).__name__}; expected a torch.nn.Module, a classifier with "
            "predict_proba, or a callable from rows to logits or probabilities (n, classes)."
        )
    return Called(model if estimator is None else estimator)


class Called(nn.Module):
    """A callable as a module without parameters.

    Args:
        function: takes rows as they were given, as tensors of the same type or as the table they
            are in; an `Estimator` takes NumPy arrays in place of tensors.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return what the callable returns; whatever becomes an array becomes a tensor.

        Args:
            *inputs: what the callable takes.
            **named: what the callable takes by name.
        """
        if isinstance(self._function, Estimator):
            inputs = tuple(_array(value) for value in inputs)
        outputs = self._function(*inputs, **named)
        if isinstance(outputs, Tensor) or not hasattr(outputs, "__array__"):
            return outputs
        array = np.asarray(outputs)
        if array.dtype.kind not in "biuf":
            raise ModelError(
                f"the model returned an array of {array.dtype}; expected logits or probabilities."
            )
        return torch.from_numpy(np.ascontiguousarray(array, array.dtype.newbyteorder("=")))


def fitted(module: nn.Module, rows: Pool[Rows]) -> tuple[Pool[Rows], tuple[str, ...]]:
    """Return rows in the types that a module takes, and what was noticed about them.

    A callable gets rows as they were given. A module gets real numbers in its own precision;
    whole numbers stay whole where it takes them so, as embeddings do. Which types a module takes
    is found by asking it about two rows.

    Args:
        module: what `as_module` returned.
        rows: members and non-members.

    Raises:
        ModelError: when the module takes the rows in none of the types, with its own error.
    """
    members = rows.members
    if isinstance(module, Called) or members.table is not None:
        return rows, ()
    few = members.take(torch.arange(min(_TRIED_ROWS, len(members))))
    first_error: ModelError | None = None
    for types in itertools.islice(_types(module, members.inputs), _MOST_TRIED):
        try:
            answers(module, _cast(few, types))
        except ModelError as error:
            first_error = first_error or error
            continue
        cast = rows.map(lambda r, types=types: _cast(r, types))  # type: ignore[misc]
        return cast, _digits_lost(rows, cast)
    raise first_error or ModelError("the model has no inputs.")


def _in_full_precision(module: nn.Module) -> nn.Module:
    tensors = itertools.chain(module.parameters(), module.buffers())
    if not any(tensor.dtype in _LOW for tensor in tensors):
        return module
    try:
        return copy.deepcopy(module).float()
    except Exception as error:
        raise ModelError(
            f"{type(module).__name__} holds numbers of 16 bits and cannot be copied into 32 bits "
            f"({type(error).__name__}: {str(error)[:160]}); give model.float()."
        ) from error


def _types(module: nn.Module, inputs: Inputs) -> Iterator[tuple[torch.dtype, ...]]:
    """Yield types for the tensors of inputs, the most likely ones first."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    own = list(dict.fromkeys(t.dtype for t in tensors if t.dtype.is_floating_point))
    return itertools.product(*(_types_of(tensor, own) for tensor in tensors_of(inputs)))


def _types_of(tensor: Tensor, own: list[torch.dtype]) -> list[torch.dtype]:
    if tensor.is_complex():
        types = [tensor.dtype]
    elif tensor.is_floating_point():
        types = own or [tensor.dtype, torch.float32]
        if bool((tensor == tensor.trunc()).all()):
            types = [*types, torch.int64]
    elif tensor.dtype == torch.bool:
        types = [tensor.dtype, *(own or [torch.float32]), torch.int64]
    else:
        types = [tensor.dtype, torch.int64, *(own or [torch.float32])]
    return list(dict.fromkeys(types))


def _cast(rows: Rows, types: tuple[torch.dtype, ...]) -> Rows:
    wanted = iter(types)
    return replace(rows, inputs=map_inputs(lambda t: t.to(next(wanted)), rows.inputs))


def _digits_lost(rows: Pool[Rows], cast: Pool[Rows]) -> tuple[str, ...]:
    """Return a sentence for each input whose rounding is not small beside its variation."""
    remarks = []
    given = [tensors_of(side.inputs) for side in (rows.members, rows.nonmembers)]
    found = [tensors_of(side.inputs) for side in (cast.members, cast.nonmembers)]
    for place in range(len(given[0])):
        before = torch.cat([side[place].flatten(1) for side in given])
        after = torch.cat([side[place].flatten(1) for side in found])
        if before.dtype == after.dtype or not after.is_floating_point():
            continue
        exact = before.double()
        error = (exact - after.double()).abs().amax(dim=0)
        lost = (error > _DIGITS_LOST * exact.std(dim=0, correction=0)).nonzero().squeeze(1)
        if len(lost):
            column, kind = int(lost[0]), str(after.dtype).removeprefix("torch.")
            remarks.append(
                f"The model computes in {kind}, which rounds column {column} of input {place} by "
                f"up to {float(error[column]):.3g}, {len(lost)} columns in all: rows that differ "
                "by less look the same to it. Scale such columns, for example by subtracting their "
                "mean, as in training."
            )
    return tuple(remarks)


def _array(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    plain = value.detach().cpu()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
