"""`Schedule`, `round_sizes`: when the rounds of a search happen, and how many models they train."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from safecompress.config import CompressConfig, SparseConfig


@dataclass(frozen=True)
class RoundSize:
    """The numbers of models in one round of a search, if no candidate is discarded.

    Args:
        parents: models that train until the proposals change them.
        candidates: models that settle and are judged.
        kept: models that the next round begins with.
    """

    parents: int
    candidates: int
    kept: int


def round_sizes(config: CompressConfig) -> tuple[RoundSize, ...]:
    """Return the size of every round of the configured search.

    Args:
        config: the run's configuration.
    """
    steer, listed = config.steer, len(config.steer.proposals)
    if steer.replay is not None:
        return (RoundSize(1, 1, 1),) * min(config.sparse.rounds, len(steer.replay))
    drawn = min(listed, steer.draw or listed)
    rounds = []
    parents = 1
    if steer.search == "every-round" and steer.draw is not None:
        parents = steer.kept
    for number in range(config.sparse.rounds):
        if steer.search == "every-round":
            candidates = parents * drawn
            kept = min(steer.kept, candidates)
        else:
            candidates = parents if number else drawn
            kept = min(candidates, max(steer.kept, math.ceil(candidates / 2)))
        rounds.append(RoundSize(parents, candidates, kept))
        parents = kept
    return tuple(rounds)


def rounds_in_words(config: CompressConfig) -> str:
    """Return how many candidates the rounds have, e.g. `4 rounds of 5, 3, 2, 1 candidates`.

    Args:
        config: the run's configuration.
    """
    sizes = [size.candidates for size in round_sizes(config)]
    if len(set(sizes)) > 1:
        return f"{len(sizes)} rounds of {', '.join(map(str, sizes))} candidates"
    return f"{len(sizes)} rounds of {sizes[0] if sizes else 0} candidates"


@dataclass(frozen=True)
class Schedule:
    """When the rounds of a search happen, in optimizer steps.

    Args:
        total: optimizer steps of the sparse stage.
        end: step after which the mask does not change any more.
        rounds: number of rounds of equal length.
        settle: steps that a candidate trains before it is judged; None means the whole round.
    """

    total: int
    end: int
    rounds: int
    settle: int | None

    @classmethod
    def of(cls, sparse: SparseConfig, *, steps_per_epoch: int, total: int) -> Schedule:
        """Return the schedule of a configuration.

        Args:
            sparse: gives rounds, their end and the settling time.
            steps_per_epoch: optimizer steps of an epoch.
            total: optimizer steps of the sparse stage.
        """
        end = min(total, max(sparse.rounds, math.floor(total * sparse.end + 0.5)))
        settle = None
        if sparse.settle_epochs is not None:
            settle = max(1, math.floor(sparse.settle_epochs * steps_per_epoch + 0.5))
            if sparse.rounds:
                settle = min(settle, end // sparse.rounds)
        return cls(total, end, sparse.rounds, settle)

    def began(self, number: int) -> int:
        """Return the step at which a round begins.

        Args:
            number: the round, from 0.
        """
        return self.end * number // self.rounds

    def judged(self, number: int) -> int:
        """Return the step at which a round's candidates are judged.

        Args:
            number: the round, from 0.
        """
        return self.began(number + 1)

    def proposed(self, number: int) -> int:
        """Return the step at which proposals make a round's candidates.

        Args:
            number: the round, from 0.
        """
        return self.began(number) if self.settle is None else self.judged(number) - self.settle

    def progress(self, number: int) -> float:
        """Return the share of the period of mask updates that has passed, in [0, 1].

        Args:
            number: the round, from 0.
        """
        return number / (self.rounds - 1) if self.rounds > 1 else 0.0

    def training_steps(self, sizes: Sequence[RoundSize]) -> int:
        """Return the optimizer steps of a whole search, summed over all models.

        Args:
            sizes: the size of each round.
        """
        steps = self.total - (self.end if self.rounds else 0)
        for number, size in enumerate(sizes):
            proposed = self.proposed(number)
            steps += (proposed - self.began(number)) * size.parents
            steps += (self.judged(number) - proposed) * size.candidates
        return steps
