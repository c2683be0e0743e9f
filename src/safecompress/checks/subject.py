"""`Subject`: one model on one pool of rows, and what every attack found of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from torch import Tensor

from safecompress.data import halves
from safecompress.protocols import Attack, AttackResult, Evidence, Outputs, Pool
from safecompress.registry.identity import Identity, identity

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Subject:
    """What is known of one model on one pool of rows; every attack on it runs once.

    Args:
        name: how the report calls it: `dense`, `magnitude`, `compressed`, a candidate's name.
        evidence: what attackers hold about members and non-members; the non-members are also
            the rows accuracy is measured on.
        halves: bool masks, True where a fitted attacker may learn.
        density: existing share of the maskable weights, in [0, 1]; None where it is not known.
        seed: seed of everything random in attacks and intervals.
    """

    name: str
    evidence: Pool[Evidence]
    halves: Pool[Tensor]
    density: float | None
    seed: int
    _results: dict[Identity, AttackResult] = field(default_factory=dict, repr=False, compare=False)
    _found: dict[Identity, object] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        outputs: Pool[Outputs] | Pool[Evidence],
        *,
        name: str,
        density: float | None,
        seed: int,
    ) -> Subject:
        """Build the subject of a model's outputs, or of all that attackers hold about them.

        Halves follow from row ids and the seed.
        """
        evidence = outputs.map(_held)
        return cls(
            name=name,
            evidence=evidence,
            halves=evidence.map(lambda e: halves(e.outputs.ids, seed=seed)),
            density=density,
            seed=seed,
        )

    @property
    def outputs(self) -> Pool[Outputs]:
        """The model's outputs on both groups."""
        return self.evidence.map(lambda e: e.outputs)

    def attacked_by(self, attack: Attack) -> AttackResult:
        """Run an attack, or return what this very attack said before.

        Args:
            attack: the attack; whether it ran before is decided by its `identity`, for another
                package's attack may have the same class name, `repr` or display name.
        """
        key = identity(attack)
        if key not in self._results:
            self._results[key] = attack(self.evidence, halves=self.halves, seed=self.seed)
        return self._results[key]

    def once(self, measure: object, made: Callable[[], _Found]) -> _Found:
        """Return what `made` gives, or what it gave before for this very measure.

        Args:
            measure: whose result it is; its `identity` is the key.
            made: computes the result.
        """
        key = identity(measure)
        if key not in self._found:
            self._found[key] = made()
        return cast(_Found, self._found[key])

    @property
    def accuracy(self) -> float:
        """Accuracy on the non-members, in [0, 1]."""
        return float(self.evidence.nonmembers.outputs.correct.double().mean())


def _held(what: Outputs | Evidence) -> Evidence:
    return Evidence(what) if isinstance(what, Outputs) else what


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Elapsed wall-clock time."""
        return time.perf_counter() - self._started
