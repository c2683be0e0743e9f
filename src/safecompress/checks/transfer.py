"""What a small model gives away about the model it was made from: who holds it attacks that one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from safecompress.attacks.transfer import (
    BUDGET,
    InUnits,
    QuerySaving,
    Transferred,
    query_saving,
    retrained,
    transferred,
)
from safecompress.checks.measures import MEASURES, Measure
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.errors import ConfigError, MissingEvidenceError, UndecidableError
from safecompress.protocols import NORMS, Ball, Estimate, InputRange, Norm, Rows
from safecompress.randomness import derive

RADII: Mapping[Norm, float] = {"linf": 8 / 255, "l2": 0.5}
"""The usual radii for images of 32 × 32 pixels, in units of the input range."""

COPY = "a copy trained on"
"""What the attacker's own copy of the small model is called."""


@dataclass(frozen=True)
class Pair:
    """The two models and the rows that judge them, in units.

    Args:
        full, small: take units.
        x: rows in units, and their labels.
        known: rows that the attacker may learn from, in units, with theirs.
    """

    full: nn.Module
    small: nn.Module
    x: Tensor
    labels: Tensor
    known: Tensor
    known_rows: Rows


@dataclass(frozen=True)
class _OnParent(Measure):
    """A measure of an attacker who holds the judged model and attacks the dense one."""

    norm: Norm = "linf"
    radius: float | None = None
    rows: int = 500

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ConfigError(f"norm is '{self.norm}'; expected one of {', '.join(NORMS)}.")
        if self.rows < 1:
            raise ConfigError(f"rows is {self.rows}; expected at least 1.")
        _ = self.ball

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"rows", "target", "parent_target"})

    @property
    def ball(self) -> Ball:
        """What may be sent in a row's place."""
        return Ball(self.norm, RADII[self.norm] if self.radius is None else self.radius)

    @abstractmethod
    def estimate(self, subject: Subject, *, level: float) -> Estimate: ...

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        """Refuse: the dense model is the one attacked.

        Raises:
            UndecidableError: always.
        """
        del subject, dense, level
        raise UndecidableError(
            f"{self.name}: the dense model is the one attacked, so there is no difference to it; "
            "set an absolute bound (at_most)."
        )

    def _pair(self, subject: Subject) -> Pair:
        """Return the models and rows; the attacker learns from one half of the non-members."""
        evidence = subject.evidence.nonmembers
        if evidence.rows is None or evidence.target is None or evidence.parent_target is None:
            raise MissingEvidenceError(
                f"{self.name}: needs the rows, the model and the dense model that is attacked; "
                "this audit does not have all three."
            )
        inputs = evidence.rows.inputs
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            raise UndecidableError(
                f"{self.name}: needs inputs that are one tensor of real numbers; of other inputs "
                "agreement and divergence can be measured."
            )
        span = evidence.span or InputRange.of_rows(inputs)
        half = subject.halves.nonmembers
        judged, known = evidence.rows.take(~half), evidence.rows.take(half)
        judged = judged.take(torch.arange(min(self.rows, len(judged))))
        return Pair(
            full=InUnits(evidence.parent_target, span),
            small=InUnits(evidence.target, span),
            x=span.units(cast(Tensor, judged.inputs)),
            labels=judged.labels,
            known=span.units(cast(Tensor, known.inputs)),
            known_rows=known,
        )


@dataclass(frozen=True)
class TransferRate(_OnParent):
    """Share of rows, right on both models, whose point crafted on the small one fools the dense.

    The strongest of several attackers counts, on the model itself and on a copy trained further.
    Rows are non-members of the half that no attacker learns from. A model that white-box PGD fools
    less than half as often as it fools the dense one hides its gradients: then the upper bound is
    1, for the rate means nothing, and the note says so.

    Args:
        norm: `linf` or `l2`.
        radius: in units of the input range; None is 8/255 for L∞ and 0.5 for L2.
        rows: most rows that are attacked.
        targeted: whether the dense model must take a row for a class drawn at random.
        epochs: passes in which the attacker trains his copy; 0 makes none.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Hong, Carlini & Kurakin, SaTML 2023 (arXiv 2212.13700), for the question.
    """

    targeted: bool = False
    epochs: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 0:
            raise ConfigError(f"epochs is {self.epochs}; expected at least 0.")

    @property
    def name(self) -> str:
        return f"transfer-{self.norm}{'-targeted' if self.targeted else ''}.rate"

    def attacked(self, subject: Subject) -> tuple[Pair, Transferred]:
        """Attack once, and return the pair with what every attacker's points did.

        Raises:
            MissingEvidenceError, UndecidableError: as `estimate`.
        """
        return subject.once(repr(self), lambda: self._attacked(subject))

    def _attacked(self, subject: Subject) -> tuple[Pair, Transferred]:
        pair = self._pair(subject)
        seed = derive(subject.seed, "transfer")
        surrogates = {}
        if self.epochs and len(pair.known) > 1:
            made = retrained(pair.small, pair.known_rows, pair.known, epochs=self.epochs, seed=seed)
            surrogates = {COPY: made}
        found = transferred(
            pair.full,
            pair.small,
            pair.x,
            pair.labels,
            ball=self.ball,
            seed=seed,
            surrogates=surrogates,
            targeted=self.targeted,
        )
        return pair, found

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        _, found = self.attacked(subject)
        rate = found.rate(level=level)
        note = f"strongest attacker: {found.worst}"
        if found.masked:
            note = (
                f"masked gradients: white-box PGD fools the model on {found.white_box:.0%} of the "
                f"rows, the dense one on {found.white_box_full:.0%}; the rate says nothing"
            )
        high = 1.0 if found.masked else rate.high
        n = len(found.rows)
        return Estimate(rate.value, rate.low, high, 0, n, "auditor", watch.seconds, note)


@dataclass(frozen=True)
class QuerySavingMeasure(_OnParent):
    """Median questions to fool the dense model without the small one, over those with it.

    Above 1 the small model saves its holder questions. A failure counts as the budget.

    Args:
        norm: `linf` or `l2`.
        radius: in units of the input range; None is 8/255 for L∞ and 0.5 for L2.
        rows: most rows that are hunted.
        budget: most questions about a row.

    Raises:
        ConfigError: when an option is out of range.
    """

    rows: int = 100
    budget: int = BUDGET

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget < 1:
            raise ConfigError(f"budget is {self.budget}; expected at least 1.")

    @property
    def name(self) -> str:
        return f"query-saving-{self.norm}.ratio"

    def hunted(self, subject: Subject) -> QuerySaving:
        """Ask once, and return what every attack found.

        Raises:
            MissingEvidenceError, UndecidableError: as `estimate`.
        """
        return subject.once(repr(self), lambda: self._hunted(subject))

    def _hunted(self, subject: Subject) -> QuerySaving:
        pair = self._pair(subject)
        return query_saving(
            pair.full,
            pair.small,
            pair.x,
            pair.labels,
            ball=self.ball,
            seed=derive(subject.seed, "queries"),
            budget=self.budget,
        )

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        found = self.hunted(subject)
        ratio = found.saving(level=level)
        hunted = [*found.without.values(), *found.guided.values()]
        medians = ", ".join(
            f"{name} {h.queries_to_success.median()}"
            for kind in (found.without, found.guided)
            for name, h in kind.items()
        )
        return Estimate(
            ratio.value,
            ratio.low,
            ratio.high,
            0,
            len(hunted[0].solved),
            "auditor",
            watch.seconds,
            f"median questions: {medians}",
        )


MEASURES.add(
    "transfer",
    TransferRate,
    summary="how often points crafted on the model fool the dense one it was made from",
    reference="Hong, Carlini & Kurakin, SaTML 2023",
    cost="about 400 forward and backward passes a row, on both models together",
)
MEASURES.add(
    "query-saving",
    QuerySavingMeasure,
    summary="how many questions to the dense model its holder saves",
    reference="Hong, Carlini & Kurakin, SaTML 2023",
    cost="at most 4 budgets of questions a row",
)
