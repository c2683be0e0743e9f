"""`of_same_rows`: two models' outputs on the rows that both have, in the same order."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from safecompress.data import RecordedOutputs
from safecompress.errors import DataError
from safecompress.protocols import Outputs, Pool


def of_same_rows(
    recorded: RecordedOutputs, baseline: RecordedOutputs
) -> tuple[RecordedOutputs, RecordedOutputs]:
    """Return both models' outputs on the rows that were left out of neither.

    A row that is given several times is judged once. Where only outputs are known, or texts become
    tokens, two models may see different repetitions.

    Args:
        recorded: outputs of the judged model.
        baseline: outputs of the model that it is compared with.

    Raises:
        DataError: when they are not outputs on the same rows in the same order; no difference could
            be paired.
    """
    pairs = recorded.outputs.zip(baseline.outputs, lambda a, b: (a, b))
    given = [r.given or r.outputs.map(len) for r in (recorded, baseline)]
    common: list[tuple[Tensor, Tensor]] = []
    for group, (a, b), *sizes in (
        ("members", pairs.members, given[0].members, given[1].members),
        ("non-members", pairs.nonmembers, given[0].nonmembers, given[1].nonmembers),
    ):
        ours, theirs = _places(a, b)
        if sizes[0] != sizes[1] or not torch.equal(a.labels[ours], b.labels[theirs]):
            raise DataError(
                f"{baseline.path}: {sizes[1]} {group} with labels that differ from the {sizes[0]} "
                f"of {recorded.path}; the baseline's rows must be the target's, in the same order."
            )
        if not len(ours):
            raise DataError(
                f"{baseline.path}: other {group} than those of {recorded.path}; the baseline's "
                "rows must be the target's, in the same order."
            )
        common.append((ours, theirs))
    left_out = sum(
        len(a) + len(b) - len(o) - len(t)
        for (a, b), (o, t) in zip((pairs.members, pairs.nonmembers), common, strict=True)
    )
    if not left_out:
        return recorded, baseline
    remark = (
        f"{left_out:,} rows are left out of the comparison, because one of the models does not "
        "tell them from others."
    )
    kept = Pool(*common)
    return (
        replace(recorded.take(kept.map(lambda at: at[0])), remarks=(*recorded.remarks, remark)),
        baseline.take(kept.map(lambda at: at[1])),
    )


def _places(a: Outputs, b: Outputs) -> tuple[Tensor, Tensor]:
    """Return the positions in each of the rows that both have, by their ids."""
    ours = torch.isin(a.ids, b.ids).nonzero().squeeze(1)
    theirs = torch.isin(b.ids, a.ids).nonzero().squeeze(1)
    return ours, theirs
