"""`Attack`, `Evidence`, `AttackResult`: the interface of membership attacks."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from safecompress.errors import DataError, MissingEvidenceError, NonFiniteError, UndecidableError
from safecompress.protocols.groups import Groups
from safecompress.protocols.internals import Internals
from safecompress.protocols.judges import Judges
from safecompress.protocols.references import References
from safecompress.protocols.rows import Outputs, Pool, Rows
from safecompress.protocols.span import InputRange
from safecompress.stats.intervals import auc_interval, surely_below_chance
from safecompress.stats.thresholds import best_threshold, class_thresholds


@dataclass(frozen=True)
class Evidence:
    """What an attacker knows about one group of rows; `None` for what this audit does not have.

    Args:
        outputs: the target's outputs.
        parent: the dense parent's outputs on the same rows.
        rows: the rows themselves.
        references: what reference models say of the same rows.
        internals: the target's hidden features and gradient norms on the same rows, for white-box
            attacks.
        family: outputs of several compressed versions of the same model on the same rows.
        target: the model itself, for attacks that query it on rows of their own.
        parent_target: the dense parent itself, for attacks on it by a holder of the target.
        span: the range of the model's inputs.
        groups: by name of an attribute, such as `region`, the groups of every row; figures are
            judged within each group, and no attack reads them.
        judges: figures of the same rows by models that had no part in the target's labels.
        each_output: where the outputs stand for several numbers or labels at once, how right the
            target is about each alone: the log-odds of exp(-loss), finite, float64 (n, outputs).

    Raises:
        DataError: when `references`, `internals`, `family`, `judges`, `each_output` or a column of
            `groups` have another number of rows than `outputs`, or `family` is empty.
    """

    outputs: Outputs
    parent: Outputs | None = None
    rows: Rows | None = None
    references: References | None = None
    internals: Internals | None = None
    family: tuple[Outputs, ...] | None = None
    target: nn.Module | None = None
    parent_target: nn.Module | None = None
    span: InputRange | None = None
    groups: Mapping[str, Groups] | None = None
    judges: Judges | None = None
    each_output: Tensor | None = None

    def __post_init__(self) -> None:
        beside: dict[str, Sized | None] = {
            "references": self.references,
            "internals": self.internals,
            "judges": self.judges,
            "each_output": self.each_output,
        }
        beside |= {f"groups '{name}'": column for name, column in (self.groups or {}).items()}
        for name, value in beside.items():
            if value is not None and len(value) != len(self.outputs):
                raise DataError(
                    f"evidence: outputs of {len(self.outputs)} rows, {name} of {len(value)}; "
                    "expected the same rows in the same order."
                )
        if self.family is not None and {len(o) for o in self.family} != {len(self.outputs)}:
            raise DataError(
                f"evidence: outputs of {len(self.outputs)} rows, a family of "
                f"{[len(o) for o in self.family]}; expected at least one model, and of each the "
                "same rows in the same order."
            )

    def take(self, index: Tensor) -> Evidence:
        """Return the evidence about some of the rows.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        return Evidence(
            self.outputs.take(index),
            None if self.parent is None else self.parent.take(index),
            None if self.rows is None else self.rows.take(index),
            None if self.references is None else self.references.take(index),
            None if self.internals is None else self.internals.take(index),
            None if self.family is None else tuple(o.take(index) for o in self.family),
            self.target,
            self.parent_target,
            self.span,
            None if self.groups is None else {n: g.take(index) for n, g in self.groups.items()},
            None if self.judges is None else self.judges.take(index),
            None if self.each_output is None else self.each_output[index],
        )


@dataclass(frozen=True)
class AttackResult:
    """Scores that an attack gave, with what is needed to turn them into guesses.

    Args:
        attack: the attack's name.
        scores: float64 per scored row, higher = more likely a member. An attack without parameters
            scores all rows of the pool, an attack that learns only the score half.
        ids: int64 per scored row, in the order of `scores`.
        known: scores of the fit half, whose membership the attacker knows; thresholds are learned
            on it.
        judged: scores of the score half, whose membership is guessed.
        labels: int64 per row of the pool.
        halves: bool per row of the pool, True = fit half.
        classes: number of classes.
        knowledge: what the thresholds are learned from: `auditor` for true memberships (an upper
            bound on what an attacker reaches), `shadow` for reference models.
        seconds: wall time to fit and score.
    """

    attack: str
    scores: Pool[Tensor]
    ids: Pool[Tensor]
    known: Pool[Tensor]
    judged: Pool[Tensor]
    labels: Pool[Tensor]
    halves: Pool[Tensor]
    classes: int
    knowledge: str
    seconds: float

    @cached_property
    def is_reversed(self) -> bool:
        """Whether members score lower than non-members, beyond what chance explains."""
        found = auc_interval(self.scores.members, self.scores.nonmembers, level=0.95)
        return surely_below_chance(found.value, found.high)

    @cached_property
    def turned(self) -> AttackResult:
        """The same result with the scores' signs turned: the guess that members score low."""
        return replace(
            self,
            scores=self.scores.map(torch.neg),
            known=self.known.map(torch.neg),
            judged=self.judged.map(torch.neg),
        )

    @cached_property
    def threshold(self) -> float:
        """The least score at which a row is guessed to be a member, learned on the fit half."""
        return best_threshold(self.known.members, self.known.nonmembers)

    @cached_property
    def guesses(self) -> Pool[Tensor]:
        """Bool per row of the score half, True = member, by one threshold for all classes."""
        return self.judged.map(lambda s: s >= self.threshold)

    @cached_property
    def class_guesses(self) -> Pool[Tensor]:
        """The guesses as in `guesses`, by one threshold per class."""
        known = self.labels.zip(self.halves, lambda y, mask: y[mask])
        judged = self.labels.zip(self.halves, lambda y, mask: y[~mask])
        thresholds = class_thresholds(
            self.known.members,
            self.known.nonmembers,
            known.members,
            known.nonmembers,
            classes=self.classes,
            default=self.threshold,
        )
        per_class = torch.as_tensor(thresholds)
        return self.judged.zip(judged, lambda s, y: s >= per_class[y])


class Attack(ABC):
    """A simulated membership attacker. Authors write `score`, and `fit` where it learns.

    Hyper-parameters go to the constructor of a frozen dataclass, the problem to the call. The
    object holds no state: `fit` returns what `score` is given back. A result is kept for the very
    same attack, its class and the values of its options (see `identity`); `name` is what
    people read.
    """

    name: ClassVar[str]
    signals: ClassVar[str] = ""
    """The kind of signal that it reads, one of `SIGNALS`; its contract asks for it."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """Names of the `Evidence` fields that the attack needs besides `outputs`."""
    learns: ClassVar[bool] = False
    """Whether the attack learns in `fit`; then only the score half is scored."""
    knowledge: ClassVar[str] = "auditor"
    """What thresholds are learned from: `auditor` (true memberships) or `shadow` (references)."""
    label_only: ClassVar[bool] = False
    """Whether the attack uses predicted classes only. Of the outputs it then reads nothing but
    whether a row is classified correctly."""
    two_valued: ClassVar[bool] = False
    """Whether scores take two values only, as a yes or no does. Such an attack has one threshold,
    and its rates at few false positives follow from that one."""

    directed: ClassVar[bool] = True
    """Whether higher scores mean "member" by the attack's own reasoning. False where the attack
    learns from true memberships which way round its scores are."""

    @property
    def white_box(self) -> bool:
        """Whether the attack reads the model's internals."""
        return "internals" in self.requires

    def fit(self, known: Pool[Evidence], *, seed: int) -> Any:
        """Learn from rows whose membership is known; return what `score` needs (or None).

        Args:
            known: evidence about the fit half's members and non-members.
            seed: seed of everything random.
        """
        del known, seed

    def read(self, outputs: Pool[Outputs]) -> None:
        """Compute ahead what `score` gets from `Outputs.per_row`, for both groups in one pass.

        This only saves time, so it must not mix information between rows or groups. By default
        nothing is computed ahead.

        Args:
            outputs: the target's outputs on the members and on the non-members.
        """
        del outputs

    def survey(self, references: References) -> Any:
        """Return statistics over all rows' references that `score` needs (or None).

        This is called only for an attack that requires references and does not learn. It may look
        at the judged rows, too, because references are independent of the target's training set.

        Args:
            references: what they say of all rows, members first.
        """
        del references

    @abstractmethod
    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        """Return one score per row, float64 (n,), higher = more likely a member.

        Args:
            fitted: what `fit` (of an attack that learns) or `survey` returned, or None.
            evidence: what is known about n rows. All fields in `requires` are present.
        """

    @final
    def __call__(self, pool: Pool[Evidence], *, halves: Pool[Tensor], seed: int) -> AttackResult:
        """Fit on one half of the pool and score; thresholds are learned on the fit half, too.

        Args:
            pool: evidence about members and non-members.
            halves: bool masks (n_members,) and (n_nonmembers,), True = fit half.
            seed: seed of everything random.

        Raises:
            MissingEvidenceError: when a required field is not there.
            UndecidableError: when a half is empty.
            NonFiniteError: when a score is NaN.
        """
        started = time.perf_counter()
        for field_name in sorted(self.requires):
            if any(getattr(e, field_name, None) is None for e in (pool.members, pool.nonmembers)):
                raise MissingEvidenceError(
                    f"{self.name}: needs '{field_name}', which this audit does not have."
                )
        # Taking rows by position is faster than taking them by a mask.
        fit = halves.map(lambda mask: mask.nonzero().squeeze(1))
        rest = halves.map(lambda mask: (~mask).nonzero().squeeze(1))
        if 0 in {len(fit.members), len(rest.members), len(fit.nonmembers), len(rest.nonmembers)}:
            raise UndecidableError(
                f"{self.name}: one half of the members or non-members is empty; "
                "give each pool at least 2 rows."
            )
        self.read(pool.map(lambda e: e.outputs))
        if self.learns:
            fit_half = pool.zip(fit, lambda e, index: e.take(index))
            score_half = pool.zip(rest, lambda e, index: e.take(index))
            fitted = self.fit(fit_half, seed=seed)
            known = fit_half.map(lambda e: self._checked_score(fitted, e))
            scores = judged = score_half.map(lambda e: self._checked_score(fitted, e))
            ids = score_half.map(lambda e: e.outputs.ids)
        else:
            surveyed = self._surveyed(pool)
            scores = pool.map(lambda e: self._checked_score(surveyed, e))
            known = scores.zip(fit, lambda s, index: s.index_select(0, index))
            judged = scores.zip(rest, lambda s, index: s.index_select(0, index))
            ids = pool.map(lambda e: e.outputs.ids)
        return AttackResult(
            attack=self.name,
            scores=scores,
            ids=ids,
            known=known,
            judged=judged,
            labels=pool.map(lambda e: e.outputs.labels),
            halves=halves,
            classes=pool.members.outputs.classes,
            knowledge=self.knowledge,
            seconds=time.perf_counter() - started,
        )

    def _surveyed(self, pool: Pool[Evidence]) -> Any:
        members, nonmembers = pool.members.references, pool.nonmembers.references
        if "references" not in self.requires or members is None or nonmembers is None:
            return None
        return self.survey(members.together(nonmembers))

    def _checked_score(self, fitted: Any, evidence: Evidence) -> Tensor:
        scores = self.score(fitted, evidence).double()
        if scores.shape != evidence.outputs.labels.shape:
            raise DataError(
                f"{self.name}: score() returned shape {tuple(scores.shape)}; expected "
                f"({len(evidence.outputs)},), one score per row."
            )
        # min() propagates NaN, so one number tells whether any score is NaN.
        if len(scores) and bool(torch.isnan(scores.min())):
            raise NonFiniteError(f"{self.name}: {int(torch.isnan(scores).sum())} scores are NaN.")
        return scores
