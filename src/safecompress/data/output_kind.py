"""`kind_of_rows`: what rows of numbers are, and the refusal of those that leave it open."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch

from safecompress.data.row_sums import ENTRY_OFF, RowSums
from safecompress.errors import DataError

OutputKind: TypeAlias = Literal["auto", "logits", "probabilities"]
"""What a user declares of outputs; `auto` reads it off the numbers."""
OUTPUT_KINDS: tuple[str, ...] = get_args(OutputKind)
_HOW = "outputs='logits' or outputs='probabilities' (--outputs)."
_REMEDY = (
    "Say which they are: outputs='logits' or outputs='probabilities' (--outputs on the command "
    "line)."
)
_SOME = 0.2
"""Share of rows that sum to 1 above which rows that do not are no accident of logits."""
_MOST = 0.9
"""Share of rows within [0, 1] above which logits are too unlikely to be taken for granted."""
_FEW = 20
"""Fewest rows of which being within [0, 1] says anything; two small logits often are."""


def kind_of_rows(
    sums: RowSums, declared: OutputKind, *, single: bool, constant: bool, where: str
) -> tuple[Literal["logits", "probabilities"], float]:
    """Return what the rows are, and what rows of probabilities sum to.

    Args:
        sums: what the rows of one source sum to.
        declared: what the user says they are.
        single: whether there is one column for two classes.
        constant: whether all rows are equal; what they are then makes no difference.
        where: name of the outputs in messages.

    Raises:
        DataError: when the rows leave open what they are, or contradict what is declared.
    """
    scale = sums.scale_of_shares(single=single)
    if declared == "probabilities":
        return "probabilities", _declared_scale(sums, scale, single=single, where=where)
    if declared == "logits":
        if scale in {1.0, 100.0} and not single and not constant:
            raise DataError(
                f"{where}: declared to be logits, but every row consists of entries in "
                f"[0, {scale:g}] that sum to {scale:g}: these are probabilities, and a softmax of "
                "them hides what a model leaks. Declare outputs='probabilities', or nothing."
            )
        return "logits", 1.0
    if single:
        _refuse_unclear_column(sums, constant=constant, where=where)
        return ("probabilities" if scale else "logits"), scale or 1.0
    if scale in {1.0, 100.0}:
        return "probabilities", scale
    if not constant:
        _refuse_near_misses(sums, scale, where)
    return "logits", 1.0


def _declared_scale(sums: RowSums, scale: float, *, single: bool, where: str) -> float:
    if scale:
        return scale
    low, high = float(sums.low.min()), float(sums.high.max())
    wanted = 1.0 if high <= 1 + ENTRY_OFF else 100.0
    if low < -ENTRY_OFF * wanted or high > wanted * (1 + ENTRY_OFF):
        raise DataError(
            f"{where}: declared to be probabilities, but its numbers run from {low:.6g} to "
            f"{high:.6g}; expected [0, 1], or percentages in [0, 100]. Declare outputs='logits' "
            "(--outputs logits), or record what the model's softmax returns."
        )
    empty = torch.nonzero(sums.total <= 0)
    if not single and len(empty):
        raise DataError(
            f"{where}: declared to be probabilities, but {len(empty):,} rows (first: "
            f"{int(empty[0])}) hold no positive number."
        )
    return wanted


def _refuse_unclear_column(sums: RowSums, *, constant: bool, where: str) -> None:
    """Refuse one column that may hold probabilities or logits of two classes."""
    inside = (sums.low >= -sums.entry_off) & (sums.high <= 1 + sums.entry_off)
    share = float(inside.double().mean())
    if share == 1 or constant:
        return
    if share >= _MOST:
        first = int(torch.nonzero(~inside)[0])
        raise DataError(
            f"{where}: has one column for two classes, and {share:.1%} of the rows are within "
            f"[0, 1], as probabilities of class 1 are; row {first} is "
            f"{float(sums.high[first]):.6g}. {_REMEDY}"
        )
    if float(sums.low.min()) >= 0 and float(sums.high.max()) <= 100 and len(sums.low) >= _FEW:
        raise DataError(
            f"{where}: has one column for two classes, all within [0, 100] and none negative: "
            f"percentages of class 1, or its logits. {_REMEDY}"
        )


def _refuse_near_misses(sums: RowSums, votes: float, where: str) -> None:
    """Refuse rows of which many, but not all, look like probabilities."""
    if votes:
        raise DataError(
            f"{where}: no number is negative and every row sums to {votes:.6g}, as votes or "
            f"unnormalized probabilities do, and logits do not. {_REMEDY}"
        )
    for scale, what in ((1.0, "probabilities"), (100.0, "percentages")):
        fits = sums.fits(scale)
        if max(float(part.double().mean()) for part in sums.split(fits)) >= _SOME:
            first = int(torch.nonzero(~fits)[0])
            raise DataError(
                f"{where}: {sums.share(fits)} of the rows look like {what}, entries in "
                f"[0, {scale:g}] that sum to {scale:g}, and the others do not; {sums.row(first)}. "
                f"Record all rows in the same way, or say which they are: {_HOW}"
            )
    inside = (sums.low >= -sums.entry_off) & (sums.high <= 1 + sums.entry_off)
    shares = [float(part.double().mean()) for part in sums.split(inside) if len(part) >= _FEW]
    if max(shares, default=0.0) >= _MOST:
        first = int(torch.nonzero(~sums.fits(1.0))[0])
        raise DataError(
            f"{where}: {sums.share(inside)} of the rows are within [0, 1], as probabilities are, "
            f"but {sums.share(sums.fits(1.0))} sum to 1; {sums.row(first)}. The largest few "
            "probabilities of a row, and sigmoids of several labels, look like this: record the "
            f"whole softmax, or say what these are: {_HOW}"
        )
