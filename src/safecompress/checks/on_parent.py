"""`Pair`, `OnParent`: models, rows and ball of attacks on the dense model with the small."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from safecompress.attacks.transfer import Surrogates, gives_gradients, space_of, surrogates
from safecompress.checks.measures import Measure
from safecompress.checks.subject import Subject
from safecompress.errors import ConfigError, MissingEvidenceError, UndecidableError
from safecompress.protocols import NORMS, Ball, Estimate, Norm, Rows
from safecompress.randomness import derive

_FEWEST = 2
"""Fewest rows that a model can be trained on."""


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
        near: the L2 ball of half the usual radius, in which an attacker trains adversarially.
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
    near: Ball
    radius: float
    unit: str
    text: bool


@dataclass(frozen=True)
class OnParent(Measure):
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

    def pair(self, subject: Subject) -> Pair:
        """Return the models and rows; the attacker learns from one half of the non-members.

        Args:
            subject: the judged model, with the dense one in its evidence.

        Raises:
            MissingEvidenceError: when rows or either model are missing.
            UndecidableError: when the models have no common space of points.
        """
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
            near=space.ball("l2", space.radii["l2"] / 2),
            radius=space.radii[self.norm] if self.radius is None else self.radius,
            unit=space.unit,
            text=space.text,
        )


def trained_surrogates(
    subject: Subject, pair: Pair, *, epochs: int, questions: int = 0
) -> Surrogates:
    """Return the models that attackers trained; a subject's are trained only once.

    Args:
        subject: the judged model.
        pair: its models and rows.
        epochs: epochs of the noisy copy; 0 trains nothing.
        questions: number of rows about which the dense model is asked.

    Returns:
        No models where there is nothing to train: without epochs, gradients, or rows.
    """
    if not epochs or len(pair.known) < _FEWEST or not gives_gradients(pair.small, pair.x):
        return Surrogates()
    return subject.once(
        ("surrogates", epochs, questions),
        lambda: surrogates(
            pair.small,
            pair.known,
            pair.known_rows.labels,
            near=pair.near,
            epochs=epochs,
            seed=derive(subject.seed, "surrogates"),
            full=pair.full,
            questions=questions,
        ),
    )
