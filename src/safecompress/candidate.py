"""`Candidate`: all that one branch of the loop needs to be trained on, judged or resumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor

from safecompress.packed import Packed, PackedTensors, stored
from safecompress.topology import Topology
from safecompress.transforms import PLAIN, Transforms


@dataclass(frozen=True)
class SoftTarget:
    """The training target of a candidate: hard labels, soft labels, or a mixture of both.

    Args:
        share: share of the target that comes from the soft label, in [0, 1].
        temperature: > 0. The soft label's probabilities are raised to 1 / temperature and
            normalized; above 1 the less likely classes get more weight.
    """

    share: float = 0.0
    temperature: float = 1.0


HARD = SoftTarget()
"""Hard labels alone."""

UNCHANGED = "(unchanged)"
"""Stands in a lineage for a round whose candidates were all discarded: the parent went on."""


@dataclass(frozen=True)
class Candidate:
    """A model during training, as plain tensors, without a live module or an optimizer.

    Candidates may share tensors, so a tensor must be copied before it is changed.

    Args:
        weights: the module's state_dict (parameters and buffers), on the CPU.
        optimizer: per parameter name the optimizer's state tensors (`momentum_buffer`, …).
        topology: which maskable weights exist.
        ever_active: per maskable parameter bool of its shape, True where a weight exists now or has
            existed before.
        moving_average: per maskable parameter a dense moving average of gradients, of its shape;
            empty unless a grow rule needs it.
        defenses: per defense name its state tensors.
        soft_target: how much of the training target comes from soft labels.
        transforms: to how many bits weights and inputs are rounded, and which channels are left.
        step: optimizer steps taken in this stage of training.
        from_student: whether a proposal put a dense student of the teachers in a forebear's place.
        lineage: names of the proposals that made it, one a round, oldest first; the loop alone
            writes it, and `UNCHANGED` stands for a round in which nothing came of any proposal.
    """

    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Mapping[str, Tensor]]
    topology: Topology
    ever_active: Mapping[str, Tensor]
    moving_average: Mapping[str, Tensor] = field(default_factory=dict)
    defenses: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    soft_target: SoftTarget = HARD
    transforms: Transforms = PLAIN
    step: int = 0
    from_student: bool = False
    lineage: tuple[str, ...] = ()

    def evolve(self, **changes: Any) -> Candidate:
        """Return a copy with some fields replaced.

        Args:
            changes: new values by the fields' names.
        """
        return replace(self, **changes)

    def shown(self) -> dict[str, Tensor]:
        """Return the weights that the model computes with (rounded, …), as a state_dict."""
        return self.transforms.shown(self.weights, self.topology)

    def coverage(self) -> dict[str, float]:
        """Return per layer the share of weights that have ever existed, in [0, 1].

        Reference: in-time over-parameterization, Liu et al., ICML 2021.
        """
        return {name: float(m.float().mean()) for name, m in self.ever_active.items()}

    def packed(self) -> Candidate:
        """Return a copy that holds only existing weights and their momentum, for while it waits.

        Its tensors are made anew whenever they are asked for, bit for bit the same.
        """
        return self.evolve(
            weights=PackedTensors.of(self.weights),
            optimizer={name: PackedTensors.of(state) for name, state in self.optimizer.items()},
            topology=Topology(PackedTensors.of(self.topology.masks)),
            ever_active=PackedTensors.of(self.ever_active),
        )

    def tensors(self) -> PackedTensors:
        """Return every tensor under a flat `group/name[/key]` name, packed where it is packed."""
        groups = {
            "weights": self.weights,
            "masks": self.topology.masks,
            "ever_active": self.ever_active,
            "moving_average": self.moving_average,
            "transforms": self.transforms.tensors(),
        }
        for group, nested in (("optimizer", self.optimizer), ("defenses", self.defenses)):
            groups |= {f"{group}/{name}": state for name, state in nested.items()}
        return PackedTensors(
            {
                f"{group}/{name}": tensor
                for group, tensors in groups.items()
                for name, tensor in stored(tensors).items()
            }
        )

    def settings(self) -> dict[str, Any]:
        """Return the fields that are not tensors, as JSON, for a checkpoint."""
        return {
            "step": self.step,
            "from_student": self.from_student,
            "lineage": list(self.lineage),
            "soft_target": asdict(self.soft_target),
            "transforms": self.transforms.settings(),
        }

    @classmethod
    def from_tensors(cls, flat: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Candidate:
        """Return the candidate from what `tensors` and `settings` returned.

        Args:
            flat: tensors under `group/name[/key]`; packed ones stay packed.
            settings: the decoded JSON.
        """
        groups: dict[str, dict[str, Tensor | Packed]] = {}
        nested: dict[str, dict[str, dict[str, Tensor | Packed]]] = {"optimizer": {}, "defenses": {}}
        for name, tensor in stored(flat).items():
            group, rest = name.split("/", 1)
            if group in nested:
                owner, key = rest.rsplit("/", 1)
                nested[group].setdefault(owner, {})[key] = tensor
            else:
                groups.setdefault(group, {})[rest] = tensor
        found = {group: PackedTensors(tensors) for group, tensors in groups.items()}
        states = {
            group: {owner: PackedTensors(state) for owner, state in owners.items()}
            for group, owners in nested.items()
        }
        return cls(
            weights=found.get("weights", {}),
            optimizer=states["optimizer"],
            topology=Topology(found.get("masks", {})),
            ever_active=found.get("ever_active", {}),
            moving_average=found.get("moving_average", {}),
            defenses=states["defenses"],
            soft_target=SoftTarget(**settings["soft_target"]),
            transforms=Transforms.from_tensors(found.get("transforms", {}), settings["transforms"]),
            step=settings["step"],
            from_student=settings["from_student"],
            lineage=tuple(settings["lineage"]),
        )
