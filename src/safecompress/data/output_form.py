"""`OutputForm` and `form_of`: whether a model's outputs are logits or probabilities.

The question is answered once for all rows of one source of outputs. Taking probabilities for logits
applies the softmax a second time, which hides nearly all leakage, so numbers that leave the answer
open are refused until the user declares it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from safecompress.data.grain import NO_GRAIN, Grain, grain_of
from safecompress.data.row_sums import ENTRY_OFF, RowSums
from safecompress.errors import DataError

OutputKind: TypeAlias = Literal["auto", "logits", "probabilities"]
"""What a user declares of outputs; `auto` reads it off the numbers."""
OUTPUT_KINDS: tuple[str, ...] = get_args(OutputKind)
REMEDY = (
    "Say which they are: outputs='logits' or outputs='probabilities' (--outputs on the command "
    "line)."
)
_LEAST = 1e-38
"""Smallest number whose logarithm stands for the probability 0."""
_SOME = 0.2
"""Share of rows that sum to 1 above which rows that do not are no accident of logits."""
_MOST = 0.9
"""Share of rows within [0, 1] above which logits are too unlikely to be taken for granted."""
_FEW = 20
"""Fewest rows of which being within [0, 1] says anything; two small logits often are."""


@dataclass(frozen=True)
class OutputForm:
    """What the numbers of a model's outputs are, and how they become logits.

    Args:
        kind: `logits` or `probabilities`.
        single: whether there is one column for two classes: the logit or probability of class 1.
        scale: what a row of probabilities sums to: 1, 100 for percentages, or a number of votes.
        floor: float32 (classes,), what stands for a probability of 0: a quarter of the smallest
            positive one of the class. None for logits.
        grain: how the numbers were rounded.
        remarks: sentences for the user on everything that is not plainly as documented.
    """

    kind: Literal["logits", "probabilities"]
    single: bool = False
    scale: float = 1.0
    floor: Tensor | None = None
    grain: Grain = NO_GRAIN
    remarks: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether outputs are logits with one column for every class, to be used as they are."""
        return self.kind == "logits" and not self.single

    def logits(self, outputs: Tensor) -> Tensor:
        """Return logits (…, classes) whose softmax are the model's probabilities.

        Gradients flow through, except where a probability is 0.

        Args:
            outputs: (…, columns), in the form that this object describes.
        """
        if self.kind == "logits":
            return torch.cat([torch.zeros_like(outputs), outputs], -1) if self.single else outputs
        spread = self._spread(outputs)
        least = _LEAST if self.floor is None else self.floor.to(spread)
        return torch.where(spread > 0, spread, least).clamp_min(_LEAST).log()

    def sharing(self, other: OutputForm) -> OutputForm:
        """Return this form with a common floor of both, so that zeros mean the same in both.

        Args:
            other: the form of the same model family's other outputs.
        """
        if self.floor is None or other.floor is None:
            return self
        return replace(self, floor=torch.minimum(self.floor, other.floor))

    def _spread(self, outputs: Tensor) -> Tensor:
        """Return probabilities with a column for every class; rounding may leave some below 0."""
        shares = outputs / self.scale if self.scale != 1 else outputs
        return torch.cat([1 - shares, shares], -1) if self.single else shares


def columns_of(outputs: Tensor) -> Tensor:
    """Return outputs with a last dimension of columns; a vector becomes one column.

    Args:
        outputs: (rows, columns) or (rows,).
    """
    return outputs.unsqueeze(-1) if outputs.ndim == 1 else outputs


def form_of(parts: Sequence[Tensor], *, declared: OutputKind = "auto", where: str) -> OutputForm:
    """Return what the outputs of one source are.

    Args:
        parts: float32 (n, columns) each, such as those of members and of non-members; all count.
        declared: what the user says they are.
        where: name of the outputs in messages.

    Raises:
        DataError: when the numbers leave open what they are, or contradict what is declared; the
            message says how many rows look like probabilities, names the first that does not, and
            says what to do.
    """
    single = parts[0].shape[-1] == 1
    parts = [part for part in parts if len(part)]
    if not parts or not all(bool(torch.isfinite(part).all()) for part in parts):
        # `Outputs` refuses these and says how many there are.
        return OutputForm("logits", single=single)
    grain = grain_of(parts)
    sums = RowSums.of(parts, grain)
    constant = all(bool((part == parts[0][0]).all()) for part in parts)
    kind, scale = _kind(sums, declared, single=single, constant=constant, where=where)
    form = OutputForm(kind, single=single, scale=scale, grain=grain)
    if kind == "probabilities":
        form = replace(form, floor=_floor([form._spread(part) for part in parts]))
    remarks = _remarks(form, sums, declared=declared, constant=constant)
    return replace(form, remarks=remarks)


def form_beside(parts: Sequence[Tensor], *, declared: OutputKind, where: str) -> OutputForm:
    """Return what outputs are that are recorded beside the audited model's, as of references.

    They may be of another kind than those of the model, of which the user declared what they are.

    Args:
        parts: float32 (n, columns) each; all count.
        declared: what the model's outputs are declared to be; settles what these are, unless their
            numbers contradict it.
        where: name of the outputs in messages.

    Raises:
        DataError: when the numbers leave open what they are.
    """
    try:
        return form_of(parts, declared=declared, where=where)
    except DataError:
        if declared == "auto":
            raise
        return form_of(parts, where=where)


def _kind(
    sums: RowSums, declared: OutputKind, *, single: bool, constant: bool, where: str
) -> tuple[Literal["logits", "probabilities"], float]:
    """Return what the rows are, and what probabilities sum to."""
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
            f"{float(sums.high[first]):.6g}. {REMEDY}"
        )
    if float(sums.low.min()) >= 0 and float(sums.high.max()) <= 100 and len(sums.low) >= _FEW:
        raise DataError(
            f"{where}: has one column for two classes, all within [0, 100] and none negative: "
            f"percentages of class 1, or its logits. {REMEDY}"
        )


def _refuse_near_misses(sums: RowSums, votes: float, where: str) -> None:
    """Refuse rows of which many, but not all, look like probabilities."""
    if votes:
        raise DataError(
            f"{where}: no number is negative and every row sums to {votes:.6g}, as votes or "
            f"unnormalized probabilities do, and logits do not. {REMEDY}"
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


_HOW = "outputs='logits' or outputs='probabilities' (--outputs)."


def _floor(parts: Sequence[Tensor]) -> Tensor:
    """Return what stands for 0 of every class, float32 (classes,); see `OutputForm.floor`."""
    least = torch.stack(
        [torch.where(part > 0, part, torch.inf).amin(dim=0) for part in parts if len(part)]
    ).amin(dim=0)
    # A class of which no probability is positive gets what the others have.
    positive = least[torch.isfinite(least)]
    common = float(positive.min()) if len(positive) else 1.0
    least = torch.where(torch.isfinite(least), least, common)
    # Of nothing but zeros and ones, such a share would be no small number.
    return (least / 4).clamp(_LEAST, 1e-3 if common >= 0.5 else 0.5)


def _remarks(
    form: OutputForm, sums: RowSums, *, declared: OutputKind, constant: bool
) -> tuple[str, ...]:
    said = []
    if form.single:
        said.append(
            "One column of outputs was read as the probability of class 1 of two classes."
            if form.kind == "probabilities"
            else "One column of outputs was read as the logit of class 1 of two classes."
        )
    if form.kind == "probabilities":
        if form.scale == 100.0:
            said.append("Outputs were read as percentages and divided by 100.")
        elif form.scale != 1.0:
            said.append(f"Outputs were read as shares of {form.scale:.6g} and divided by it.")
        off = ~sums.fits(form.scale)
        if not form.single and bool(off.any()):
            said.append(
                f"{int(off.sum()):,} of {len(off):,} rows of declared probabilities do not sum to "
                f"{form.scale:g}; each was divided by its sum."
            )
    elif declared == "logits" and (form.single or sums.near()):
        said.append("Outputs were taken as logits because they are declared to be.")
    if constant and len(sums.low) > 1:
        said.append(
            "The outputs are constant: the model says the same of every row, so no attack on them "
            "can find anything."
        )
    if form.grain.name and not constant:
        said.append(_rounded(form.grain))
    return tuple(said)


def _rounded(grain: Grain) -> str:
    how = "recorded" if grain.name.startswith("in ") else "rounded"
    return (
        f"The outputs are {how} {grain.name}: values that the model tells apart are tied, which "
        "hides leakage from attacks. Record float32 outputs, unrounded, if the model returns them."
    )
