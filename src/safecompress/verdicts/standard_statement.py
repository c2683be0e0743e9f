"""`standard_statement`: what a verdict is evidence for, of a standard that its limits follow."""

from __future__ import annotations

from collections.abc import Sequence

from safecompress.config.standards import STANDARDS, StandardName
from safecompress.protocols import Attack
from safecompress.verdicts.verdict import Finding

_BLIND = "control: blind baseline"


def standard_statement(
    name: StandardName | None, finding: Finding, *, attacks: Sequence[Attack], files: int = 1
) -> str | None:
    """Return which standard the limits follow, what ran for it, and what it asks beyond.

    It never says that a model conforms: whoever files the evidence decides that.

    Args:
        name: the standard; None where the limits follow none, which gives None.
        finding: the results of checks and controls.
        attacks: all attacks that ran, on each file and on several.
        files: number of files that were judged together.
    """
    if name is None:
        return None
    asked = STANDARDS[name]
    percent = [(100 * tpr, 100 * fpr) for tpr, fpr in asked.max_tpr]
    rates = " and ".join(f"{found:.4g} % found at {fpr:.4g} %" for found, fpr in percent)
    kinds = sorted({attack.signals for attack in attacks} - {""})
    ran = f"{len(attacks)} attacks of {len(kinds)} kinds ran ({', '.join(kinds)})"
    if len(kinds) < asked.kinds:
        ran += f", and it asks for {asked.kinds} kinds or more"
    beyond = f"it also asks for {asked.beyond}"
    if files > 1:
        beyond += f", and whether these {files} files are all that is released is not known here"
    return (
        f"The limits follow {asked.title}, as its research page reads it: AUC at most "
        f"{asked.max_auc:g} over all rows and within every class and group, and of the members at "
        f"most {rates} false positives. {ran}. {_blind(finding)} This is evidence for that "
        f"requirement and no statement of conformity; {beyond}."
    )


def _blind(finding: Finding) -> str:
    control = next((c for c in finding.checks if c.name.startswith(_BLIND)), None)
    status = "NOT_RUN" if control is None else str(control.status)
    return f"The blind baseline, which reads rows and no model, ended in {status}."
