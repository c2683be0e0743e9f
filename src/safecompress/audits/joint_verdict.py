"""`judge_jointly`: the verdict on several files that were opened on the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from safecompress.audits.believable import doubts_of
from safecompress.audits.joint_case import JointCase
from safecompress.audits.joint_suite import JointScopes, joint_scopes
from safecompress.audits.suite import Limits
from safecompress.audits.time_budget import Budget
from safecompress.checks import CheckResult, Subject, corrected_level
from safecompress.checks.controls import attack_controls, control_checks
from safecompress.checks.reference_doubts import reference_doubts
from safecompress.data.own_recipe import reference_clause
from safecompress.events import Event, Listener
from safecompress.protocols import Attack
from safecompress.randomness import derive
from safecompress.registry.identity import Identity, identity
from safecompress.verdict_names import DENSE
from safecompress.verdicts.assemble import JointFacts, assemble
from safecompress.verdicts.document import AuditedModel
from safecompress.verdicts.joint_document import JointVerdict
from safecompress.verdicts.joint_finding import (
    OWN_INPUTS,
    JointFinding,
    Scope,
    find_jointly,
)
from safecompress.verdicts.joint_words import names_of
from safecompress.verdicts.plot_data import figures_document
from safecompress.verdicts.verdict import (
    CHOSEN,
    DECLARED,
    LIMITS,
    Verdict,
    attacks_of,
    check_event,
    on_request,
)

_SHARED = (
    "The level is shared: a failure has to hold at the level corrected for every critical check of "
    "all files, pairs and the whole set."
)


def judge_jointly(
    case: JointCase,
    limits: Limits,
    *,
    named: Sequence[Attack] = (),
    level: float,
    seed: int,
    on_event: Listener,
) -> tuple[Verdict, JointVerdict]:
    """Return the verdict on several files, and its document.

    Args:
        case: the files.
        limits: the bounds that each file, each pair and the whole set must keep.
        named: further attacks on each file by itself.
        level: confidence level of the intervals, in (0, 1), before the correction for looks.
        seed: seed of everything random.
        on_event: called with an event for every check.
    """
    for name, file in zip(case.names, case.files, strict=True):
        on_event(Event("note", f"{name}: outputs were read as {file.kind}"))
    budget = Budget(float("inf"), time.perf_counter())
    seed = derive(seed, "audit")
    judged = joint_scopes(case, limits, named=named, budget=budget, seed=seed)
    finding = find_jointly(
        judged.scopes,
        dense=_dense(case, seed=seed),
        published=case.published is not None,
        best_pair=judged.best_pair,
        controls=_controls(case, judged),
        level=corrected_level(level, case.looks),
        on_result=lambda result: on_event(check_event(result)),
    )
    document = assemble(finding, _facts(case, judged, named, limits))
    figures = _figures(finding)
    verdict = Verdict(finding.status, document.sentence, finding.checks, document, figures)
    return verdict, document


def _dense(case: JointCase, *, seed: int) -> Subject | None:
    """Return the dense model, without any evidence on other files."""
    if case.dense is None:
        return None
    return Subject.of(case.dense.evidence, name=DENSE, density=None, seed=seed)


def _controls(
    case: JointCase, judged: JointScopes
) -> Callable[[Scope, int], tuple[CheckResult, ...]]:
    """Return what runs the controls of a scope.

    The rows are compared without a model once, with the inputs of a file that knows them. Attacks
    on two files are tested on the pair that was chosen.
    """
    where = case.best_known_rows
    done: set[Identity] = set()

    def controls(scope: Scope, among: int) -> tuple[CheckResult, ...]:
        if scope.alone:
            (place,) = scope.files
            file, attacks = case.files[place], scope.attacks
            doubts = tuple(
                replace(doubt, name=f"control: {OWN_INPUTS}", attack=OWN_INPUTS)
                for doubt in doubts_of(file, None)
            )
            if place != where:
                return (
                    *doubts,
                    *reference_doubts(scope.subject.evidence),
                    *attack_controls(scope.subject, attacks=attacks, among=among),
                )
            rows = file.rows
            return (
                *doubts,
                *control_checks(scope.subject, rows, attacks=attacks, among=among),
            )
        if len(scope.files) == 2 and scope.name != judged.best_pair:
            return ()
        new = [attack for attack in scope.attacks if identity(attack) not in done]
        done.update(map(identity, new))
        return attack_controls(scope.subject, attacks=new, among=among)

    return controls


def _facts(
    case: JointCase, judged: JointScopes, named: Sequence[Attack], limits: Limits
) -> JointFacts:
    accuracies = [float(f.outputs.nonmembers.correct.double().mean()) for f in case.files]
    sealed = all(c.sealed for c in case.cases)
    return JointFacts(
        model=AuditedModel(
            name=names_of(case.names),
            accuracy=min(accuracies),
            outputs=" and ".join(sorted({file.kind for file in case.files})),
            classes=case.files[0].outputs.members.classes,
            references=min(file.references for file in case.files),
        ),
        kinds=tuple(file.kind for file in case.files),
        references=tuple(file.references for file in case.files),
        dense=_dense_is(case),
        looks=case.looks,
        scope=_scope(case, judged) + on_request([attack.name for attack in named]),
        limits=(*LIMITS, *([] if sealed else [DECLARED]), CHOSEN, _SHARED),
        class_names=next((f.class_names for f in case.files if f.class_names), ()),
        remarks=_remarks(case),
        standard=limits.standard,
    )


def _dense_is(case: JointCase) -> Literal["published", "secret", "not given"]:
    if case.published is not None:
        return "published"
    return "secret" if case.secret else "not given"


def _remarks(case: JointCase) -> tuple[str, ...]:
    """Return what was noticed of any file, each sentence once and with the file's name."""
    pairs = zip(case.names, case.files, strict=True)
    return tuple(f"{name}: {remark}" for name, file in pairs for remark in file.remarks)


def _scope(case: JointCase, judged: JointScopes) -> str:
    """Return in words which attacks ran and which did not, and why."""
    tiers = dict.fromkeys(tier for plan in judged.plans.values() for tier in plan.tiers)
    parts = [f"every file alone by {', '.join(tiers)}"]
    several = dict.fromkeys(a.name for s in judged.scopes if not s.alone for a in s.attacks)
    parts.append(f"every two files and all of them by {', '.join(several)}")
    known = [file for file in case.files if file.references]
    if known:
        fewest = min(file.references for file in known)
        own = all(file.own_recipe for file in known)
        parts[0] += reference_clause(fewest, own_recipe=own)
    if len(known) < len(case.files):
        without = len(case.files) - len(known)
        parts.append(
            f"without reference models no shadow-model attack could be run on {without} of the "
            "files"
        )
    elif "learnt-set" not in several:
        parts.append("references of the files are not of the same models, so none read them all")
    if case.looks > 1 or any(c.sealed for c in case.cases):
        parts.append(f"on the run's own sealed rows, look {case.looks} at them")
    return "; ".join(parts)


def _figures(finding: JointFinding) -> dict[str, Any]:
    """Return the curves of every file, of the best pair and of the whole set."""
    singles = {s.name: s.subject for s in finding.singles}
    attacks = {identity(a): a for s in finding.singles for a in s.attacks}
    figures = figures_document(singles, finding.checks, attacks=list(attacks.values()))
    for scope in finding.scopes:
        if not scope.alone and scope.name in {finding.best_pair, finding.scopes[-1].name}:
            held = {scope.name: scope.subject}
            figures["roc"] |= figures_document(held, (), attacks=attacks_of(scope.suite))["roc"]
    return figures
