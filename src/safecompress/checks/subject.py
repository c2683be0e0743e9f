"""`Subject`: the evidence on one model, with a cache of the results of attacks and measures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, cast

from torch import Tensor

from safecompress.data import halves
from safecompress.protocols import Attack, AttackResult, Evidence, Outputs, Pool
from safecompress.registry.identity import Identity, identity

if TYPE_CHECKING:
    from safecompress.checks.canaries import CanaryScores

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Subject:
    """The evidence on one model from one pool of rows; every attack on it runs once.

    Args:
        name: the model's name in reports: `dense`, `magnitude`, `compressed`, a candidate's name.
        evidence: what attackers know about members and non-members; accuracy is measured on the
            non-members.
        halves: bool masks (n,), True on the rows that a learning attack may be fitted on.
        density: existing share of the maskable weights, in [0, 1]; None where it is not known.
        seed: seed of everything random in attacks and intervals.
        class_names: names of the classes, by their numbers; empty where they are not known.
        canaries: what the model suggests of its run's canaries; None without any.
        classifies: whether the outputs are of classes; False where they stand for losses, so that
            accuracy and figures by class mean nothing.
    """

    name: str
    evidence: Pool[Evidence]
    halves: Pool[Tensor]
    density: float | None
    seed: int
    class_names: tuple[str, ...] = ()
    canaries: CanaryScores | None = None
    classifies: bool = True
    _results: dict[Identity, AttackResult] = field(default_factory=dict, repr=False, compare=False)
    _computed: dict[Identity, object] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        outputs: Pool[Outputs] | Pool[Evidence],
        *,
        name: str,
        density: float | None,
        seed: int,
        class_names: tuple[str, ...] = (),
        classifies: bool = True,
    ) -> Subject:
        """Build the subject of a model's outputs, or of all evidence on it.

        Args:
            outputs: the model's outputs, or evidence that contains them.
            name: the model's name in reports.
            density: existing share of the maskable weights, in [0, 1]; None where it is not known.
            seed: seed of attacks and intervals; with the row ids it determines the halves.
            class_names: names of the classes, by their numbers; empty where they are not known.
            classifies: whether the outputs are of classes.
        """
        evidence = outputs.map(_as_evidence)
        return cls(
            name=name,
            evidence=evidence,
            halves=evidence.map(lambda e: halves(e.outputs.ids, seed=seed)),
            density=density,
            seed=seed,
            class_names=class_names,
            classifies=classifies,
        )

    @property
    def outputs(self) -> Pool[Outputs]:
        """The model's outputs on both groups."""
        return self.evidence.map(lambda e: e.outputs)

    def class_named(self, label: int) -> str:
        """Return the name of a class; its number where names are not known.

        Args:
            label: the class, from 0.
        """
        return self.class_names[label] if label < len(self.class_names) else str(label)

    def attacked_by(self, attack: Attack) -> AttackResult:
        """Run an attack, or return its earlier result.

        Args:
            attack: the attack. Its `identity` is the key of the cache, because another package's
                attack may have the same class name, `repr` or display name.
        """
        key = identity(attack)
        if key not in self._results:
            self._results[key] = attack(self.evidence, halves=self.halves, seed=self.seed)
        return self._results[key]

    def once(self, measure: object, compute: Callable[[], _Result]) -> _Result:
        """Return the result of `compute`, or the earlier result for the same measure.

        Args:
            measure: the measure; its `identity` is the key of the cache.
            compute: computes the result.
        """
        key = identity(measure)
        if key not in self._computed:
            self._computed[key] = compute()
        return cast(_Result, self._computed[key])

    @property
    def accuracy(self) -> float:
        """Accuracy on the non-members, in [0, 1]."""
        return float(self.evidence.nonmembers.outputs.correct.double().mean())


def _as_evidence(what: Outputs | Evidence) -> Evidence:
    return Evidence(what) if isinstance(what, Outputs) else what


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Elapsed wall-clock time."""
        return time.perf_counter() - self._started
