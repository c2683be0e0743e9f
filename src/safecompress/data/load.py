"""`load_splits`, `splits_from_arrays` and `splits_from_dataset`: splits of a data source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from safecompress.config import DataConfig, PreprocessingConfig, SplitConfig, load_section
from safecompress.data.classes import ClassList, class_numbers, read_again
from safecompress.data.disk import is_mapped
from safecompress.data.duplicates import content_of_raw
from safecompress.data.frames import holds_numbers_alone, is_frame, raw_from_frame
from safecompress.data.group_columns import columns_named
from safecompress.data.group_values import values_of
from safecompress.data.membership import (
    Membership,
    declared_members,
    draw_rows,
    resolve_membership,
)
from safecompress.data.partition import Shares, partition
from safecompress.data.preprocessing import Preprocessor
from safecompress.data.raw import Column, Kind, RawData, encode_labels, raw_from_arrays
from safecompress.data.row_values import RowValues
from safecompress.data.sequences import are_sequences, padded
from safecompress.data.source_rows import source_rows
from safecompress.data.sources import load_source
from safecompress.data.splits import Splits, assemble
from safecompress.data.text_rows import raw_from_texts
from safecompress.data.tokens import tokenized
from safecompress.data.torch_source import one_array, raw_from_dataset
from safecompress.errors import ConfigError
from safecompress.protocols import Rows


def load_splits(
    config: DataConfig, *, seed: int, weights_given: bool, group_by: Sequence[str] = ()
) -> Splits:
    """Read, split and preprocess rows; the same configuration and seed give the same splits.

    Args:
        config: the source, the split and the preprocessing.
        seed: seed of every draw.
        weights_given: whether training starts from weights that were trained before; then
            membership must be declared.
        group_by: columns within whose groups figures are judged; dropped ones may be named.

    Raises:
        MembershipError: when weights are given and membership is not declared.
        SplitOverlapError: when groups share inputs and duplicates are not to be dropped.
        DataError: when the data cannot be used.
    """
    membership = resolve_membership(config.split, weights_given=weights_given)
    raw = load_source(config.source, seed=seed)
    return splits_from_raw(
        raw,
        split=config.split,
        preprocessing=config.preprocessing,
        membership=membership,
        seed=seed,
        weights_given=weights_given,
        group_by=group_by,
        texts=config.source.text_columns,
    )


def splits_from_arrays(
    x: Any,
    y: Any,
    *,
    seed: int,
    split: SplitConfig | Mapping[str, Any] | None = None,
    preprocessing: PreprocessingConfig | Mapping[str, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    weights_given: bool = False,
    groups: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
) -> Splits:
    """Split and preprocess arrays or tensors, or texts where a tokenizer is named.

    Args:
        x: inputs (n, ...), numbers in one array, which may be a mapped file; a data frame of
            numbers, categories and texts; a list of arrays of different lengths, which are filled
            up with zeros to the longest; with `preprocessing={"tokenizer": FOLDER}` a list of
            texts, or a tuple of two lists for pairs.
        y: labels, class indices or names: a list, an array, a tensor or a column of a data frame,
            (n,) or (n, 1), or one-hot rows (n, classes).
        seed: seed of every draw.
        split: `SplitConfig` or its settings: which rows are members, and which judge.
        preprocessing: `PreprocessingConfig` or its settings: how rows become tensors.
        test: inputs and labels of a separate test part.
        weights_given: whether a trained model will be judged on these splits; then membership
            must be declared, and numbers are left as they are unless `preprocessing` says
            otherwise.
        groups: by name, one value for each row, those of the test part last, such as a region;
            checks can judge the leak within the groups of each.
        classes: names of the classes in the order of a trained model's columns. Labels that are
            texts need them where `weights_given`; otherwise their sorted order will do.

    Raises:
        ConfigError: when `classes` is no list of distinct names.
        DataError: and its subclasses, as `load_splits`.
    """
    config, encoding, membership = _declared(split, preprocessing, weights_given=weights_given)
    raw, encoding = _raw(x, y, test, encoding)
    raw = _with_groups(raw, groups or {})
    raw = _with_classes(raw, ClassList.given(classes), weights_given=weights_given)
    return splits_from_raw(
        raw,
        split=config,
        preprocessing=encoding,
        membership=membership,
        seed=seed,
        weights_given=weights_given,
        group_by=tuple(groups or ()),
        texts=[c.name for c in raw.columns] if isinstance(raw.columns, tuple) else (),
    )


def _raw(
    x: Any, y: Any, test: tuple[Any, Any] | None, encoding: PreprocessingConfig
) -> tuple[RawData, PreprocessingConfig]:
    """Return rows in memory as raw data, and how they are encoded.

    Zeros that fill up a sequence are no values, so sequences are never standardized.
    """
    if encoding.tokenizer is not None:
        return raw_from_texts(x, y, test=test), encoding
    parts = [x, *([] if test is None else [test[0]])]
    if any(is_frame(part) and not holds_numbers_alone(part) for part in parts):
        return raw_from_frame(x, y, test=test), encoding
    if any(are_sequences(part) for part in parts):
        if encoding.features == "standardize":
            raise ConfigError(
                "preprocessing.features is 'standardize', but rows differ in length and are filled "
                "up with zeros, which would be standardized, too; scale the values before."
            )
        encoding = encoding.model_copy(update={"features": "none"})
        parts = list(padded(parts, where="arrays"))
    pair = None if test is None else (one_array(parts[1], where="arrays (test part)"), test[1])
    return raw_from_arrays(
        one_array(parts[0], where="arrays"), y, test=pair, where="arrays"
    ), encoding


def splits_from_dataset(
    dataset: Any,
    *,
    seed: int,
    split: SplitConfig | Mapping[str, Any] | None = None,
    preprocessing: PreprocessingConfig | Mapping[str, Any] | None = None,
    test: Any = None,
    weights_given: bool = False,
    groups: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
) -> Splits:
    """Split and preprocess a map-style torch dataset of (input, label).

    Args:
        dataset: the rows, or the train part of them.
        seed: seed of every draw.
        split: `SplitConfig` or its settings: which rows are members, and which judge.
        preprocessing: `PreprocessingConfig` or its settings: how rows become tensors.
        test: another dataset with the test part.
        weights_given: whether a trained model will be judged on these splits; then membership
            must be declared, and numbers are left as they are unless `preprocessing` says
            otherwise.
        groups: by name, one value for each row, those of the test part last, such as a region;
            checks can judge the leak within the groups of each.
        classes: names of the classes in the order of a trained model's columns. Labels that are
            texts need them where `weights_given`; otherwise their sorted order will do.

    Raises:
        ConfigError: when `classes` is no list of distinct names.
        DataError: and its subclasses, as `load_splits`.
    """
    config, encoding, membership = _declared(split, preprocessing, weights_given=weights_given)
    raw = raw_from_dataset(dataset, test=test)
    raw = _with_groups(raw, groups or {})
    raw = _with_classes(raw, ClassList.given(classes), weights_given=weights_given)
    return splits_from_raw(
        raw,
        split=config,
        preprocessing=encoding,
        membership=membership,
        seed=seed,
        weights_given=weights_given,
        group_by=tuple(groups or ()),
    )


def _with_classes(raw: RawData, classes: ClassList | None, *, weights_given: bool) -> RawData:
    """Return rows whose labels are the columns that a list of classes states.

    Raises:
        DataError: when a trained model's columns are not known, or a label is not in the list.
    """
    labels = read_again(raw.labels, raw.label_names)
    if classes is None and (not weights_given or labels.texts is None):
        return raw
    numbers = class_numbers(labels, classes, where=raw.where)
    if classes is not None:
        return replace(raw, labels=numbers, label_names=classes.names)
    _, names = encode_labels(numbers, where=raw.where)
    return replace(raw, labels=numbers, label_names=names)


def _with_groups(raw: RawData, groups: Mapping[str, Any]) -> RawData:
    """Return raw data with columns that are no inputs beside its own."""
    aside = []
    for name, given in groups.items():
        values = values_of(given, f"groups['{name}']")
        kind: Kind = "numeric" if values.dtype.kind in "iuf" else "categorical"
        aside.append(Column(str(name), kind, values))
    return replace(raw, aside=(*raw.aside, *aside))


def _declared(
    split: SplitConfig | Mapping[str, Any] | None,
    preprocessing: PreprocessingConfig | Mapping[str, Any] | None,
    *,
    weights_given: bool,
) -> tuple[SplitConfig, PreprocessingConfig, Membership]:
    """Check the settings before any row is read, so that errors come early."""
    config = load_section(SplitConfig, split, where="split")
    encoding = load_section(PreprocessingConfig, preprocessing, where="preprocessing")
    return config, encoding, resolve_membership(config, weights_given=weights_given)


def splits_from_raw(
    raw: RawData,
    *,
    split: SplitConfig,
    preprocessing: PreprocessingConfig,
    membership: Membership,
    seed: int,
    weights_given: bool = False,
    group_by: Sequence[str] = (),
    texts: Sequence[str] = (),
) -> Splits:
    """Split raw rows and preprocess them, learning from members only.

    Given weights were trained on inputs as they are. Numbers are then left alone unless the
    configuration says otherwise, because the model would not work on standardized inputs.

    Args:
        raw: the source's rows.
        split: sizes of the groups, and the members where they are declared.
        preprocessing: how rows become tensors.
        membership: how it is known which rows are members.
        seed: seed of every draw.
        weights_given: whether training starts from weights that were trained before.
        group_by: columns within whose groups figures are judged.
        texts: columns of text that the configuration lists, in the order of a pair.

    Raises:
        DataError: and its subclasses, as `load_splits`.
    """
    given, tokens = raw, None
    if preprocessing.tokenizer is not None:
        raw, tokens = tokenized(raw, preprocessing, listed=texts)
    if weights_given and preprocessing.features == "auto":
        preprocessing = preprocessing.model_copy(update={"features": "none"})
    declared = declared_members(raw, split, membership)
    used = draw_rows(raw, split, seed=seed)
    cut = partition(
        used,
        content_of_raw(raw, max_words=preprocessing.max_words),
        names=torch.arange(len(raw)).numpy(),
        declared=declared,
        shares=Shares(split.members, split.steer, split.reference, split.deduplicate),
        seed=seed,
    )
    columns = columns_named(given, group_by)
    preprocessor = (
        Preprocessor.fit(raw, cut.members, preprocessing)
        if tokens is None
        else Preprocessor(block=tokens)
    )

    on_disk = preprocessing.scratch is not None or is_mapped(raw.columns)

    def rows(index: NDArray[Any]) -> Rows:
        ids = torch.from_numpy(index)
        labels = torch.from_numpy(raw.labels[index])
        inputs = preprocessor.transform(raw, index, on_disk=on_disk, folder=preprocessing.scratch)
        return Rows(inputs, labels, ids, source_rows(given, index))

    return assemble(
        rows(cut.members),
        steer_nonmembers=rows(cut.steer_nonmembers),
        sealed_nonmembers=rows(cut.sealed_nonmembers),
        reference=rows(cut.reference),
        cut=cut,
        membership=membership,
        source_rows=len(raw),
        used_rows=len(used),
        class_names=raw.label_names,
        preprocessor=preprocessor,
        weights_given=weights_given,
        groups={n: RowValues(np.arange(len(raw)), values) for n, values in columns.items()},
    )
