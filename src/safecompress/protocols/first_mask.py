"""`FirstMask`: what a search begins with; what it may look at, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from safecompress.candidate import HARD, Candidate, SoftTarget
from safecompress.config import SparseConfig, TrainConfig
from safecompress.events import Event
from safecompress.protocols.training import Defense
from safecompress.topology import Topology

Gradient = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Weights, a state_dict, in; per maskable parameter the mean gradient of the loss at them out."""
SoftGradient = Callable[[Mapping[str, Tensor], SoftTarget], Mapping[str, Tensor]]
"""The same, of the loss to a target that soft labels have a part in."""


@dataclass(frozen=True)
class FirstMaskTraining:
    """A training of the dense weights before the mask is cut.

    Args:
        config: its length, batches and optimizer.
        defense: what draws the weights towards a mask; its state is in the trained candidate.
            Those of `steer.defenses` take part beside it.
        fewest_steps: optimizer steps that it needs; a shorter one is refused before any training.
    """

    config: TrainConfig
    defense: Defense
    fewest_steps: int = 0


@dataclass(frozen=True)
class FirstMaskContext:
    """What a first mask may look at; the run fills in what the mask declares and nothing else.

    Args:
        sparse: the section of the configuration: density, distribution, and options of its own.
        seed: of everything drawn at random.
        module: a copy of the model, for its structure; which weights it holds is undefined.
        untrained: the weights that the run began with, a state_dict on the CPU.
        dense: those of the trained dense model; None unless `needs_dense`.
        student: those of a dense student of teachers; None unless `needs_teachers`.
        trained: what became of the dense weights in the mask's `training`; None where it has none.
        gradient: computes gradients over batches of members; None unless `looks_at_members`.
        soft_gradient: the same towards the teachers' labels; None unless `needs_soft_labels`.
    """

    sparse: SparseConfig
    seed: int
    module: nn.Module
    untrained: Mapping[str, Tensor]
    dense: Mapping[str, Tensor] | None = None
    student: Mapping[str, Tensor] | None = None
    trained: Candidate | None = None
    gradient: Gradient | None = None
    soft_gradient: SoftGradient | None = None


@dataclass(frozen=True)
class FirstMaskStart:
    """What a search begins with.

    Args:
        weights: a state_dict of the model, finite; those that do not exist are set to zero.
        topology: a mask for each maskable weight; together they keep exactly
            `round(sparse.density * total)` weights.
        soft_target: how much of the training target comes from soft labels; anything but none
            needs `needs_teachers` or `needs_soft_labels`.
        event: a message for whoever follows the run; None has none.
    """

    weights: Mapping[str, Tensor]
    topology: Topology
    soft_target: SoftTarget = HARD
    event: Event | None = None


class FirstMask(ABC):
    """Where a search begins: which weights exist at first, and with which values.

    A frozen dataclass whose fields are its options. What it declares decides what the run trains
    before it, what its context holds, and how privacy is accounted for; a mask that looks at more
    than it declares finds None there. A package publishes one through the entry-point group
    `safecompress.first_masks`.
    """

    needs_dense: bool = False
    """Whether the trained dense model has a part in it: then the run must have one, and DP-SGD
    must cover its training, too."""
    needs_teachers: bool = False
    """Whether it begins with a dense student of teachers that never saw the rows they label."""
    needs_soft_labels: bool = False
    """Whether it looks at labels by teachers that never saw the rows, without a student."""
    looks_at_members: bool = False
    """Whether it looks at members other than through models that are accounted for; DP-SGD then
    promises nothing."""

    def training(self, sparse: SparseConfig) -> FirstMaskTraining | None:
        """Return how the dense weights train before the mask is cut, or None for no training.

        Made anew at every call; it can be interrupted and resumed.

        Args:
            sparse: the section of the configuration.
        """
        del sparse
        return None

    @abstractmethod
    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        """Return the weights and masks that the search begins with.

        The run checks them: names, shapes and types of the weights, finite values, a mask for
        every maskable weight, and the number of weights that the density asks for.

        Args:
            context: what it declared to look at; nothing in it may be changed.

        Raises:
            ConfigError: when there is no such mask.
        """
