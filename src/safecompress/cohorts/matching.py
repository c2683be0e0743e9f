"""`matched`: a cohort's other models as references whose numbers tell nothing of the target."""

from __future__ import annotations

import torch
from torch import Tensor

from safecompress.errors import UndecidableError
from safecompress.protocols import References
from safecompress.randomness import generator


def matched(others: References, saw: Tensor, *, seed: int) -> References:
    """Leave out one model for each row, so that counts of models do not reveal members.

    A cohort deals every row to about equally many models, the target included. So among the others,
    fewer trained on a row that the target trained on. An attack that compares the mean of the
    models that trained on a row with the mean of those that did not scores rows by these counts: it
    could find members of a target that leaks nothing, or miss members of one that leaks.

    So of every row one model is left out, and whether it is one that trained on the row is decided
    such that the remaining numbers are distributed alike over the target's members and over its
    other rows. To leave out one of the same kind of every member is not enough: rows are dealt to R
    or to R + 1 models, members of the last targets to R + 1 far more often than other rows, and the
    numbers that remain would say so. Which rows get which number, and which model of a kind is left
    out, is drawn at random.

    The two distributions are equal to the rounding of a row wherever the target's members were
    dealt to R + 1 models more often than its other rows. For the first targets of a cohort the two
    agree but for the chance of the draw, which cannot be evened out where it is against the
    members: with 1,000 rows that makes mean AUCs .0005 too low.

    Args:
        others: answers of all models of a cohort but the target.
        saw: bool (n,), whether the target trained on each row.
        seed: seed of the draws.

    Returns:
        One model fewer, a different one for each row.

    Raises:
        UndecidableError: when a row has no model of the kind that is to be left out.
    """
    source = generator(seed, "matched")
    seen = others.seen.sum(dim=0)
    kept = _redistributed(seen, saw, source)
    can_go = others.seen == (seen > kept)
    if bool((~can_go.any(dim=0)).any()):
        raise UndecidableError(
            f"cohort: {int((~can_go.any(dim=0)).sum())} of {len(others)} rows have no other "
            "model of either kind; train more models."
        )
    drawn = torch.rand(others.seen.shape, generator=source)
    # The model with the largest draw is left out; the others keep their order.
    gone = torch.where(can_go, drawn, -1.0).argmax(dim=0)
    place = torch.arange(len(others.seen) - 1).unsqueeze(1)
    left = place + (place >= gone)
    return others.of_models(left)


def _redistributed(seen: Tensor, saw: Tensor, source: torch.Generator) -> Tensor:
    """Return how many models that trained on each row are kept, in equal shares in both groups.

    Args:
        seen: int64 (n,), how many of the others trained on each row.
        saw: bool (n,), whether the target did.
        source: draws which rows keep which number.

    Returns:
        int64 (n,): `seen`, or one less.
    """
    shares = (seen + saw.long() - 1).sort().values
    kept = torch.empty_like(seen)
    for group in (saw, ~saw):
        rows = group.nonzero().squeeze(1)
        rows = rows[torch.randperm(len(rows), generator=source)]
        rows = rows[seen[rows].argsort(stable=True)]
        # The group's k-th row gets the number at the same quantile of all rows.
        quantile = (torch.arange(len(rows), dtype=torch.float64) + 0.5) / max(len(rows), 1)
        kept[rows] = shares[(quantile * len(shares)).long()]
    return torch.minimum(torch.maximum(kept, seen - 1), seen)
