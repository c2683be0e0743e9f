"""`believable`, `doubts_of`, `hurry_of`: outputs that can be a trained model's, and what is open.

Others are refused. What only a very weak model explains, and attacks for which there was no time,
become controls, which leave the verdict undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from safecompress.checks.check import CheckResult
from safecompress.checks.overall import in_doubt
from safecompress.checks.plausibility import require_plausible
from safecompress.checks.reference_fit import fitting_references
from safecompress.data import RecordedOutputs
from safecompress.data.predictions import TASKS
from safecompress.train.predict import predict
from safecompress.verdict_names import AUDITED, DENSE


def believable(
    recorded: RecordedOutputs, *, accuracy: float | None = None, sealed: bool = False
) -> RecordedOutputs:
    """Return outputs without references that are copies, and with what was noticed about them.

    Args:
        recorded: a target's or a baseline's outputs, from wherever they are.
        accuracy: its accuracy on rows it was not trained on, in [0, 1]; None where not stated.
        sealed: whether model and rows are those of a run, which itself prepared the rows for the
            model, so that no doubt about that remains.

    Raises:
        ModelError: when outputs and labels cannot belong together.
        DataError: when reference outputs cannot belong to the rows.
    """
    where = str(recorded.path)
    if recorded.kind in TASKS:
        evidence, more = fitting_references(recorded.evidence, where=where)
        return replace(recorded, evidence=evidence, remarks=(*recorded.remarks, *more))
    rows = None if sealed else recorded.rows
    target = recorded.evidence.members.target
    doubt = require_plausible(
        recorded.outputs,
        rows,
        where=where,
        accuracy=accuracy,
        ask=None if target is None else partial(predict, target),
    )
    evidence, more = fitting_references(recorded.evidence, where=where)
    if accuracy is not None:
        found = float(recorded.outputs.nonmembers.correct.double().mean())
        more += (
            f"right on {found:.1%} of the non-members, as the stated accuracy of "
            f"{accuracy:.1%} asks",
        )
    references = evidence.members.references
    return replace(
        recorded,
        evidence=evidence,
        references=0 if references is None else len(references.log_odds),
        remarks=(*recorded.remarks, *more),
        doubt=doubt,
        accuracy_known=accuracy is not None,
    )


def doubts_of(recorded: RecordedOutputs, parent: RecordedOutputs | None) -> tuple[CheckResult, ...]:
    """Return an undecided control for each model that may not have got the inputs it knows.

    Args:
        recorded: the judged model's outputs.
        parent: its baseline's; None without one.
    """
    models = {AUDITED: recorded} | ({} if parent is None else {DENSE: parent})
    wanted = "not far less often right than a simple classifier of its rows"
    return tuple(
        in_doubt(f"own inputs, {name}", model.doubt, wanted=wanted, advice=_SETTLE)
        for name, model in models.items()
        if model.doubt
    )


def hurry_of(missed: Sequence[str]) -> tuple[CheckResult, ...]:
    """Return an undecided control where usual attacks were left out for time; else none.

    What they would have found is not known, so no such audit passes. One that fails without them
    has failed.

    Args:
        missed: names of the tiers of attacks that were left out.
    """
    if not missed:
        return ()
    return (
        in_doubt(
            "time for the usual attacks",
            f"{', '.join(missed)} did not fit into the time, and what they would find is not known",
            wanted="every attack that runs without a time budget",
            advice="Give the audit more time (--time-budget, time_budget), or set no limit.",
        ),
    )


_SETTLE = (
    "Check how the rows are prepared; a model that is meant to be so weak is settled by its "
    "accuracy on rows it was not trained on (--accuracy, or accuracy in Python), which the "
    "non-members must bear out, or by auditing its recorded outputs, which compares no inputs."
)
"""What settles a doubt about a model's inputs."""
