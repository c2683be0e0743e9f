"""`MaskUpdates`: when the masks of a user's own loop change, and into what."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from safecompress.candidate import UNCHANGED, Candidate
from safecompress.compression.attempt import DiscardedError, changed
from safecompress.compression.schedule import Schedule
from safecompress.config import CompressConfig
from safecompress.defenses import Gradual
from safecompress.defenses.support import largest
from safecompress.errors import ConfigError
from safecompress.events import Event, Listener
from safecompress.loops.settings import gradual_of, proposal_of
from safecompress.protocols import ProposalContext
from safecompress.randomness import derive
from safecompress.sparse.rewire import rewire


class MaskUpdates:
    """The mask updates of a loop: a proposal at each of `sparse.rounds`, or the cuts of gradual.

    They lie at equal distances in the first `sparse.end` of the loop's steps, each after the step
    that ends its part.

    Args:
        config: the run's configuration.
        steps: optimizer steps that the loop will take.
        tables: names of the embedding tables.
        listen: told when a proposal failed, and the mask stays as it is.

    Raises:
        ConfigError: when there are fewer steps than updates.
    """

    def __init__(
        self, config: CompressConfig, *, steps: int, tables: frozenset[str], listen: Listener
    ) -> None:
        self._config, self._tables, self._listen = config, tables, listen
        self._gradual, self._proposal = gradual_of(config), proposal_of(config)
        count = config.sparse.gradual.cuts if self._gradual else config.sparse.rounds
        times = config.sparse.model_copy(update={"rounds": count})
        self._clock = Schedule.of(times, steps_per_epoch=1, total=steps)
        if count > steps:
            setting = "sparse.gradual.cuts" if self._gradual else "sparse.rounds"
            raise ConfigError(
                f"{setting} is {count}, but the loop takes {steps} steps; update less often."
            )
        self._numbers = {self._clock.judged(number): number for number in range(count)}

    @property
    def dense_at_first(self) -> bool:
        """Whether the loop begins with all weights, which gradual pruning then cuts."""
        return self._gradual is not None

    @property
    def last(self) -> int:
        """The step after which the mask does not change any more; 0 without updates."""
        return max(self._numbers, default=0)

    def due(self, step: int) -> bool:
        """Return whether the mask changes after a step.

        Args:
            step: optimizer steps taken, from 1.
        """
        return step in self._numbers

    def reads_gradient(self, step: int) -> bool:
        """Return whether the update after a step looks at that step's dense gradient.

        Args:
            step: optimizer steps taken, from 1.
        """
        needs = self._proposal is not None and "gradient" in self._proposal.requires
        return needs and self.due(step)

    def of(self, parent: Candidate, gradient: Mapping[str, Tensor] | None) -> Candidate:
        """Return the candidate with the masks that its step's update gives it.

        Args:
            parent: the candidate after a step at which an update is due.
            gradient: dense gradients by masked parameter, where the update looks at them.

        Raises:
            ConfigError: when the proposal changes more than the mask, which the loop's own model
                could not follow.
            NonFiniteError: when a score is NaN or infinite.
        """
        number = self._numbers[parent.step]
        if self._gradual is not None:
            return self._cut(parent, number + 1)
        proposal = self._proposal
        if proposal is None:
            return parent
        context = ProposalContext(
            gradient=gradient,
            progress=self._clock.progress(number),
            seed=derive(self._config.seed, "propose", number, 0, proposal.name, 0),
        )
        try:
            child = changed(proposal, parent, context)
        except DiscardedError as error:
            self._listen(Event("note", f"mask update {number + 1}: discarded ({error})", {}))
            return parent.evolve(lineage=(*parent.lineage, UNCHANGED))
        if (child.transforms, child.soft_target) != (parent.transforms, parent.soft_target):
            raise ConfigError(
                f"steer.proposals: '{proposal.name}' changes more than the mask, and a model that "
                "your own loop trains cannot follow; take a change of the mask, such as rigl."
            )
        return child.evolve(lineage=(*parent.lineage, proposal.name))

    def _cut(self, parent: Candidate, cuts: int) -> Candidate:
        """Return the candidate without its smallest weights, as gradual pruning cuts them."""
        sparse, mask = self._config.sparse, self._gradual
        scope = mask.scope if mask is not None else "global"
        kept = largest(
            {name: parent.weights[name] for name in parent.topology.masks},
            sparse,
            scope=scope,
            density=Gradual(sparse, scope=scope).density_after(cuts),
            tables=self._tables,
        )
        return rewire(parent, kept.masks, proposal="gradual")
