"""`retest`, `compared`: a file against its model, and the run's suite on the sealed rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from safecompress.checks import (
    Accuracy,
    AttackMeasure,
    Check,
    CheckResult,
    Measure,
    Status,
    Subject,
    Suite,
    at_least_dense,
    at_most_dense,
    attacks_of_shadows,
    corrected_level,
    overall,
)
from safecompress.checks.presets import suite_from
from safecompress.data import RecordedOutputs
from safecompress.errors import blaming
from safecompress.export.agreement import Agreement, same_class
from safecompress.export.context import ExportContext
from safecompress.export.format import Format
from safecompress.export.source import Source
from safecompress.files import sha256
from safecompress.protocols import Estimate, Pool, Rows
from safecompress.randomness import derive
from safecompress.stats import clopper_pearson
from safecompress.targets.query import record_rows
from safecompress.verdict_names import AUDITED, DENSE, EXPORTED
from safecompress.verdicts.export_document import RetestFacts, RowCounts
from safecompress.verdicts.parts import CheckEntry
from safecompress.verdicts.verdict import attacks_of

_CLOSE = 1e-4
"""Largest difference that the order of additions explains, relative to a row's largest logit."""
_EVIDENCE = frozenset({"rows", "parent"})
"""What a file alone offers to attacks; it has no internals and no shadow models."""


@dataclass(frozen=True)
class Retest:
    """The result of testing a file on the sealed rows.

    Args:
        checks: comparisons of the file with the model: answers, accuracy and every attack.
        facts: the verdict of the run's suite on the file, numbers of rows and looks.
    """

    checks: tuple[CheckResult, ...]
    facts: RetestFacts


def retest(
    source: Source,
    path: Path,
    form: Format,
    context: ExportContext,
    *,
    min_agreement: float,
    listen: Callable[[CheckResult], None],
) -> Retest:
    """Load a file in its own runtime and repeat the run's suite on the sealed rows.

    The file is another model, so the ledger counts a look. The export fails where an attack is
    stronger on the file than on the model, or the accuracy lower, by more than the interval of the
    paired difference over the same rows.

    Args:
        source: the run.
        path: the file, which `Format.verify` has accepted.
        form: its format.
        context: that the file was written from.
        min_agreement: see `compared`.
        listen: is called with the result of every comparison.

    Raises:
        ModelError: when the file does not load, or fails on the rows.
        StorageError: when the ledger cannot be written.
    """
    run = source.run
    sealed, looks = run.open_sealed({"export": form.name, "file": sha256(path)})
    level = corrected_level(run.config.verdict.level, looks)
    found = compared(source, path, form, context, sealed, level=level, min_agreement=min_agreement)
    for check in found.checks:
        listen(check)
    rows = sealed.map(len)
    repeated = found.suite.run(found.exported, found.dense, level=level)
    return Retest(
        found.checks,
        RetestFacts(
            verdict=overall(repeated),  # type: ignore[arg-type] # the document refuses others
            checks=tuple(map(CheckEntry.of, repeated)),
            not_repeated=found.left_out,
            looks=looks,
            level=level,
            rows=RowCounts(members=rows.members, nonmembers=rows.nonmembers),
            accuracy=found.exported.accuracy,
            accuracy_before=found.audited.accuracy,
            same_class=found.same_class,
        ),
    )


@dataclass(frozen=True)
class Compared:
    """A file beside the model that it was made of, on the same rows.

    Args:
        checks: whether the file's answers, accuracy and attacks are those of the model.
        exported: the file.
        audited: the model.
        dense: the dense model; None where the run has none.
        suite: the checks of the run's suite that a file allows.
        left_out: the names of the others.
        same_class: share of the rows for which both name the same class, in [0, 1].
        agreement: the same of the non-members alone, which nothing was trained on.
    """

    checks: tuple[CheckResult, ...]
    exported: Subject
    audited: Subject
    dense: Subject | None
    suite: Suite
    left_out: tuple[str, ...]
    same_class: float
    agreement: Agreement


def compared(
    source: Source,
    path: Path,
    form: Format,
    context: ExportContext,
    rows: Pool[Rows],
    *,
    level: float,
    min_agreement: float,
) -> Compared:
    """Load a file in its own runtime and compare it with the model.

    Args:
        source: the run.
        path: the file, which `Format.verify` has accepted.
        form: its format.
        context: that the file was written from.
        rows: members and non-members that are asked.
        level: confidence level of every interval, in (0, 1).
        min_agreement: share of the non-members, in [0, 1], on which the file names the model's
            class; 0 leaves the check out.

    Raises:
        ModelError: when the file does not load, or fails on the rows.
    """
    run = source.run
    seed = derive(run.config.seed, "verdict")
    before = record_rows(source.module, rows, path=run.folder)
    file = answers_of(source, path, form, context, rows)
    dense = source.dense()
    parent = None if dense is None else record_rows(dense, rows, path=run.folder)

    suite, left_out = _suite(source, relative=parent is not None)
    density = run.stored.topology.density
    exported, audited = (
        _subject(recorded, parent, name=name, density=density, seed=seed)
        for name, recorded in ((EXPORTED, file), (AUDITED, before))
    )
    dense_subject = (
        None if parent is None else _subject(parent, None, name=DENSE, density=1.0, seed=seed)
    )
    checks = [_same_answers(file, before)] if _must_be_equal(form, context) else []
    measures = [Accuracy(), *(AttackMeasure(attack) for attack in attacks_of(suite))]
    checks += [
        _unchanged(measure, exported, audited, level=level, among=len(measures))
        for measure in measures
    ]
    agreement = Agreement.of(*_pairs(file, before)[1])
    if min_agreement > 0:
        checks.append(_same_class(agreement, min_agreement, level=level))
    same = _agreement(file, before)
    return Compared(
        tuple(checks), exported, audited, dense_subject, suite, left_out, same, agreement
    )


def _suite(source: Source, *, relative: bool) -> tuple[Suite, tuple[str, ...]]:
    """Return the checks of the run's suite that a file allows, and the names of the others."""
    config = source.run.config
    shadows = attacks_of_shadows(config, source.run.splits)
    # Masks keep whole weights, so the actual density may exceed the target by less than a weight.
    density = max(config.sparse.density, source.run.stored.topology.density)
    suite = suite_from(config, density=density, relative=relative, shadows=shadows)

    def able(check: Check) -> bool:
        return check.measure.requires <= _EVIDENCE and (relative or not check.condition.relative)

    kept = tuple(check for check in suite.checks if able(check))
    return Suite(kept), tuple(check.name for check in suite.checks if not able(check))


def _subject(
    recorded: RecordedOutputs,
    parent: RecordedOutputs | None,
    *,
    name: str,
    density: float,
    seed: int,
) -> Subject:
    evidence = recorded.evidence
    if parent is not None:
        evidence = evidence.zip(parent.outputs, lambda e, o: replace(e, parent=o))
    return Subject.of(evidence, name=name, density=density, seed=seed)


def answers_of(
    source: Source, path: Path, form: Format, context: ExportContext, asked: Pool[Rows]
) -> RecordedOutputs:
    """Record the file's outputs on rows, raw ones where preprocessing is inside.

    Args:
        source: the run.
        path: the file.
        form: its format.
        context: that the file was written from.
        asked: the rows, as the run's model takes them.

    Raises:
        ModelError: when the file does not load, or fails on the rows.
    """
    rows = asked
    if context.preprocessor is not None:
        rows = asked.map(lambda r: replace(r, inputs=torch.from_numpy(source.raw(r.ids))))
    with blaming(form, f"export: the format '{form.name}'"):
        return record_rows(form.open(path, context), rows, path=path)


def _must_be_equal(form: Format, context: ExportContext) -> bool:
    """Return whether the file's logits must be the model's, up to the order of additions."""
    numbers = context.numbers
    rounded = numbers is not None and bool(numbers.ranges)
    return form.exact and (form.rounds_inputs or not rounded)


def _unchanged(
    measure: Measure, file: Subject, model: Subject, *, level: float, among: int
) -> CheckResult:
    """Fail where the whole interval of the paired difference to the model is on the worse side.

    The interval's level is corrected for the number of measures that are compared.
    """
    leak = isinstance(measure, AttackMeasure)
    condition = at_most_dense(0.0) if leak else at_least_dense(0.0)
    check = Check(f"{measure.name} as before", measure, condition)
    result = check.run(file, model, level=level, among=among)
    named = replace(result, condition="no worse than the model, beyond the interval")
    if result.estimate is None:
        return named
    status = Status.FAIL if result.status is Status.FAIL else Status.PASS
    return replace(named, status=status, message="difference to the model before export")


def _same_answers(file: RecordedOutputs, model: RecordedOutputs) -> CheckResult:
    """Check that an exact file gives the model's classes and, within `_CLOSE`, its logits."""
    worst = 0.0
    for ours, theirs in _pairs(file, model):
        scale = theirs.abs().amax(dim=1, keepdim=True).clamp(min=1e-6)
        worst = max(worst, float(((ours - theirs).abs() / scale).max()))
    same = worst <= _CLOSE and _agreement(file, model) == 1.0
    return CheckResult(
        "answers as before",
        Status.PASS if same else Status.FAIL,
        True,
        f"same class, logits within {_CLOSE:g} of the largest",
        Estimate(worst, worst, worst, 0, 0),
        0.0,
    )


def _agreement(file: RecordedOutputs, model: RecordedOutputs) -> float:
    """Return the share of rows, in [0, 1], with the same class; tied logits count as the same."""
    same = [same_class(*pair) for pair in _pairs(file, model)]
    return float(torch.cat(same).double().mean())


def _same_class(found: Agreement, least: float, *, level: float) -> CheckResult:
    """Fail where the whole interval of the share of rows with the same class is below the least."""
    interval = clopper_pearson(found.same, found.rows, level=level)
    figures = interval.value, interval.low, interval.high
    return CheckResult(
        "same class as before",
        Status.FAIL if interval.high < least else Status.PASS,
        True,
        f"at least {least:g}, within the interval",
        Estimate(*figures, 0, found.rows),
        0.0,
        "share of the non-members for which the file names the model's class",
    )


def _pairs(file: RecordedOutputs, model: RecordedOutputs) -> list[tuple[Tensor, Tensor]]:
    ours, theirs = file.outputs, model.outputs
    return [
        (ours.members.logits, theirs.members.logits),
        (ours.nonmembers.logits, theirs.nonmembers.logits),
    ]
