"""`AttributeInference`: does the model give away a yes/no value of the rows it was trained on?

Much of a row can be guessed from its other columns without any model. The measure is therefore how
much more is guessed right with the model than without it, and how much larger that gain is on
members than on non-members.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot

from safecompress.checks.measures import MEASURES, Measure
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.errors import ConfigError, MissingEvidenceError, UndecidableError
from safecompress.protocols import Estimate, Evidence, Pool, Rows
from safecompress.stats import excess_gain
from safecompress.train.predict import predict


@dataclass(frozen=True)
class Guesses:
    """Which rows' values were guessed right, each bool (n,).

    Args:
        asked: with the model's answers.
        imputed: without the model, from the other columns and the label alone.
    """

    asked: Tensor
    imputed: Tensor


@dataclass(frozen=True)
class AttributeInference(Measure):
    """Share of values guessed right with the model minus without, on members minus on others.

    The attacker knows all of a row but one yes/no column, and its true label y. Without the model
    the attacker guesses by a logistic regression on the other columns and the label, learned on
    half of the non-members. With the model the attacker tries both values and weighs
    log p(y | yes) − log p(y | no) against that guess. The weights are learned on half of each
    group, apart for members and non-members: a model that misleads about non-members then counts
    as one that says nothing about them, instead of enlarging the gap. The other halves are guessed.

    Args:
        column: the sensitive column, from 0, of inputs that are one table of numbers.

    Raises:
        ConfigError: on a negative column.

    Reference: Fredrikson et al., USENIX Security 2014; measured against imputation as Jayaraman &
    Evans, CCS 2022, ask for.
    """

    worse: ClassVar[Literal["higher", "lower"]] = "higher"

    column: int

    def __post_init__(self) -> None:
        if self.column < 0:
            raise ConfigError(f"column is {self.column}; expected at least 0.")

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"rows", "target"})

    @property
    def name(self) -> str:
        return f"attribute-{self.column}.excess-gain"

    def estimate(self, subject: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        guesses = self._guessed(subject)
        return _estimate(
            guesses.map(lambda g: g.asked), guesses.map(lambda g: g.imputed), watch, level=level
        )

    def difference(self, subject: Subject, dense: Subject, *, level: float) -> Estimate:
        watch = Stopwatch()
        subject_guesses, dense_guesses = self._guessed(subject), self._guessed(dense)
        # Guesses without a model are the same for both models and cancel in the difference.
        return _estimate(
            subject_guesses.map(lambda g: g.asked),
            dense_guesses.map(lambda g: g.asked),
            watch,
            level=level,
        )

    def _guessed(self, subject: Subject) -> Pool[Guesses]:
        for evidence in (subject.evidence.members, subject.evidence.nonmembers):
            if evidence.rows is None or evidence.target is None:
                raise MissingEvidenceError(
                    f"{self.name}: needs the rows and the model, which this audit does not have."
                )
        known = subject.evidence.zip(subject.halves, lambda e, half: e.take(half))
        judged = subject.evidence.zip(subject.halves, lambda e, half: e.take(~half))
        values = self._values(known.nonmembers)
        table = self._table(known.nonmembers)
        baseline = _fitted(table.labeled, table.values == values[1])
        return known.zip(judged, lambda k, j: self._guessed_of(k, j, baseline, values))

    def _values(self, evidence: Evidence) -> tuple[float, float]:
        values = np.unique(self._table(evidence).values)
        if len(values) != 2:
            raise UndecidableError(
                f"{self.name}: column {self.column} holds {len(values)} values among "
                f"{len(evidence.outputs)} non-members; expected two."
            )
        return float(values[0]), float(values[1])

    def _guessed_of(
        self, known: Evidence, judged: Evidence, baseline: Any, values: tuple[float, float]
    ) -> Guesses:
        """Learn the weights of both hints on one half of a group, and guess the other half."""
        low, high = values

        def hints(evidence: Evidence, table: _Table) -> NDArray[np.float64]:
            log_ratio = self._log_likelihood(evidence, high) - self._log_likelihood(evidence, low)
            return np.stack([baseline.decision_function(table.labeled), log_ratio], axis=1)

        known_table, judged_table = self._table(known), self._table(judged)
        truth, yes = known_table.values == high, judged_table.values == high
        if len(np.unique(truth)) < 2:
            raise UndecidableError(
                f"{self.name}: all {len(truth)} rows of one half hold the same value; nothing can "
                "be learned."
            )
        attacker = _fitted(hints(known, known_table), truth)
        judged_hints = hints(judged, judged_table)
        guessed_yes = attacker.decision_function(judged_hints) > 0
        return Guesses(
            torch.from_numpy(guessed_yes == yes), torch.from_numpy((judged_hints[:, 0] > 0) == yes)
        )

    def _table(self, evidence: Evidence) -> _Table:
        rows = cast(Rows, evidence.rows)
        x = rows.inputs
        if not isinstance(x, Tensor) or x.ndim != 2 or self.column >= x.shape[1]:
            raise UndecidableError(
                f"{self.name}: expected inputs that are one table (n, columns) with more than "
                f"{self.column} columns."
            )
        columns = torch.arange(x.shape[1]) != self.column
        rest = x[:, columns].double().cpu()
        labels = one_hot(rows.labels.cpu(), evidence.outputs.classes).double()
        return _Table(
            x[:, self.column].double().cpu().numpy(),
            torch.cat([rest, labels], dim=1).numpy(),
        )

    def _log_likelihood(self, evidence: Evidence, value: float) -> NDArray[np.float64]:
        """Return log p(y | value) of each row, with the column set to `value`, float64 (n,)."""
        rows = cast(Rows, evidence.rows)
        inputs = cast(Tensor, rows.inputs).clone()
        inputs[:, self.column] = value
        tried = predict(cast(nn.Module, evidence.target), replace(rows, inputs=inputs))
        return -tried.losses.numpy()


@dataclass(frozen=True)
class _Table:
    """The sensitive values (n,), and the other columns with the label as one-hot."""

    values: NDArray[np.float64]
    labeled: NDArray[np.float64]


def _fitted(x: NDArray[np.float64], truth: NDArray[np.bool_]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(x, truth)


def _estimate(
    guessed: Pool[Tensor], otherwise: Pool[Tensor], watch: Stopwatch, *, level: float
) -> Estimate:
    gain = excess_gain(
        guessed.members,
        guessed.nonmembers,
        otherwise.members,
        otherwise.nonmembers,
        level=level,
    )
    sizes = guessed.map(len)
    return Estimate(
        gain.value, gain.low, gain.high, sizes.members, sizes.nonmembers, "auditor", watch.seconds
    )


MEASURES.add(
    "attribute",
    AttributeInference,
    summary="how much better a yes/no column of members is guessed with the model than without",
    reference="Fredrikson et al., USENIX Security 2014; Jayaraman & Evans, CCS 2022",
    cost="two predictions a row and three logistic regressions",
)
