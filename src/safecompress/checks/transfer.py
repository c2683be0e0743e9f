"""`TransferRate` and `QuerySavingMeasure`: attacks on the dense model by means of the small one.

The attacker has the judged model and crafts inputs that are meant to fool the dense model, from
which the judged one was made.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from safecompress.attacks.transfer import (
    BUDGET,
    QuerySaving,
    TransferOutcome,
    gives_gradients,
    query_saving,
    retrained,
    space_of,
    transferred,
)
from safecompress.checks.measures import MEASURES, Measure
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.errors import ConfigError, MissingEvidenceError, UndecidableError
from safecompress.protocols import NORMS, Ball, Estimate, Norm, Rows
from safecompress.randomness import derive

COPY = "a copy trained on"
"""Name of the copy of the small model that the attacker trains further."""


@dataclass(frozen=True)
class Pair:
    """Two models and the rows on which one is attacked, as points of their common space.

    Args:
        full: the dense model, which is attacked; takes points.
        small: the judged model, which the attacker has; takes points.
        x: the attacked rows as points, float (n, …).
        labels: their labels, int64 (n,).
        known: rows that the attacker may learn from, as points, float (m, …).
        known_rows: the same rows with their labels.
        ball: the points that may replace a row.
        radius: the ball's radius, in the unit named by `unit`.
        unit: the unit of `radius`, in words.
        text: whether points are embeddings of tokens.
    """

    full: nn.Module
    small: nn.Module
    x: Tensor
    labels: Tensor
    known: Tensor
    known_rows: Rows
    ball: Ball
    radius: float
    unit: str
    text: bool


@dataclass(frozen=True)
class _OnParent(Measure):
    """A measure of an attacker who has the judged model and attacks the dense one."""

    worse: ClassVar[Literal["higher", "lower"]] = "higher"

    norm: Norm = "linf"
    radius: float | None = None
    rows: int = 500

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ConfigError(f"norm is '{self.norm}'; expected one of {', '.join(NORMS)}.")
        if self.rows < 1:
            raise ConfigError(f"rows is {self.rows}; expected at least 1.")
        Ball(self.norm, self.radius or 0.0)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"rows", "target", "parent_target"})

    @abstractmethod
    def estimate(self, subject: Subject, *, level: float) -> Estimate: ...

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        """Refuse, because the dense model is the one attacked.

        Args:
            subject: not used.
            dense: not used.
            level: not used.

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
        # Targets are drawn and batches are cut by position. Sorting by id gives each row the same
        # position, and so the same estimate, whatever the order of the rows.
        order = subject.evidence.nonmembers.outputs.ids.argsort()
        evidence = subject.evidence.nonmembers.take(order)
        half = subject.halves.nonmembers[order]
        if evidence.rows is None or evidence.target is None or evidence.parent_target is None:
            raise MissingEvidenceError(
                f"{self.name}: needs the rows, the model and the dense model that is attacked; "
                "this audit does not have all three."
            )
        judged, known_rows = evidence.rows.take(~half), evidence.rows.take(half)
        judged = judged.take(torch.arange(min(self.rows, len(judged))))
        try:
            space = space_of(
                evidence.parent_target, evidence.target, evidence.rows.inputs, span=evidence.span
            )
        except UndecidableError as error:
            raise UndecidableError(f"{self.name}: {error}") from error
        return Pair(
            full=space.full,
            small=space.small,
            x=space.points(judged.inputs),
            labels=judged.labels,
            known=space.points(known_rows.inputs),
            known_rows=known_rows,
            ball=space.ball(self.norm, self.radius),
            radius=space.radii[self.norm] if self.radius is None else self.radius,
            unit=space.unit,
            text=space.text,
        )


@dataclass(frozen=True)
class TransferRate(_OnParent):
    """Share of rows, right on both models, whose point crafted on the small one fools the dense.

    The strongest of several attackers counts, on the model itself and on a copy trained further.
    Rows are non-members of the half that no attacker learns from. If white-box PGD fools the model
    less than half as often as the dense one, the model masks its gradients: the rate then means
    nothing, so its upper bound is 1 and the note says why. For a model without gradients, such as
    an ONNX graph, points are found by queries to the model. The upper bound is 1 there as well,
    because an attacker can rebuild the network from the graph and obtain its gradients.

    Inputs of text are attacked in embeddings; `space_of` says in which model's, and what that
    means.

    Args:
        norm: `linf` or `l2`.
        radius: in units of the input range; None is 8/255 for L∞ and 0.5 for L2. For text it is a
            share of the mean length of a token's embedding; None is 0.1 for L∞, where that length
            is spread evenly over the embedding's numbers, and 0.5 for L2, over the whole row.
        rows: most rows that are attacked.
        targeted: whether the dense model must take a row for a class drawn at random.
        epochs: epochs for which the attacker trains a copy of the model; 0 makes no copy.

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

    def attacked(self, subject: Subject) -> tuple[Pair, TransferOutcome]:
        """Return the pair and the outcome of every attacker; a subject is attacked only once.

        Args:
            subject: the judged model, with the dense one in its evidence.

        Raises:
            MissingEvidenceError: when rows or either model are missing.
            UndecidableError: when the models have no common space of points.
        """
        return subject.once(self, lambda: self._attacked(subject))

    def _attacked(self, subject: Subject) -> tuple[Pair, TransferOutcome]:
        pair = self._pair(subject)
        seed = derive(subject.seed, "transfer")
        surrogates = {}
        if self.epochs and len(pair.known) > 1 and gives_gradients(pair.small, pair.x):
            copy = retrained(pair.small, pair.known_rows, pair.known, epochs=self.epochs, seed=seed)
            surrogates = {COPY: copy}
        outcome = transferred(
            pair.full,
            pair.small,
            pair.x,
            pair.labels,
            ball=pair.ball,
            seed=seed,
            surrogates=surrogates,
            targeted=self.targeted,
        )
        return pair, outcome

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        _, outcome = self.attacked(subject)
        rate = outcome.rate(level=level)
        note = f"strongest attacker: {outcome.worst}"
        if outcome.partial:
            note = f"{note}; the model gives no gradients, so the rate is a lower bound"
        if outcome.masked:
            other, share = (
                ("the dense one", outcome.white_box_full)
                if outcome.white_box_full is not None
                else ("questions", outcome.questioned)
            )
            note = (
                f"masked gradients: white-box PGD fools the model on {outcome.white_box:.0%} of "
                f"the rows, {other} on {share:.0%}; the rate says nothing"
            )
        high = 1.0 if outcome.masked or outcome.partial else rate.high
        n = len(outcome.rows)
        return Estimate(rate.value, rate.low, high, 0, n, "auditor", watch.seconds, note)


MEASURES.add(
    "transfer",
    TransferRate,
    summary="how often points crafted on the model fool the dense one it was made from",
    reference="Hong, Carlini & Kurakin, SaTML 2023",
    cost="about 400 forward and backward passes a row, on both models together",
)


@dataclass(frozen=True)
class QuerySavingMeasure(_OnParent):
    """Median queries to fool the dense model without the small one, divided by those with it.

    Above 1 the small model saves an attacker queries. A row on which the attack fails counts with
    the whole budget.

    Args:
        norm: `linf` or `l2`.
        radius: in units of the input range; None is 8/255 for L∞ and 0.5 for L2.
        rows: most rows that are attacked.
        budget: most queries for one row.

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
        """Return the result of every query attack; a subject is attacked only once.

        Args:
            subject: the judged model, with the dense one in its evidence.

        Raises:
            MissingEvidenceError: when rows or either model are missing.
            UndecidableError: when the models have no common space of points, when points are
                embeddings, or when the small model has no gradients.
        """
        return subject.once(self, lambda: self._hunted(subject))

    def _hunted(self, subject: Subject) -> QuerySaving:
        pair = self._pair(subject)
        if pair.text:
            raise UndecidableError(
                f"{self.name}: questions are asked in tokens, and points of text are embeddings; "
                "measure transfer instead."
            )
        if not gives_gradients(pair.small, pair.x):
            raise UndecidableError(
                f"{self.name}: the model gives no gradients that could guide questions; measure "
                "transfer instead."
            )
        return query_saving(
            pair.full,
            pair.small,
            pair.x,
            pair.labels,
            ball=pair.ball,
            seed=derive(subject.seed, "queries"),
            budget=self.budget,
        )

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        saving = self.hunted(subject)
        ratio = saving.saving(level=level)
        searches = [*saving.without.values(), *saving.guided.values()]
        medians = ", ".join(
            f"{name} {h.queries_to_success.median()}"
            for kind in (saving.without, saving.guided)
            for name, h in kind.items()
        )
        return Estimate(
            ratio.value,
            ratio.low,
            ratio.high,
            0,
            len(searches[0].solved),
            "auditor",
            watch.seconds,
            f"median questions: {medians}",
        )


MEASURES.add(
    "query-saving",
    QuerySavingMeasure,
    summary="how many questions to the dense model its holder saves",
    reference="Hong, Carlini & Kurakin, SaTML 2023",
    cost="at most 4 budgets of questions a row",
)
