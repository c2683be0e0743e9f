"""`assemble`: the one place where verdict documents are put together.

Runs, audits and exports pass the results of their checks and the facts that only they know.
Comparisons, which have no checks, have functions of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

from safecompress.config.standards import StandardName
from safecompress.protocols import Attack, AttackResult
from safecompress.registry.identity import identity
from safecompress.verdict_names import DENSE, SCHEMA_VERSION
from safecompress.verdicts.comparison_document import (
    CohortRow,
    CohortTable,
    Hypervolume,
    RunRow,
    RunTable,
)
from safecompress.verdicts.document import (
    Against,
    AuditedModel,
    AuditVerdict,
    CanaryFigures,
    CompressedModel,
    CompressVerdict,
    DifferentialPrivacy,
    ThreatModel,
)
from safecompress.verdicts.export_document import (
    ExportedFile,
    ExportedModel,
    ExportedRun,
    ExportVerdict,
    Measured,
    RetestFacts,
    SteeringAgreement,
)
from safecompress.verdicts.exposed_members import most_exposed, newly_exposed, strongest_of
from safecompress.verdicts.joint_document import JointVerdict
from safecompress.verdicts.joint_finding import JointFinding
from safecompress.verdicts.joint_steps import steps_of_set
from safecompress.verdicts.joint_words import set_sentences, surest_first, threat_of_set
from safecompress.verdicts.leak_by_class import leak_of
from safecompress.verdicts.parts import CheckEntry
from safecompress.verdicts.recall_by_class import recall_by_class
from safecompress.verdicts.set_exposure import (
    exposed_by_set,
    files_of,
    held_together,
    strongest_on_several,
)
from safecompress.verdicts.standard_statement import standard_statement
from safecompress.verdicts.verdict import Finding, Outcome, power_statement, threat_model


@dataclass(frozen=True)
class RunFacts:
    """The facts of a verdict that only a run knows.

    Args:
        model: the compressed model.
        looks: distinct models that were judged on the sealed rows, this one included.
        scope: which attacks ran and which did not, in words.
        limits: what the verdict does not say.
        class_names: names of the classes, by their numbers; empty where they are not known.
        promised: what DP-SGD promises; None where no stage used it.
        canaries: what the run's canaries show; None where it had none.
        remarks: what was noticed about the model and its rows, one sentence each.
        standard: the published standard that the limits follow; None where they follow none.
    """

    model: CompressedModel
    looks: int
    scope: str
    limits: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    promised: DifferentialPrivacy | None = None
    canaries: CanaryFigures | None = None
    remarks: tuple[str, ...] = ()
    standard: StandardName | None = None


@dataclass(frozen=True)
class AuditFacts:
    """The facts of a verdict that only an audit knows.

    Args:
        model: the audited model.
        looks: distinct models that were judged on these rows, this one included.
        scope: which attacks ran and which did not, in words.
        limits: what the verdict does not say.
        against: what the model gives away about the full one; None where it was not measured.
        class_names: names of the classes, by their numbers; empty where they are not known.
        remarks: what was noticed about the model and its rows, one sentence each.
        standard: the published standard that the limits follow; None where they follow none.
    """

    model: AuditedModel
    looks: int
    scope: str
    limits: tuple[str, ...]
    against: Against | None = None
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    standard: StandardName | None = None


@dataclass(frozen=True)
class JointFacts:
    """The facts of a verdict that only an audit of several files knows.

    Args:
        model: the set, as `AuditedModel` holds it.
        kinds: what each file answers, `logits` or `probabilities`.
        references: number of references in each file's format.
        dense: `published`, `secret` or `not given`.
        looks: distinct models that were judged on these rows, this set included.
        scope: which attacks ran and which did not, in words.
        limits: what the verdict does not say.
        class_names: names of the classes, by their numbers; empty where they are not known.
        remarks: what was noticed about the files and their rows, one sentence each.
        standard: the published standard that the limits follow; None where they follow none.
    """

    model: AuditedModel
    kinds: tuple[str, ...]
    references: tuple[int, ...]
    dense: Literal["published", "secret", "not given"]
    looks: int
    scope: str
    limits: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    standard: StandardName | None = None


@dataclass(frozen=True)
class ExportFacts:
    """The facts of a verdict that only an export knows; the fields are those of `ExportVerdict`."""

    file: ExportedFile
    made_with: Mapping[str, Any]
    model: ExportedModel
    data: Mapping[str, str]
    use: str
    usage: str
    run: ExportedRun
    retest: RetestFacts
    agreement: SteeringAgreement | None
    measured: Measured | None
    limits: tuple[str, ...]
    sha256: Mapping[str, str]
    faithful: bool | None
    despite_failure: bool


@overload
def assemble(outcome: Finding, facts: RunFacts) -> CompressVerdict: ...
@overload
def assemble(outcome: Finding, facts: AuditFacts) -> AuditVerdict: ...
@overload
def assemble(outcome: JointFinding, facts: JointFacts) -> JointVerdict: ...
@overload
def assemble(outcome: Outcome, facts: ExportFacts) -> ExportVerdict: ...
def assemble(
    outcome: Outcome, facts: RunFacts | AuditFacts | JointFacts | ExportFacts
) -> CompressVerdict | AuditVerdict | JointVerdict | ExportVerdict:
    """Return the document of a verdict.

    Args:
        outcome: the results of the checks; a `Finding` for runs and audits, a `JointFinding` for
            audits of several files.
        facts: the facts that only the run, the audit or the export knows.

    Raises:
        TypeError: when the outcome of a run or an audit is no `Finding`, or that of several files
            no `JointFinding`.
    """
    if isinstance(facts, ExportFacts):
        return _export(outcome, facts)
    if isinstance(facts, JointFacts) and isinstance(outcome, JointFinding):
        return _joint(outcome, facts)
    if not isinstance(outcome, Finding) or isinstance(facts, JointFacts):
        raise TypeError(
            f"assemble: {type(facts).__name__} come with a Finding, not {type(outcome).__name__}."
        )
    strongest = strongest_of(outcome.subject, outcome.alone)
    if isinstance(facts, RunFacts):
        return CompressVerdict(
            **_judged(outcome, facts, strongest),
            kind="compress",
            model=facts.model,
            threat_model=ThreatModel(kind="compressed", text=threat_model(outcome.attacks)),
            differential_privacy=facts.promised,
            canaries=facts.canaries,
        )
    return AuditVerdict(
        **_judged(outcome, facts, strongest),
        kind="audit",
        model=facts.model,
        threat_model=ThreatModel(kind="outputs", text=threat_model(outcome.attacks)),
        exposed=most_exposed(strongest),
        against=facts.against,
    )


def _judged(
    finding: Finding,
    facts: RunFacts | AuditFacts | JointFacts,
    strongest: AttackResult | None,
) -> dict[str, Any]:
    """Return the fields that verdicts on runs and on audited models have in common."""
    rows = finding.subject.outputs.map(len)
    dense = finding.subjects.get(DENSE)
    exposed = None
    dense = None if dense is finding.subject else dense
    if dense is not None:
        exposed = newly_exposed(finding.subject, dense, finding.attacks)
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": finding.status,
        "sentence": finding.sentence,
        "judged": finding.judged,
        "power": power_statement(rows.members, rows.nonmembers, level=finding.level),
        "level": finding.level,
        "checks": tuple(map(CheckEntry.of, finding.checks)),
        "comparison": finding.comparison,
        "looks": facts.looks,
        "scope": facts.scope,
        "limits": facts.limits,
        "leak": leak_of(finding, strongest),
        "by_class": recall_by_class(finding.subject, dense, level=finding.level),
        "newly_exposed": exposed,
        "standard": standard_statement(
            facts.standard,
            finding,
            attacks=_attacks_that_ran(finding),
            files=len(facts.kinds) if isinstance(facts, JointFacts) else 1,
        ),
        "remarks": facts.remarks,
        "next_steps": finding.next_steps,
    }


def _attacks_that_ran(finding: Finding) -> tuple[Attack, ...]:
    """Return the attacks of a finding; those of every file and of every set of files, each once."""
    if not isinstance(finding, JointFinding):
        return finding.attacks
    ran = {identity(a): a for scope in finding.scopes for a in scope.attacks}
    return tuple(ran.values())


def _joint(finding: JointFinding, facts: JointFacts) -> JointVerdict:
    found = strongest_on_several(finding)
    strongest = None if found is None else found[1]
    several = [scope for scope in finding.scopes if not scope.alone]
    pairs = {s.name: held_together(finding, s) for s in several if len(s.files) == 2}
    files = files_of(finding, kinds=facts.kinds, references=facts.references)
    exposed = exposed_by_set(finding)
    family = held_together(finding, finding.scopes[-1])
    best = pairs.get(finding.best_pair)
    common = _judged(finding, facts, strongest)
    more = set_sentences(files, best, family, exposed)
    return JointVerdict(
        **common
        | {
            "sentence": " ".join([finding.sentence, *more]),
            "by_class": (),
            "next_steps": (*steps_of_set(finding), *finding.next_steps),
        },
        kind="joint",
        model=facts.model,
        threat_model=ThreatModel(kind="set", text=threat_of_set(len(files), facts.dense)),
        files=tuple(files),
        pairs=tuple(sorted(pairs.values(), key=surest_first)),
        best_pair=best,
        family=family,
        newly_exposed_by_set=exposed,
        exposed=most_exposed(strongest),
        dense=facts.dense,
    )


def _export(outcome: Outcome, facts: ExportFacts) -> ExportVerdict:
    return ExportVerdict(
        schema_version=SCHEMA_VERSION,
        kind="export",
        status=outcome.status,  # type: ignore[arg-type] # the document refuses others
        sentence=outcome.sentence,
        file=facts.file,
        made_with=dict(facts.made_with),
        model=facts.model,
        data=dict(facts.data),
        use=facts.use,
        usage=facts.usage,
        run=facts.run,
        checks=tuple(map(CheckEntry.of, outcome.checks)),
        retest=facts.retest,
        measured=facts.measured,
        agreement=facts.agreement,
        limits=facts.limits,
        sha256=dict(facts.sha256),
        faithful=facts.faithful,
        despite_failure=facts.despite_failure,
        next_steps=outcome.next_steps,
    )


def assemble_cohorts(
    rows: Sequence[CohortRow],
    *,
    level: float,
    reference: str | None,
    hypervolume: Sequence[Hypervolume],
) -> CohortTable:
    """Return the document of a comparison of methods.

    Args:
        rows: one row for each cell, in the order of the table.
        level: confidence level of the intervals, in (0, 1).
        reference: the method that the others are compared with; None where nothing is tested.
        hypervolume: means over data sets.
    """
    return CohortTable(
        schema_version=SCHEMA_VERSION,
        kind="comparison",
        level=level,
        reference=reference,
        rows=tuple(rows),
        hypervolume=tuple(hypervolume),
    )


def assemble_runs(rows: Sequence[RunRow]) -> RunTable:
    """Return the document of finished runs side by side.

    Args:
        rows: one row for each model, in the order of the table.
    """
    return RunTable(schema_version=SCHEMA_VERSION, kind="runs", reference=None, rows=tuple(rows))
