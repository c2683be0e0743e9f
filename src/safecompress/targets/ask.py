"""`rows_for` and `ask`: rows as a target takes them, and its outputs for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from safecompress.config import DataConfig
from safecompress.data import (
    DistinctRows,
    Groups,
    Preprocessor,
    RawData,
    RecordedOutputs,
    content_of_inputs,
    distinct_rows,
    load_groups,
    refuse_shared,
    source_rows,
)
from safecompress.data.classes import read_again
from safecompress.data.output_kind import OutputKind
from safecompress.data.tokens import texts_of
from safecompress.errors import DataError, ModelError, NonFiniteError
from safecompress.protocols import Pool, Rows, SourceRows
from safecompress.targets.given import Group, given_inputs, given_rows, numbered
from safecompress.targets.hugging_face import text_columns
from safecompress.targets.query import record_rows
from safecompress.targets.target import Target

_FEWEST = 30
"""Fewest texts of a group of which it is said that most became equal."""

AuditData: TypeAlias = "DataConfig | tuple[Group, Group]"
"""Settings of a data source, or members and non-members, each with inputs and labels."""


def rows_for(target: Target, data: AuditData, *, seed: int) -> Pool[Rows]:
    """Return members and non-members as the target takes them.

    Args:
        target: the model.
        data: settings of the data source; or members and non-members, each a pair of inputs and
            labels.
        seed: seed of `data.split.rows`, and of a source that generates rows.

    Returns:
        Rows of which none is given twice, with remarks on those that were left out; all rows where
        `data.split.deduplicate` is off.

    Raises:
        UsageError: when the rows cannot be used, or do not fit the target.
    """
    if not isinstance(data, DataConfig):
        return _given(target, data)
    groups = load_groups(data, seed=seed)
    indices = Pool(groups.members, groups.nonmembers)
    values = indices.map(_values(target, groups, data))
    inputs = target.inputs(values)
    labels = read_again(groups.raw.labels, groups.raw.label_names)
    numbers = numbered(target, labels, where=groups.raw.where)
    rows = inputs.zip(
        indices,
        lambda x, at: Rows(
            x,
            torch.from_numpy(numbers[at]),
            torch.from_numpy(at),
            _source(target, groups.raw, data, at),
        ),
    )
    declared = "deduplicate" in data.split.model_fields_set
    deduplicate = data.split.deduplicate if declared else None
    return _distinct(target, values, rows, deduplicate=deduplicate)


def ask(
    target: Target,
    rows: Pool[Rows],
    *,
    white_box: bool = False,
    outputs: OutputKind = "auto",
) -> RecordedOutputs:
    """Return a target's recorded outputs for rows that `rows_for` returned.

    Args:
        target: the model.
        rows: members and non-members, as the target takes them.
        white_box: whether to record what a module computes inside, too, for white-box attacks.
        outputs: what the target returns, `logits` or `probabilities`; `auto` reads it off the
            numbers.

    Raises:
        ConfigError: when a white-box record is wanted of a target that is no module.
        DataError: when outputs and labels do not fit together, it is unclear whether the outputs
            are logits, or both groups share rows.
        ModelError: when the outputs are not one row of logits for each row; for a model from a file
            or folder also when they are not finite.
        NonFiniteError: when an output of a model in memory is NaN or infinite.
    """
    if not target.files:
        return _recorded(target, rows, white_box, outputs)
    try:
        return _recorded(target, rows, white_box, outputs)
    except NonFiniteError as error:
        raise ModelError(
            f"{target.path}: {error} Check that these rows are what the model was trained on."
        ) from error
    except DataError as error:
        named = str(error).startswith(str(target.path))
        raise DataError(str(error) if named else f"{target.path}: {error}") from error


def _recorded(
    target: Target, rows: Pool[Rows], white_box: bool, outputs: OutputKind
) -> RecordedOutputs:
    recorded = record_rows(
        target.model,
        rows,
        path=target.path,
        white_box=white_box,
        outputs=outputs,
        class_names=target.class_names,
    )
    refuse_shared(recorded)
    if not isinstance(rows, DistinctRows):
        return recorded
    return replace(recorded, given=rows.given, remarks=(*rows.remarks, *recorded.remarks))


def _distinct(
    target: Target, values: Pool[Any], rows: Pool[Rows], *, deduplicate: bool | None = None
) -> Pool[Rows]:
    """Return rows without repeated ones; refuse texts that the tokenizer makes equal.

    Args:
        target: the model.
        values: both groups as the target's `inputs` takes them.
        rows: both groups with their inputs as the model takes them.
        deduplicate: what becomes of repeated rows, see `distinct_rows`.

    Raises:
        DataError: when most texts of a group become equal, or see `distinct_rows`.
    """
    if target.texts:
        for name, given, found in (
            ("members", values.members, rows.members),
            ("non-members", values.nonmembers, rows.nonmembers),
        ):
            texts = len(set(zip(*text_columns(given), strict=True)))
            tokens = len(np.unique(content_of_inputs([found.inputs])[0]))
            if texts >= _FEWEST and tokens < texts / 2:
                raise DataError(
                    f"{target.path}: of {texts:,} different texts of {name}, only {tokens:,} are "
                    "still different after tokenization. Check the tokenizer: a vocabulary that "
                    "does not fit turns all words into the unknown one; texts may also be cut too "
                    "early."
                )
    return distinct_rows(rows, deduplicate=deduplicate, where=str(target.path))


def _given(target: Target, data: tuple[Group, Group]) -> Pool[Rows]:
    rows, inputs = given_rows(target, data), given_inputs(target, data)
    if target.texts:
        sources = inputs.map(lambda given: SourceRows.of_texts(text_columns(given)))
        rows = rows.zip(sources, lambda r, source: replace(r, source=source))
    return _distinct(target, inputs, rows)


def _values(target: Target, groups: Groups, data: DataConfig) -> Any:
    """Return a function from row numbers to what the target's `inputs` takes.

    Rows are passed as the source has them. Only preprocessing that the user configured is applied,
    because the default would change the inputs of a model that was trained without it.
    """
    raw = groups.raw
    if target.texts:
        columns = texts_of(raw, data.source.text_columns)
        return lambda at: tuple([str(text) for text in column.values[at]] for column in columns)
    if "preprocessing" in data.model_fields_set:
        settings = data.preprocessing
        if "features" not in settings.model_fields_set:
            settings = settings.model_copy(update={"features": "none"})
        fitted = Preprocessor.fit(raw, groups.members, settings)
        return lambda at: fitted.transform(raw, at).numpy()
    if isinstance(raw.columns, tuple):
        named = {column.name: column.values for column in raw.columns}
        return lambda at: {name: values[at] for name, values in named.items()}
    array = raw.columns
    return lambda at: array[at]


def _source(
    target: Target, raw: RawData, data: DataConfig, at: NDArray[np.int64]
) -> SourceRows | None:
    """Return what the model's inputs are made of; None where they are the source's own numbers."""
    if target.texts:
        texts = texts_of(raw, data.source.text_columns)
        return SourceRows.of_texts([[str(text) for text in column.values[at]] for column in texts])
    return source_rows(raw, at) if "preprocessing" in data.model_fields_set else None
