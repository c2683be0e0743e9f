"""`unread_doubts`: whether answers tell members by something that no attack of a verdict reads.

Attacks read how sure a model is, sorted: which class came second, or how a number is rounded, is
lost on them. A model can tell its members there, and files whose groups were recorded by different
programs do. What is found so is no attack of its own, with figures that people compare: it says
that the attacks that were asked for are blind to something, so such a verdict can fail, and cannot
pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress.attacks.quadratic import Standard
from safecompress.attacks.second_order import SeparationProblem, ridge
from safecompress.checks.check import CheckResult
from safecompress.checks.overall import in_doubt
from safecompress.checks.subject import Subject
from safecompress.errors import FOREIGN
from safecompress.protocols import Attack, Outputs, Pool
from safecompress.spacing import evenly_spaced
from safecompress.stats import Interval, auc, auc_interval

_LEVEL = 0.999
"""How sure it must be that members are told."""
_LEAST = 0.55
"""AUC that this must exceed; less is no leak by any usual limit."""
_AHEAD = 0.03
"""AUC by which it must be ahead of the strongest attack."""
_FEWEST = 100
"""Fewest rows of each group from which anything is concluded."""
_MOST_ROWS = 1 << 14
"""Most rows of each group that are read."""
_MOST_NUMBERS = 1 << 21
"""Most numbers of each group that are read, which bounds the memory where classes are many."""
_MOST_CLASSES = 64
"""Most classes whose answers are read one by one, those that differ most from row to row."""
_PENALTIES = tuple(10.0 ** (-k / 2) for k in range(-2, 9))
_CLIP = 5.0
"""Standardized numbers are clamped at this value, so that an outlier cannot dominate the fit."""
_DECIMALS = 5
"""Places behind the point from which a number counts as not rounded."""
_CLOSE = 2.0**-21
"""Share of a float32 number by which it may differ from the decimal number that it stands for."""


@dataclass(frozen=True)
class _Place:
    """Where answers can tell members unread.

    Args:
        name: what is in doubt then.
        what: what tells members, in words.
        wanted: what would settle the doubt, as a condition.
        advice: what to do.
    """

    name: str
    what: str
    wanted: str
    advice: str


_WRITING = _Place(
    "members' answers written like the others'",
    "how answers are rounded tells members",
    "answers to both groups written in one precision",
    "Record the answers to both groups by one program, in one precision and with as many decimals. "
    "If the model itself rounds what it says of its members, that is a leak that no attack here "
    "measures.",
)
_SHAPE = _Place(
    "attacks that read what tells members",
    "what the model says of the classes beside the label tells members",
    "no more in the whole answers than the attacks find",
    "Take this AUC for the leak: it is that of a regression learned on half of the rows. An attack "
    "that reads whole answers, such as neural-published, may find it as well, and its check then "
    "decides.",
)


def unread_doubts(subject: Subject, attacks: Sequence[Attack]) -> tuple[CheckResult, ...]:
    """Return an undecided control for each way in which answers tell what no attack reads.

    Args:
        subject: the judged model; of anything but classes nothing is said.
        attacks: the attacks of its suite, which have run.
    """
    known, judged = _halves(subject)
    groups = (known.members, known.nonmembers, judged.members, judged.nonmembers)
    if not subject.classifies or min(map(len, groups)) < _FEWEST:
        return ()
    written = max((_told(scores) for scores in _by_writing(judged)), key=lambda told: told.low)
    found = {_WRITING: written}
    # Of one class beside the label there is no more to say than how sure the model is.
    if known.members.classes > 2:
        found[_SHAPE] = _told(_by_shape(known, judged))
    found = {place: told for place, told in found.items() if told.low > _LEAST}
    if not found:
        return ()
    strongest = max((_strength(subject, attack) for attack in attacks), default=0.5)
    return tuple(
        in_doubt(
            place.name,
            f"{place.what} with AUC {told.value:.3f} [{told.low:.3f}, {told.high:.3f}], where the "
            f"strongest attack that was asked for has {strongest:.3f}: no attack here reads it",
            wanted=place.wanted,
            advice=place.advice,
        )
        for place, told in found.items()
        if told.low > strongest + _AHEAD
    )


def _strength(subject: Subject, attack: Attack) -> float:
    """Return the AUC of an attack that ran, either way round; ½ of one that could not run."""
    try:
        scores = subject.attacked_by(attack).scores
    except FOREIGN:  # its own check says why
        return 0.5
    value = auc(scores.members, scores.nonmembers)
    return max(value, 1.0 - value)


def _halves(subject: Subject) -> tuple[Pool[Outputs], Pool[Outputs]]:
    """Return some rows of the half that attacks are fitted on, and some of the other."""

    def part(rows: Outputs, mask: Tensor) -> Outputs:
        chosen = mask.nonzero().squeeze(1)
        chosen = chosen[torch.argsort(rows.ids[chosen], stable=True)]
        most = min(_MOST_ROWS, max(1, _MOST_NUMBERS // rows.classes))
        return rows.take(chosen[evenly_spaced(len(chosen), most)])

    both = subject.outputs.zip(subject.halves, lambda rows, mask: (rows, mask))
    return both.map(lambda b: part(*b)), both.map(lambda b: part(b[0], ~b[1]))


def _told(scores: Pool[Tensor]) -> Interval:
    """Return the AUC of scores, the way round in which it is larger."""
    members, others = scores.members.numpy(), scores.nonmembers.numpy()
    if auc(members, others) < 0.5:
        members, others = -members, -others
    return auc_interval(members, others, level=_LEVEL)


def _by_writing(judged: Pool[Outputs]) -> list[Pool[Tensor]]:
    """Return scores of rows by how their numbers are rounded, in bits and in decimals."""
    return [
        judged.map(lambda rows: _bits(rows.logits)),
        judged.map(lambda rows: _decimals(rows.logits)),
        # Probabilities are kept as their logarithms.
        judged.map(lambda rows: _decimals(rows.logits.double().clamp(max=0.0).exp())),
    ]


def _bits(values: Tensor) -> Tensor:
    """Return how many last bits of all float32 numbers of a row are zero, float64 (n,)."""
    whole = values.float().contiguous().view(torch.int32).long()
    lowest = (whole & -whole).double().log2()
    # A zero has no last bit that is one.
    return torch.where(values == 0, 32.0, lowest).amin(dim=1)


def _decimals(values: Tensor) -> Tensor:
    """Return how many decimals the numbers of a row have, float64 (n,), at most `_DECIMALS`."""
    values = values.double()
    found = values.new_full((len(values),), float(_DECIMALS))
    for places in reversed(range(_DECIMALS)):
        scaled = values * 10.0**places
        off = (scaled - scaled.round()).abs()
        rounded = (off <= _CLOSE * scaled.abs().clamp(min=1.0)).all(dim=1)
        found = torch.where(rounded, float(places), found)
    return found


def _by_shape(known: Pool[Outputs], judged: Pool[Outputs]) -> Pool[Tensor]:
    """Return scores of rows by a regression that read what others' classes are given.

    Each class is read twice: by its number, and by its distance from the label. How sure the model
    is does not count, because the classes beside the label are taken to mean 0 and deviation 1.
    Nor does the label: its mean over both groups is taken away, so that groups with more rows of a
    class are not told by that.
    """
    shapes, labels = known.map(_shape), known.map(lambda rows: rows.labels)
    raw = torch.cat([shapes.members, shapes.nonmembers])
    both = torch.cat([labels.members, labels.nonmembers])
    kept = raw.var(dim=0).argsort(descending=True, stable=True)[: 2 * _MOST_CLASSES]
    classes = known.members.classes
    sums = raw.new_zeros(classes, len(kept)).index_add_(0, both, raw[:, kept])
    typical = sums / both.bincount(minlength=classes).clamp(min=1)[:, None]
    scaling = Standard.of(raw[:, kept] - typical[both])

    def design(shape: Tensor, labels: Tensor) -> Tensor:
        read = scaling(shape[:, kept] - typical[labels]).clamp(-_CLIP, _CLIP)
        return torch.cat([read, read.new_ones(len(read), 1)], dim=1)

    sizes = torch.tensor([len(labels.members), len(labels.nonmembers)])
    problem = SeparationProblem(
        design(raw, both),
        target=torch.tensor([1.0, -1.0], dtype=torch.float64).repeat_interleave(sizes),
        weight=(0.5 / sizes.double()).repeat_interleave(sizes),
    )
    weights = ridge(problem, penalties=_PENALTIES).weights
    return judged.map(lambda rows: design(_shape(rows), rows.labels) @ weights)


def _shape(rows: Outputs) -> Tensor:
    """Return what each row says of the classes beside its label, float64 (n, 2 classes − 1).

    These are the logits by the number of the class, zero at the label, and by how many classes
    they stand behind the label.
    """
    logits, classes = rows.logits.double(), rows.classes
    beside = torch.ones_like(logits).scatter_(1, rows.labels[:, None], 0.0)
    mean = (logits * beside).sum(dim=1, keepdim=True) / (classes - 1)
    off = (logits - mean) * beside
    deviation = off.square().mean(dim=1, keepdim=True).sqrt()
    by_number = off / torch.where(deviation > 1e-9, deviation, 1.0)
    behind = (rows.labels[:, None] + torch.arange(1, classes)) % classes
    return torch.cat([by_number, by_number.gather(1, behind)], dim=1)
