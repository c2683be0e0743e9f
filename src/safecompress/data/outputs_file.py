"""`RecordedOutputs` and `read_outputs`: a model's recorded outputs, which an audit needs.

With outputs from a file, a model can be audited that does not run here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from safecompress.data import copies
from safecompress.data.classes import ClassList, require_names
from safecompress.data.copies import Answers, repeats_of
from safecompress.data.file_groups import with_file_groups
from safecompress.data.groups import repeats_remark
from safecompress.data.npz_source import list_npz
from safecompress.data.output_form import OutputForm, form_beside, form_of
from safecompress.data.output_kind import OutputKind
from safecompress.data.outputs_arrays import (
    labels_of,
    read_arrays,
    reference_outputs,
    stated_classes,
    target_outputs,
)
from safecompress.data.outputs_names import GROUPS, unread
from safecompress.data.own_recipe import require_own_recipe
from safecompress.data.raw import Array
from safecompress.errors import DataError, NonFiniteError
from safecompress.protocols import Evidence, Groups, Outputs, Pool, References, Rows


@dataclass(frozen=True)
class RecordedOutputs:
    """Recorded outputs of one model.

    Args:
        evidence: outputs of members and non-members, with those of reference models if recorded.
        kind: `logits` or `probabilities`, whichever the model returned.
        references: number of reference models.
        path: the file, or the model's name.
        rows: the rows; their inputs have no columns where only outputs are known.
        class_names: names of the classes, by their numbers; empty where they are not known.
        remarks: what was noticed about outputs and rows when they were read, one sentence each.
        step: distance of neighboring outputs where they were rounded; 0 where they were not.
        given: numbers of members and of non-members before repeated rows were left out; None where
            none were.
        doubt: why the model may not have got the inputs it knows, in words; empty without a doubt.
        accuracy_known: whether the non-members bear out the accuracy that the model's owner states
            of rows that it was not trained on.
        own_recipe: whether the reference models are known to be of the model's own recipe.
    """

    evidence: Pool[Evidence]
    kind: str
    references: int
    path: Path
    rows: Pool[Rows]
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    step: float = 0.0
    given: Pool[int] | None = None
    doubt: str = ""
    accuracy_known: bool = False
    own_recipe: bool = False

    @property
    def outputs(self) -> Pool[Outputs]:
        """The outputs of both groups."""
        return self.evidence.map(lambda e: e.outputs)

    @property
    def groups(self) -> Pool[Mapping[str, Groups]]:
        """By the name of a column, the group of every row; empty where none is known."""
        return self.evidence.map(lambda e: e.groups or {})

    def take(self, index: Pool[Tensor]) -> RecordedOutputs:
        """Return the outputs on some of the rows.

        Args:
            index: int64 positions of members and of non-members.
        """
        evidence = self.evidence.zip(index, lambda e, at: e.take(at))
        return replace(self, evidence=evidence, rows=self.rows.zip(index, lambda r, at: r.take(at)))


def read_outputs(
    path: Path, *, outputs: OutputKind = "auto", classes: ClassList | None = None
) -> RecordedOutputs:
    """Read recorded outputs from the arrays of an `.npz`; nothing is unpickled.

    - `member_logits` and `nonmember_logits`: floating-point (n, classes), or (n,) or (n, 1) for
      class 1 of two. Probabilities are recognized by entries in [0, 1] and rows that sum to 1, both
      within rounding; percentages likewise. All rows of both groups must be of one kind.
    - `member_labels` and `nonmember_labels`: (n,), the true classes by number or name.
    - `class_names`, optional: the names of the classes in the order of the columns.
    - `member_reference_logits` and `nonmember_reference_logits`, optional: outputs of reference
      models, (models, n, classes), or (models, n) for class 1 of two; all of one kind, which may be
      another than that of the model's own outputs.
    - `member_reference_seen` and `nonmember_reference_seen`, optional: bool (models, n), whether a
      row was in that model's training set; without them no row was.
    - `recipe` and `reference_recipe`, optional: what the model and the references were trained by,
      a text each, or one for every reference; references of another recipe are refused.
    - `member_group_NAME` and `nonmember_group_NAME`, optional: numbers, texts or yes/no (n,), by
      whose groups the leak is judged, too.

    Nothing reads other arrays: they are named in a remark, and refused where a name looks like one
    of these with a mistake.

    Args:
        path: the `.npz`.
        outputs: `logits` or `probabilities`, what the model's outputs are; `auto` reads it off the
            numbers. It also settles what references are, where their numbers leave it open.
        classes: the classes in the order of the columns, as the user listed them; None takes those
            of the file.

    Raises:
        ConfigError: when the classes listed are not the columns, or not those of the file.
        DataError: when the file or an array cannot be used, when it is unclear whether outputs are
            logits, or when both groups share rows; the message names the file, the array, what it
            holds and what was expected.
    """
    arrays = read_arrays(path)
    present = list_npz(path)
    more = unread(present, path)
    said = Pool(*(target_outputs(arrays, group, path) for group in GROUPS))
    sizes, columns = said.map(len), said.map(lambda values: values.shape[1])
    if columns.members != columns.nonmembers:
        raise DataError(
            f"{path}: member_logits have {columns.members} classes, nonmember_logits "
            f"{columns.nonmembers}; expected one model's outputs."
        )
    form = form_of((said.members, said.nonmembers), declared=outputs, where=str(path))
    stated = stated_classes(arrays, classes, path)
    names = () if stated is None else stated.names
    shapes = sizes.map(lambda n: (n, 2 if form.single else columns.members))
    require_names(names, shapes.members[1], path=path)
    labels = Pool(
        labels_of(arrays, "member", shapes.members, path, classes=stated),
        labels_of(arrays, "nonmember", shapes.nonmembers, path, classes=stated),
    )
    given, other = _references(arrays, sizes, form, declared=outputs, path=path)
    if other is not None:
        form, other = form.sharing(other), other.sharing(form)
    found = _outputs(said.map(form.logits), labels, path)
    recorded = replace(recorded_outputs(found, form, path=path), class_names=names)
    if given is not None and other is not None:
        count = len(given.members[0])
        own = require_own_recipe(arrays, path, references=count)
        recorded = replace(_with_references(recorded, given, other), own_recipe=own)
    refuse_shared(recorded)
    recorded = replace(recorded, remarks=(*recorded.remarks, *more))
    return with_file_groups(judged_once(recorded), path, present)


def recorded_outputs(
    outputs: Pool[Outputs], form: OutputForm, *, path: Path, rows: Pool[Rows] | None = None
) -> RecordedOutputs:
    """Return outputs as an audit takes them.

    Args:
        outputs: the model's outputs for members and non-members, as logits.
        form: what they were before.
        path: the file they are from, or the model's name.
        rows: the rows; None where only their outputs are known.
    """
    if rows is None:
        rows = outputs.map(lambda o: Rows(torch.zeros(len(o), 0), o.labels, o.ids))
    rounding = form.grain.step / form.scale
    return RecordedOutputs(
        outputs.map(Evidence),
        form.kind,
        0,
        path,
        Pool(rows.members, rows.nonmembers),
        remarks=form.remarks,
        step=rounding,
    )


def refuse_shared(recorded: RecordedOutputs) -> None:
    """Refuse outputs of groups that share rows, because such an audit finds nothing.

    Args:
        recorded: the outputs.

    Raises:
        DataError: when more rows have the same outputs and labels than distinct rows would.
    """
    answers = recorded.evidence.map(lambda e: Answers.of(e, kind=recorded.kind))
    copies.refuse_shared(answers, recorded.path, step=recorded.step)


def judged_once(recorded: RecordedOutputs) -> RecordedOutputs:
    """Leave out rows that were certainly given several times, because a row is judged once.

    Args:
        recorded: outputs of rows whose inputs are not known.

    Raises:
        DataError: when both groups share rows, which repetitions had hidden.
    """
    answers = recorded.evidence.map(lambda e: Answers.of(e, kind=recorded.kind, references=True))
    repeats = repeats_of(answers)
    dropped = repeats.map(lambda r: r.dropped)
    if not dropped.members + dropped.nonmembers:
        return recorded
    sizes = recorded.evidence.map(lambda e: len(e.outputs))
    remark = repeats_remark(sizes, dropped, "outputs and labels")
    once = recorded.take(repeats.map(lambda r: torch.from_numpy(r.kept)))
    refuse_shared(once)
    return replace(once, given=sizes, remarks=(*once.remarks, remark))


def _outputs(logits: Pool[Tensor], labels: Pool[Tensor], path: Path) -> Pool[Outputs]:
    """Return outputs whose rows are numbered in the order of the file, members first."""
    ids = torch.arange(len(labels.members) + len(labels.nonmembers))
    numbers = Pool(ids[: len(labels.members)], ids[len(labels.members) :])

    def outputs(group: str, values: Tensor, classes: Tensor, at: Tensor) -> Outputs:
        try:
            return Outputs(values, classes, at)
        except (DataError, NonFiniteError) as error:
            raise DataError(f"{path}: {group} {error}") from error

    return Pool(
        outputs("member", logits.members, labels.members, numbers.members),
        outputs("nonmember", logits.nonmembers, labels.nonmembers, numbers.nonmembers),
    )


def _references(
    arrays: dict[str, Array],
    sizes: Pool[int],
    form: OutputForm,
    *,
    declared: OutputKind,
    path: Path,
) -> tuple[Pool[tuple[Tensor, Tensor]] | None, OutputForm | None]:
    """Return what reference models said and what rows they saw, and of what form it is."""
    if "member_reference_logits" not in arrays:
        return None, None
    columns = arrays["member_logits"].shape[1:]
    classes = columns[0] if columns and not form.single else 2
    given = Pool(
        reference_outputs(arrays, "member", sizes.members, classes=classes, path=path),
        reference_outputs(arrays, "nonmember", sizes.nonmembers, classes=classes, path=path),
    )
    counts = given.map(lambda group: len(group[0]))
    if counts.members != counts.nonmembers:
        raise DataError(
            f"{path}: {counts.members} reference models of members, {counts.nonmembers} of "
            "non-members; expected the same models."
        )
    widths = given.map(lambda group: group[0].shape[2])
    if widths.members != widths.nonmembers:
        raise DataError(
            f"{path}: reference models have {widths.members} columns for members, "
            f"{widths.nonmembers} for non-members; expected the same models."
        )
    parts = [*given.members[0], *given.nonmembers[0]]
    where = f"{path}: arrays of reference_logits"
    return given, form_beside(parts, declared=declared, where=where)


def _with_references(
    recorded: RecordedOutputs, given: Pool[tuple[Tensor, Tensor]], form: OutputForm
) -> RecordedOutputs:
    """Return outputs with what reference models said of the same rows."""

    def known(evidence: Evidence, group: tuple[Tensor, Tensor]) -> Evidence:
        said, seen = group
        try:
            references = References.of(form.logits(said), evidence.outputs.labels, seen)
        except (DataError, NonFiniteError) as error:
            raise DataError(f"{recorded.path}: arrays of reference_logits: {error}") from error
        return replace(evidence, references=references)

    return replace(
        recorded,
        evidence=recorded.evidence.zip(given, known),
        references=len(given.members[0]),
        remarks=(*recorded.remarks, *(f"Reference models: {text}" for text in form.remarks)),
    )
