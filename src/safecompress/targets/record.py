"""`record`: a model's outputs for members and non-members, recorded for an audit.

`rows_of` and `inputs_of` turn what users pass into rows; `LogitModel` turns what a model returns
into logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from safecompress.data import (
    GroupsGiven,
    RecordedOutputs,
    attach_groups,
    distinct_rows,
    recorded_outputs,
    refuse_shared,
)
from safecompress.data.output_form import OutputForm, columns_of, form_of
from safecompress.data.output_kind import OutputKind
from safecompress.errors import ConfigError, DataError, ModelError
from safecompress.models.adapt import adapt
from safecompress.protocols import Inputs, Pool, Rows, leading_size, tensors_of
from safecompress.train.internals import internals
from safecompress.train.predict import answers, outputs_on

Group: TypeAlias = tuple[Any, Any]
"""Inputs and labels of one group: inputs are a tensor, an array, or a tuple or mapping of them;
labels are integers (n,)."""


def record(
    model: nn.Module | Callable[..., Any],
    members: Group,
    nonmembers: Group,
    *,
    name: str = "model",
    white_box: bool = False,
    outputs: OutputKind = "auto",
    groups: GroupsGiven | None = None,
) -> RecordedOutputs:
    """Record a model's outputs for rows it was trained on and rows it was not.

    Args:
        model: a module, called in evaluation mode and fp32; or any callable that takes the inputs
            of up to 512 rows and returns logits or probabilities (n, classes), or those of class
            1 of two (n,), a tensor, an array, or an object with `logits`, as Hugging Face models
            return.
        members: inputs and labels of rows the model was trained on, preprocessed for the model.
        nonmembers: inputs and labels of rows it was not trained on, preprocessed alike.
        name: the model's name in reports.
        white_box: whether to record what a module computes inside, too, for white-box attacks.
        outputs: `logits` or `probabilities`, what the model returns; `auto` reads it off the
            numbers and refuses those that leave it open.
        groups: by name, one value for each member and for each non-member, such as
            `{"region": (of the members, of the non-members)}`; the audit judges the leak within
            the groups of each, too.

    Returns:
        What `audit` takes. It includes the rows, so that the audit can test whether the groups
        differ without any model, and the model, so that attacks can get outputs for other rows. A
        row that is given several times is recorded once.

    Raises:
        ConfigError: when a white-box record is wanted of a model that is no module.
        DataError: when inputs and labels do not fit together, both groups share rows, or it is
            unclear whether the outputs are logits.
        ModelError: when the model's outputs are not one row of logits for each row.
        NonFiniteError: when a logit is NaN or infinite.

    Example:
        One record can be audited any number of times:

        >>> from safecompress import Limits, audit, record
        >>> draw = torch.Generator().manual_seed(0)
        >>> x, noise = torch.randn(500, 4, generator=draw), torch.randn(500, 3, generator=draw)
        >>> y = (x[:, :3] + noise).argmax(dim=1)
        >>> model = nn.Linear(4, 3)  # load yours here; this one is right without any training
        >>> _ = nn.init.eye_(model.weight)
        >>> recorded = record(model, (x[:300], y[:300]), (x[300:], y[300:]), name="linear")
        >>> recorded.kind, recorded.outputs.members.logits.shape
        ('logits', torch.Size([300, 3]))
        >>> result = audit(recorded, limits=Limits(max_auc=0.75))
        >>> print(result.verdict.status)
        PASS
    """
    first = rows_of(members, "members", start=0)
    second = rows_of(nonmembers, "nonmembers", start=len(first))
    rows = distinct_rows(Pool(first, second), where=name)
    recorded = record_rows(model, rows, path=Path(name), white_box=white_box, outputs=outputs)
    refuse_shared(recorded)
    return attach_groups(recorded, groups or {})


def record_rows(
    model: nn.Module | Callable[..., Any],
    rows: Pool[Rows],
    *,
    path: Path,
    white_box: bool = False,
    outputs: OutputKind = "auto",
) -> RecordedOutputs:
    """Record a model's outputs for rows that are ready for it; otherwise as `record`.

    Args:
        model: a module, or a callable that returns logits or probabilities (n, classes).
        rows: members and non-members.
        path: the model's file, or its name.
        white_box: whether to record what a module computes inside, too.
        outputs: what the model returns, as `record` takes it.

    Raises:
        ConfigError: when a white-box record is wanted of a model that is no module.
        DataError: when labels are outside the model's classes, or it is unclear whether the outputs
            are logits.
        ModelError: when the model's outputs are not one row of logits for each row, or are
            probabilities although a white-box record is wanted.
        NonFiniteError: when a logit is NaN or infinite.
    """
    module = as_module(model)
    said = rows.map(lambda r: columns_of(answers(module, r)))
    form = form_of((said.members, said.nonmembers), declared=outputs, where=str(path))
    found = rows.zip(said, lambda r, given: outputs_on(r, form.logits(given)))
    recorded = recorded_outputs(found, form, path=path, rows=rows)
    target = module if form.plain else LogitModel(module, form)
    evidence = recorded.evidence.zip(rows, lambda e, r: replace(e, rows=r, target=target))
    if not white_box:
        return replace(recorded, evidence=evidence)
    if module is not model:
        raise ConfigError(
            f"white_box: {path} is a {type(model).__name__}; a white-box attack needs a "
            "torch.nn.Module to look into."
        )
    if not form.plain:
        what = "one column" if form.single else "probabilities"
        raise ModelError(
            f"white_box: {path} returns {what}, and gradients are those of a cross-entropy of "
            "logits, one for each class; leave out its last softmax or sigmoid."
        )
    internal = rows.map(lambda r: internals(module, r))
    return replace(recorded, evidence=evidence.zip(internal, lambda e, i: replace(e, internals=i)))


def as_module(model: nn.Module | Callable[..., Any]) -> nn.Module:
    """Return a module unchanged, and any other callable as a module without parameters.

    Args:
        model: a module, or a callable from inputs to logits or probabilities (n, classes).
    """
    return model if isinstance(model, nn.Module) else _Called(model)


class LogitModel(nn.Module):
    """A model that returns probabilities or one column, wrapped so that it returns logits.

    Args:
        model: the model; shared, not copied.
        form: what it returns.
    """

    def __init__(self, model: nn.Module, form: OutputForm) -> None:
        super().__init__()
        self.model = model
        self._form = form

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """Return logits (n, classes).

        Args:
            *inputs: what the wrapped model takes.
            **named: what the wrapped model takes by name.
        """
        return self._form.logits(columns_of(adapt(self.model(*inputs, **named))))


class _Called(nn.Module):
    """Any callable as a module without parameters."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        outputs = self._function(*inputs, **named)
        if isinstance(outputs, np.ndarray):
            outputs = torch.from_numpy(np.ascontiguousarray(outputs))
        size = leading_size(inputs or named)
        shape = tuple(getattr(getattr(outputs, "logits", outputs), "shape", ()))
        if shape and (len(shape) > 2 or shape[0] != size):
            raise ModelError(
                f"the model returned shape {shape} for {size} rows; expected ({size}, classes)."
            )
        return outputs


def rows_of(group: Group, where: str, *, start: int) -> Rows:
    """Return a group of inputs and labels as rows.

    Args:
        group: inputs and labels.
        where: the group's name in messages.
        start: id of the first row; the others are numbered consecutively.

    Raises:
        DataError: when inputs and labels do not fit together.
    """
    try:
        inputs, labels = group
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: expected a pair of inputs and labels, got {type(group).__name__}."
        ) from error
    tensors = inputs_of(inputs, where)
    given = torch.as_tensor(np.asarray(labels))
    if given.ndim != 1 or given.dtype == torch.bool or given.is_floating_point():
        raise DataError(
            f"{where}: labels have shape {tuple(given.shape)} and type {given.dtype}; expected "
            "integers (n,), the true classes."
        )
    sizes = [len(tensor) for tensor in tensors_of(tensors)]
    if set(sizes) != {len(given)} or not len(given):
        raise DataError(
            f"{where}: {', '.join(map(str, sizes))} rows of inputs and {len(given)} labels; "
            "expected one label for every row, and at least one row."
        )
    return Rows(tensors, given.long(), torch.arange(start, start + len(given)))


def inputs_of(inputs: Any, where: str) -> Inputs:
    """Return inputs as tensors, detached from any graph.

    Args:
        inputs: a tensor, an array, or a tuple or mapping of them.
        where: the inputs' name in messages.

    Raises:
        DataError: when a part of them cannot become a tensor.
    """
    if isinstance(inputs, Mapping):
        return {str(key): _tensor(value, where) for key, value in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(_tensor(value, where) for value in inputs)
    return _tensor(inputs, where)


def _tensor(value: Any, where: str) -> Tensor:
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{where}: inputs of {type(value).__name__} cannot become a tensor ({error}); give "
            "tensors or numeric arrays, preprocessed as the model wants them."
        ) from error
    return tensor.detach()
