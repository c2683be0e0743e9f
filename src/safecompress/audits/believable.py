"""`believable`: recorded outputs that can be those of a trained model, or a refusal."""

from __future__ import annotations

from dataclasses import replace

from safecompress.checks.plausibility import require_plausible
from safecompress.checks.reference_fit import fitting_references
from safecompress.data import RecordedOutputs


def believable(recorded: RecordedOutputs) -> RecordedOutputs:
    """Return outputs without references that are copies, and with remarks on what was noticed.

    Args:
        recorded: a target's or a baseline's outputs, from wherever they are.

    Raises:
        ModelError: when outputs and labels cannot belong together.
        DataError: when reference outputs cannot belong to the rows.
    """
    where = str(recorded.path)
    require_plausible(recorded.outputs, recorded.rows, where=where)
    evidence, more = fitting_references(recorded.evidence, where=where)
    references = evidence.members.references
    return replace(
        recorded,
        evidence=evidence,
        references=0 if references is None else len(references.log_odds),
        remarks=(*recorded.remarks, *more),
    )
