"""`record_rows`: a model's outputs for rows that are ready for it.

`LogitModel` turns what a model returns into logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from safecompress.data import RecordedOutputs, recorded_outputs
from safecompress.data.classes import require_names
from safecompress.data.output_form import OutputForm, columns_of, form_of
from safecompress.data.output_kind import OutputKind
from safecompress.errors import ConfigError, ModelError
from safecompress.models.adapt import adapt
from safecompress.protocols import Pool, Rows
from safecompress.targets.calling import as_module, fitted
from safecompress.targets.steadiness import steady_answers
from safecompress.train.internals import internals
from safecompress.train.predict import outputs_on


def record_rows(
    model: nn.Module | Callable[..., Any],
    rows: Pool[Rows],
    *,
    path: Path,
    white_box: bool = False,
    outputs: OutputKind = "auto",
    class_names: tuple[str, ...] = (),
) -> RecordedOutputs:
    """Record a model's outputs for members and non-members that are ready for it.

    Args:
        model: a module, or a callable that returns logits or probabilities (n, classes).
        rows: members and non-members.
        path: the model's file, or its name.
        white_box: whether to record what a module computes inside, too.
        outputs: what the model returns, as `record` takes it.
        class_names: names of the classes, by their columns; empty where they are not known.

    Raises:
        ConfigError: when a white-box record is wanted of a model that is no module, or there are
            more or fewer names than classes.
        DataError: when labels are outside the model's classes, it is unclear whether the outputs
            are logits, or the model answers differently when it is asked twice.
        ModelError: when the model's outputs are not one row of logits for each row, or are
            probabilities although a white-box record is wanted.
        NonFiniteError: when a logit is NaN or infinite.
    """
    module = as_module(model)
    rows, remarks = fitted(module, rows)
    given, steady = steady_answers(module, rows, path=path, model=model)
    remarks += steady
    said = given.map(columns_of)
    form = form_of((said.members, said.nonmembers), declared=outputs, where=str(path))
    found = rows.zip(said, lambda r, given: outputs_on(r, form.logits(given)))
    recorded = recorded_outputs(found, form, path=path, rows=rows)
    require_names(class_names, recorded.outputs.members.classes, path=path)
    recorded = replace(recorded, class_names=class_names, remarks=recorded.remarks + remarks)
    target: nn.Module | None = module if form.plain else LogitModel(module, form)
    if rows.members.table is not None:
        # A model that takes a table cannot be asked about points, which are tensors.
        target = None
    evidence = recorded.evidence.zip(rows, lambda e, r: replace(e, rows=r, target=target))
    if not white_box:
        return replace(recorded, evidence=evidence)
    if not isinstance(model, nn.Module):
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
