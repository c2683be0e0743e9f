"""`OutputForm` and `form_of`: whether a model's outputs are logits or probabilities.

The question is answered once for all rows of one source of outputs. Taking probabilities for logits
applies the softmax a second time, which hides nearly all leakage, so numbers that leave the answer
open are refused until the user declares it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from safecompress.data.grain import NO_GRAIN, Grain, grain_of
from safecompress.data.output_kind import OutputKind, kind_of_rows
from safecompress.data.row_sums import RowSums
from safecompress.errors import DataError

_LEAST = 1e-38
"""Smallest number whose logarithm stands for the probability 0."""


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
    kind, scale = kind_of_rows(sums, declared, single=single, constant=constant, where=where)
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
