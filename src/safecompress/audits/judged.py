"""`judged`: the verdict on one audited model, from its recorded outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from safecompress.audits.believable import doubts_of, hurry_of
from safecompress.audits.case import AuditInput
from safecompress.audits.other_tasks import TASK_TIERS, is_other_task, task_suite
from safecompress.audits.pair import TransferPair, pair
from safecompress.audits.suite import TIERS, Limits, audit_suite, shown_of_all
from safecompress.audits.time_budget import Budget, TimePlan, plan_attacks
from safecompress.checks import Subject, Suite, corrected_level
from safecompress.checks.controls import control_checks
from safecompress.data import RecordedOutputs
from safecompress.data.own_recipe import reference_clause
from safecompress.events import Event, Listener
from safecompress.protocols import Attack
from safecompress.randomness import derive
from safecompress.verdict_names import AUDITED, DENSE
from safecompress.verdicts.assemble import AuditFacts, assemble
from safecompress.verdicts.document import Against, AuditedModel, SimilarityFigures
from safecompress.verdicts.pair_plot_data import pair_figures
from safecompress.verdicts.parts import ExposedMembers
from safecompress.verdicts.plot_data import figures_document
from safecompress.verdicts.verdict import (
    CHOSEN,
    DECLARED,
    LIMITS,
    Verdict,
    attacks_of,
    check_event,
    find,
    on_request,
)


def judged(
    case: AuditInput,
    limits: Limits,
    *,
    named: Sequence[Attack],
    level: float,
    seed: int,
    budget: Budget,
    on_event: Listener,
) -> tuple[Verdict, ExposedMembers]:
    """Attack a model through its recorded outputs.

    Args:
        case: the model's outputs, and those of the models that it is compared with.
        limits: the bounds to keep.
        named: attacks that the user named, which run beside those of the budget.
        level: confidence level of the intervals, in (0, 1).
        seed: fixes every random decision.
        budget: the time that the attacks may take.
        on_event: hears how outputs were read, and every check as it ends.

    Returns:
        The verdict, and the members that the strongest attack is surest of.

    Raises:
        SafeCompressError: when the outputs cannot be judged; the message says why.
    """
    recorded, paired = case.recorded, None
    on_event(Event("note", f"outputs were read as {recorded.kind}"))
    for remark in recorded.remarks:
        on_event(Event("note", remark))
    if case.against is not None:
        paired = pair(
            recorded,
            case.against,
            where=getattr(case.against, "__name__", type(case.against).__name__),
            span=case.span,
            max_transfer=limits.max_transfer,
            max_saving=limits.max_saving,
            max_gain=limits.max_transfer_gain,
            level=level,
            seed=derive(seed, "against"),
            outputs=case.outputs,
        )
        recorded = paired.recorded
    subjects = _subjects(recorded, case.parent, seed=derive(seed, "audit"))
    model = subjects[AUDITED]
    other = is_other_task(recorded)
    tiers = TASK_TIERS if other else TIERS
    plan = plan_attacks(subjects, AUDITED, budget, named=named, tiers=tiers)
    suite = (
        task_suite(limits, attacks=plan.attacks, groups=tuple(recorded.groups.members))
        if other
        else audit_suite(
            limits,
            attacks=plan.attacks,
            named=named,
            baseline=case.parent,
            group_by=tuple(recorded.groups.members),
        )
    )
    if paired is not None:
        suite = Suite((*suite.checks, *paired.checks))
    attacks = attacks_of(suite)
    # The verdict's sentence names the strongest attack of the comparison, so that shows only
    # attacks that need no second model.
    alone = [attack for attack in attacks if "parent" not in attack.requires]
    rows = recorded.rows
    doubts = (*doubts_of(recorded, case.parent), *hurry_of(plan.missed))
    finding = find(
        subjects,
        AUDITED,
        suite,
        compared=shown_of_all(alone),
        controls=lambda attacks: (
            *doubts,
            *control_checks(model, rows, attacks=attacks, accuracy_known=recorded.accuracy_known),
        ),
        level=corrected_level(level, case.looks),
        on_result=lambda result: on_event(check_event(result)),
    )
    facts = AuditFacts(
        model=AuditedModel(
            name=case.name,
            accuracy=finding.accuracy_of(AUDITED),
            outputs=recorded.kind,
            classes=0 if other else recorded.outputs.members.classes,
            references=recorded.references,
        ),
        looks=case.looks,
        scope=_scope(case, plan, paired) + on_request([attack.name for attack in named]),
        limits=(*LIMITS, *([] if case.sealed else [DECLARED]), CHOSEN),
        against=None if paired is None else _against(paired),
        class_names=recorded.class_names,
        remarks=recorded.remarks,
        standard=limits.standard,
    )
    figures = figures_document(
        subjects,
        finding.checks,
        attacks=attacks,
        pair=pair_figures(model, suite.checks, level=finding.level),
    )
    document = assemble(finding, facts)
    verdict = Verdict(finding.status, finding.sentence, finding.checks, document, figures)
    return verdict, document.exposed


def _against(paired: TransferPair) -> Against:
    similarity = SimilarityFigures.of(paired.similarity)
    return Against(similarity=similarity, not_measured=paired.left_out)


def _subjects(
    recorded: RecordedOutputs, parent: RecordedOutputs | None, *, seed: int
) -> dict[str, Subject]:
    evidence_by_name = {AUDITED: recorded.evidence}
    if parent is not None:
        both = recorded.evidence.zip(parent.outputs, lambda e, o: replace(e, parent=o))
        evidence_by_name = {DENSE: parent.evidence, AUDITED: both}
    return {
        name: Subject.of(
            evidence,
            name=name,
            density=None,
            seed=seed,
            class_names=recorded.class_names,
            classifies=not is_other_task(recorded),
        )
        for name, evidence in evidence_by_name.items()
    }


def _scope(case: AuditInput, plan: TimePlan, paired: TransferPair | None) -> str:
    """Return in words which attacks ran and which did not, and why."""
    parts = [", ".join(plan.tiers)]
    if any("references" in attack.requires for attack in plan.attacks):
        own = case.recorded.own_recipe
        parts[0] += reference_clause(case.recorded.references, own_recipe=own)
    elif not case.recorded.references:
        parts.append("without reference models no shadow-model attack could be run")
    if plan.left_out:
        parts.append(f"left out for time: {', '.join(plan.left_out)}")
    if case.sealed:
        parts.append(f"on the run's own sealed rows, look {case.looks} at them")
    if case.recorded.evidence.members.internals is None:
        parts.append("nothing saw the model's weights")
    if paired is not None and paired.left_out:
        parts.append(f"not measured of the pair: {paired.left_out}")
    return "; ".join(parts)
