"""`files_of`, `held_together`, `strongest_on_several`, `exposed_by_set`: what a set gives away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch

from safecompress.checks import metric_named
from safecompress.protocols import AttackResult
from safecompress.verdicts.document import Overall
from safecompress.verdicts.exposed_members import EXPOSED_FPR, FEWEST, exposed_ids, strongest_of
from safecompress.verdicts.joint_document import HeldTogether, SetExposure, SetFile
from safecompress.verdicts.joint_finding import JointFinding, Scope


def files_of(
    finding: JointFinding, *, kinds: Sequence[str], references: Sequence[int]
) -> list[SetFile]:
    """Return every file by itself.

    Args:
        finding: the results of all scopes.
        kinds: what each file answers, `logits` or `probabilities`.
        references: number of references in each file's format.
    """
    files = []
    for scope, kind, count in zip(finding.singles, kinds, references, strict=True):
        figures = finding.figures_of[scope.name]
        found = figures.strongest()
        strongest = strongest_of(scope.subject, finding.trusted(scope))
        files.append(
            SetFile(
                name=scope.name,
                verdict=cast(Overall, finding.status_of[scope.name]),
                accuracy=None if figures.accuracy is None else figures.accuracy.value,
                outputs=kind,
                references=count,
                attack="" if found is None else found[0],
                auc=None if found is None else found[1],
                exposed=_count_exposed(strongest),
            )
        )
    return files


def held_together(finding: JointFinding, scope: Scope) -> HeldTogether:
    """Return what an attacker finds who holds the files of a scope.

    Args:
        finding: the results of all scopes.
        scope: the files.
    """
    found = finding.figures_of[scope.name].strongest()
    return HeldTogether(
        files=_names(finding, scope),
        attack="" if found is None else found[0],
        auc=None if found is None else found[1],
    )


def strongest_on_several(finding: JointFinding) -> tuple[Scope, AttackResult] | None:
    """Return the strongest attack that reads several files, and what it reads; None without one.

    Args:
        finding: the results of all scopes.
    """
    results = [
        (scope, result)
        for scope in finding.scopes
        if not scope.alone
        and (result := strongest_of(scope.subject, finding.trusted(scope))) is not None
    ]
    return max(results, key=lambda r: metric_named("auc").value(r[1])) if results else None


def exposed_by_set(finding: JointFinding) -> SetExposure | None:
    """Return the members that the set exposes and no file by its strongest attack.

    Only members that all of these attacks scored are compared, each at its own threshold.

    Args:
        finding: the results of all scopes.
    """
    joint = strongest_on_several(finding)
    singles = [strongest_of(s.subject, finding.trusted(s)) for s in finding.singles]
    known = [result for result in singles if result is not None]
    if joint is None or not known:
        return None
    scope, result = joint
    if any(len(r.scores.nonmembers) < FEWEST for r in (result, *known)):
        return None
    scored = result.ids.members
    for single in known:
        scored = scored[torch.isin(scored, single.ids.members)]
    scored = scored.sort().values
    of_set = torch.isin(scored, exposed_ids(result))
    of_files = torch.zeros(len(scored), dtype=torch.bool)
    for single in known:
        of_files |= torch.isin(scored, exposed_ids(single))
    return SetExposure(
        attack=result.attack,
        files=_names(finding, scope),
        false_positive_rate=EXPOSED_FPR,
        members=len(scored),
        rate=float((of_set & ~of_files).double().mean()),
        single_only_rate=float((of_files & ~of_set).double().mean()),
        rows=tuple(scored[of_set & ~of_files].tolist()),
    )


def _count_exposed(result: AttackResult | None) -> int | None:
    """Return how many members an attack exposes; None where it has too few non-members."""
    if result is None or len(result.scores.nonmembers) < FEWEST:
        return None
    return len(exposed_ids(result))


def _names(finding: JointFinding, scope: Scope) -> tuple[str, ...]:
    singles = {single.files[0]: single.name for single in finding.singles}
    return tuple(singles[file] for file in scope.files)
