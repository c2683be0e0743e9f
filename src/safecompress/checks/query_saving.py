"""`QuerySavingMeasure`: questions to the dense model that an attacker saves with the small one."""

from __future__ import annotations

from dataclasses import dataclass

from safecompress.attacks.transfer import BUDGET, QuerySaving, gives_gradients, query_saving
from safecompress.checks.measures import MEASURES
from safecompress.checks.on_parent import OnParent, trained_surrogates
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Estimate
from safecompress.randomness import derive

WITHIN = (10, 100, 1_000)
"""Numbers of questions within which the solved rows are reported."""


@dataclass(frozen=True)
class QuerySavingMeasure(OnParent):
    """Median queries to fool the dense model without the small one, divided by those with it.

    Above 1 the small model saves an attacker queries. A row on which the attack fails counts with
    the whole budget. The small model guides attacks itself and through copies that the attacker
    trains with noise and adversarially; without it a network of the attacker's own does. The note
    says which shares of rows fall within 10, 100 and 1,000 questions, which a median hides.

    Args:
        norm: `linf` or `l2`.
        radius: in units of the input range; None is 8/255 for L∞ and 0.5 for L2.
        rows: most rows that are attacked.
        budget: most queries for one row.
        epochs: epochs of the copies, as in `TransferRate`; 0 trains none.

    Raises:
        ConfigError: when an option is out of range.
    """

    rows: int = 100
    budget: int = BUDGET
    epochs: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget < 1:
            raise ConfigError(f"budget is {self.budget}; expected at least 1.")
        if self.epochs < 0:
            raise ConfigError(f"epochs is {self.epochs}; expected at least 0.")

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
        pair = self.pair(subject)
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
            made=trained_surrogates(subject, pair, epochs=self.epochs),
        )

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        saving = self.hunted(subject)
        ratio = saving.saving(level=level)
        both = {**saving.without, **saving.guided}
        medians = ", ".join(f"{n} {r.queries_to_success.median()}" for n, r in both.items())
        places = [q for q in WITHIN if q <= self.budget]
        within = {q: saving.solved_within(q) for q in places}
        best = ", ".join(
            f"{q:,}: {max(within[q][n] for n in saving.guided):.0%} with the model, "
            f"{max(within[q][n] for n in saving.without):.0%} without"
            for q in places
        )
        return Estimate(
            ratio.value,
            ratio.low,
            ratio.high,
            0,
            len(next(iter(both.values())).solved),
            "auditor",
            watch.seconds,
            f"median questions: {medians}; rows solved within {best}",
            rates={f"{n} within {q}": s for q in places for n, s in within[q].items()},
        )


MEASURES.add(
    "query-saving",
    QuerySavingMeasure,
    summary="how many questions to the dense model its holder saves",
    reference="Hong, Carlini & Kurakin, SaTML 2023",
    cost="at most 12 budgets of questions a row, and the training of transfer, which it shares",
)
