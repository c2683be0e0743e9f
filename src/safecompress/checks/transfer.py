"""`TransferRate`, `TransferGain`: how points crafted with the small model fool the dense one.

The attacker has the judged model and crafts inputs that are meant to fool the dense model, from
which the judged one was made. The floor is the same attacker without the judged model.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from safecompress.attacks.transfer import TransferOutcome, transferred
from safecompress.checks.measures import MEASURES
from safecompress.checks.on_parent import OnParent, Pair, trained_surrogates
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Estimate
from safecompress.randomness import derive
from safecompress.stats import Interval


@dataclass(frozen=True)
class _Transfer(OnParent):
    """What both measures of transfer share: the attackers and their options."""

    most: ClassVar[float] = 1.0

    targeted: bool = False
    epochs: int = 20
    questions: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("epochs", "questions"):
            if getattr(self, option) < 0:
                raise ConfigError(f"{option} is {getattr(self, option)}; expected at least 0.")
        if self.questions and not self.epochs:
            raise ConfigError(
                f"questions is {self.questions} and epochs 0; answers are learned in epochs."
            )

    @property
    def _called(self) -> str:
        return f"transfer-{self.norm}{'-targeted' if self.targeted else ''}"

    def attacked(self, subject: Subject) -> tuple[Pair, TransferOutcome]:
        """Return the pair and the outcome of every attacker; a subject is attacked only once.

        Args:
            subject: the judged model, with the dense one in its evidence.

        Raises:
            MissingEvidenceError: when rows or either model are missing.
            UndecidableError: when the models have no common space of points.
        """
        # Both measures of one setting, whatever their class, share the attackers.
        setting = ("transfer", *(getattr(self, option.name) for option in fields(self)))
        return subject.once(setting, lambda: self._attacked(subject))

    def _attacked(self, subject: Subject) -> tuple[Pair, TransferOutcome]:
        pair = self.pair(subject)
        outcome = transferred(
            pair.full,
            pair.small,
            pair.x,
            pair.labels,
            ball=pair.ball,
            seed=derive(subject.seed, "transfer"),
            surrogates=trained_surrogates(
                subject, pair, epochs=self.epochs, questions=self.questions
            ),
            targeted=self.targeted,
        )
        return pair, outcome

    def _estimate(
        self, span: Interval, outcome: TransferOutcome, watch: Stopwatch, said: str
    ) -> Estimate:
        """Return a figure; its upper bound is 1 where the outcome is only a lower bound."""
        parts = [said]
        if self.questions:
            parts.append(f"{self.questions} answers of the dense model were learned")
        if outcome.partial:
            parts.append("the model gives no gradients, so the rate is a lower bound")
        if outcome.masked:
            parts.insert(
                0, f"masked gradients, so the rate is a lower bound: {', '.join(outcome.masks)}"
            )
        return Estimate(
            span.value,
            span.low,
            1.0 if outcome.partial or outcome.masked else span.high,
            0,
            len(outcome.rows),
            "auditor",
            watch.seconds,
            "; ".join(parts),
            rates=outcome.rates,
        )


@dataclass(frozen=True)
class TransferRate(_Transfer):
    """Share of rows, right on both models, whose point crafted on the small one fools the dense.

    The strongest of several attackers counts: on the model itself with its gradients as they are,
    blurred, or averaged over noise, and on models that an attacker makes from it by training on
    with noise or on adversarial examples. Rows are non-members of the half that no attacker learns
    from. Where there is a sign that the model masks its gradients, the rate is only a lower bound:
    its upper bound is 1 and the note says why. For a model without gradients, such as an ONNX
    graph, points are found by queries to the model. The upper bound is 1 there as well, because an
    attacker can rebuild the network from the graph and obtain its gradients.

    Inputs of text are attacked in embeddings; `space_of` says in which model's, and what that
    means.

    Args:
        norm: `linf` or `l2`.
        radius: in units of the input range; None is 8/255 for L∞ and 0.5 for L2. For text it is a
            share of the mean length of a token's embedding; None is 0.1 for L∞, where that length
            is spread evenly over the embedding's numbers, and 0.5 for L2, over the whole row.
        rows: most rows that are attacked.
        targeted: whether the dense model must take a row for a class drawn at random.
        epochs: epochs for which the attacker trains a copy of the model with noise; another copy,
            trained adversarially, takes ¾ of them, a network of the attacker's own twice as many. 0
            trains nothing, which is cheap enough to steer by.
        questions: number of rows, of at most 2,000, on which attackers learn what the dense model
            says in place of the labels; 0 asks nothing.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Hong, Carlini & Kurakin, SaTML 2023 (arXiv 2212.13700), for the question; Tramèr et
    al., NeurIPS 2020, for attackers who know the defense.
    """

    @property
    def name(self) -> str:
        return f"{self._called}.rate"

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        _, outcome = self.attacked(subject)
        said = f"strongest attacker: {outcome.worst}"
        if outcome.without:
            said += f"; without the model {outcome.floor:.0%}"
        return self._estimate(outcome.rate(level=level), outcome, watch, said)


MEASURES.add(
    "transfer",
    TransferRate,
    summary="how often points crafted on the model fool the dense one it was made from",
    reference="Hong, Carlini & Kurakin, SaTML 2023; Tramèr et al., NeurIPS 2020",
    cost="about 900 forward and backward passes a row, and training: 105 epochs of at most 2,000 "
    "rows, once for both norms",
)


@dataclass(frozen=True)
class TransferGain(_Transfer):
    """The transfer rate minus that of the same attacker without the model, on the same rows.

    Both attackers have the same rows, ask the same questions and train by the same recipes; the one
    without the model trains a network of the same architecture from weights drawn anew. A model
    that is harmless to ship adds nothing: the difference is 0 or below within its interval. Rows,
    attackers and bounds are those of `TransferRate`.

    Args:
        norm: `linf` or `l2`.
        radius: as in `TransferRate`.
        rows: most rows that are attacked.
        targeted: whether the dense model must take a row for a class drawn at random.
        epochs: as in `TransferRate`, at least 1.
        questions: as in `TransferRate`.

    Raises:
        ConfigError: when an option is out of range.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epochs:
            raise ConfigError("epochs is 0; the attacker without the model needs epochs to train.")

    @property
    def name(self) -> str:
        return f"{self._called}.gain"

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        _, outcome = self.attacked(subject)
        if not outcome.without:
            raise UndecidableError(
                f"{self.name}: the model gives no gradients, or there are no rows to train on, so "
                "no attacker without it can be compared; measure transfer instead."
            )
        gain = outcome.gain(level=level, seed=derive(subject.seed, "transfer gain"))
        rate = outcome.rate(level=level).value
        said = (
            f"{rate:.0%} with the model ({outcome.worst}), {outcome.floor:.0%} without "
            f"({outcome.worst_without})"
        )
        return self._estimate(gain, outcome, watch, said)


MEASURES.add(
    "transfer-gain",
    TransferGain,
    summary="what holding the model adds to an attacker's success on the dense one",
    reference="Hong, Carlini & Kurakin, SaTML 2023, for the question",
    cost="that of transfer, which it shares",
)
