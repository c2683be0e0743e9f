"""`joint_scopes`: what an attacker of several files may hold, and the checks of each choice.

One file by itself is attacked as in an audit. Two files are attacked by `pair`, all of them by
`joint`, and both by `learnt-set` where the same reference models are known in every file's format.
Who holds all files holds every two of them, so the pair whose leak is largest decides with the
whole set. It is chosen on rows whose membership the attacks learn from anyway, and not on those
that judge. Every other pair can fail the verdict, and only warns where the rows are too few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch

from safecompress.attacks import ATTACKS
from safecompress.attacks.stand_ins import can_stand_in
from safecompress.audits.joint_case import JointCase
from safecompress.audits.suite import Limits, audit_suite, limit_checks, shown_of_all
from safecompress.audits.time_budget import Budget, TimePlan, plan_attacks
from safecompress.checks import AttackMeasure, Subject, Suite
from safecompress.data import RecordedOutputs, halves
from safecompress.errors import FOREIGN
from safecompress.protocols import Attack, Evidence, Pool, References
from safecompress.randomness import derive
from safecompress.stats import auc
from safecompress.verdicts.joint_finding import Scope
from safecompress.verdicts.joint_words import names_of


@dataclass(frozen=True)
class JointScopes:
    """The scopes of a set.

    Args:
        scopes: single files first, then pairs, then the whole set.
        best_pair: name of the pair that was chosen.
        plans: by file, which of an audit's attacks run on it alone.
    """

    scopes: tuple[Scope, ...]
    best_pair: str
    plans: Mapping[str, TimePlan]


def joint_scopes(
    case: JointCase,
    limits: Limits,
    *,
    named: Sequence[Attack],
    budget: Budget,
    seed: int,
) -> JointScopes:
    """Return what an attacker may hold, with the checks of each choice.

    Args:
        case: the files.
        limits: the bounds that every scope must keep.
        named: further attacks on every file by itself.
        budget: the time that the attacks on single files must fit into.
        seed: seed of everything random.
    """
    singles, plans = [], {}
    for place, name in enumerate(case.names):
        scope, plans[name] = _single(case, place, limits, named=named, budget=budget, seed=seed)
        singles.append(scope)
    together = list(combinations(range(len(case.files)), 2))
    subjects = {
        names_of([case.names[i] for i in files]): (files, _subject(case, files, seed=seed))
        for files in together
    }
    best = _best_pair({name: subject for name, (_, subject) in subjects.items()}, seed=seed)
    pairs = [
        _several(name, files, subject, limits, decisive=name == best)
        for name, (files, subject) in subjects.items()
    ]
    if len(case.files) > 2:
        every = tuple(range(len(case.files)))
        whole = _subject(case, every, seed=seed)
        pairs.append(_several(f"all {len(every)} files", every, whole, limits, decisive=True))
    return JointScopes((*singles, *pairs), best, plans)


def _single(
    case: JointCase,
    place: int,
    limits: Limits,
    *,
    named: Sequence[Attack],
    budget: Budget,
    seed: int,
) -> tuple[Scope, TimePlan]:
    name, recorded = case.names[place], case.files[place]
    subject = _subject(case, (place,), seed=seed)
    plan = plan_attacks({name: subject}, name, budget, named=named)
    compared = case.dense if place != case.published else None
    suite = audit_suite(
        limits,
        attacks=plan.attacks,
        named=named,
        baseline=compared,
        group_by=tuple(recorded.groups.members),
    )
    return Scope(name, (place,), subject, suite, tuple(shown_of_all(plan.attacks))), plan


def _several(
    name: str, files: tuple[int, ...], subject: Subject, limits: Limits, *, decisive: bool
) -> Scope:
    attacks = _attacks_on(subject, len(files))
    checks = limit_checks(limits, attacks)
    if not decisive:
        checks = [replace(check, decisive=False) for check in checks]
    compared = tuple(AttackMeasure(attack) for attack in attacks)
    return Scope(name, files, subject, Suite(tuple(checks)), compared)


def _attacks_on(subject: Subject, files: int) -> list[Attack]:
    names = ["pair" if files == 2 else "joint"]
    known = [subject.evidence.members.references, subject.evidence.nonmembers.references]
    references = [r for r in known if r is not None and r.beside]
    if len(references) == 2 and can_stand_in(torch.cat([r.seen for r in references], dim=1)):
        names.append("learnt-set")
    return [ATTACKS.build(name, where="audit") for name in names]


def _best_pair(pairs: Mapping[str, Subject], *, seed: int) -> str:
    """Return the pair that tells most, by a half of the rows that attacks learn from.

    It is fitted on a half of that half and compared on the other one, so that no judged row has a
    part in the choice.
    """
    attack = ATTACKS.build("pair", where="audit")
    found: dict[str, float] = {}
    for name, subject in pairs.items():
        fit = subject.evidence.zip(subject.halves, lambda e, half: e.take(half))
        again = fit.map(lambda e: halves(e.outputs.ids, seed=derive(seed, "best pair")))
        try:
            judged = attack(fit, halves=again, seed=subject.seed).judged
            found[name] = auc(judged.members, judged.nonmembers)
        except FOREIGN:  # too few rows, for example; the checks of the pair report it
            found[name] = 0.0
    return max(found, key=lambda name: found[name])


def _subject(case: JointCase, files: tuple[int, ...], *, seed: int) -> Subject:
    """Return the evidence on some files: of the first, with the others as parent and family."""
    chosen = [case.files[i] for i in files]
    evidence = Pool(
        _held([file.evidence.members for file in chosen]),
        _held([file.evidence.nonmembers for file in chosen]),
    )
    name = names_of([case.names[i] for i in files])
    return Subject.of(
        evidence,
        name=name if len(files) < 3 else f"all {len(files)} files",
        density=None,
        seed=seed,
        class_names=_class_names(chosen),
    )


def _held(files: Sequence[Evidence]) -> Evidence:
    first, others = files[0], [e.outputs for e in files[1:]]
    if not others:
        return first
    return replace(
        first,
        parent=others[0] if len(others) == 1 else None,
        family=tuple(others),
        references=_together([e.references for e in files]),
    )


def _together(references: Sequence[References | None]) -> References | None:
    """Return the first file's references with the others beside; None where they are not the same.

    They are where as many models saw the same rows in every file, and their logits are known.
    """
    known = [r for r in references if r is not None and r.logits is not None]
    if len(known) < len(references):
        return None
    first, others = known[0], known[1:]
    same = all(r.seen.shape == first.seen.shape and torch.equal(r.seen, first.seen) for r in others)
    return replace(first, beside=tuple(others)) if same else None


def _class_names(files: Sequence[RecordedOutputs]) -> tuple[str, ...]:
    return next((file.class_names for file in files if file.class_names), ())
