"""An imagined run of a toy, in which a first mask is tried out: every part of it can be exchanged.

The dense model and the student are drawn instead of trained, because a first mask cannot tell; only
the training towards a mask and the gradients are real.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from safecompress.candidate import Candidate, SoftTarget
from safecompress.compression.first_masks.acceptance import shown_to
from safecompress.config import AdmmConfig, GradualConfig, SparseConfig, TrainConfig
from safecompress.defenses.imagined import network, soft_labels, trainer
from safecompress.files import read_tensors, write_tensors
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskTraining
from safecompress.randomness import derive
from safecompress.train import Trainer

SPARSE = SparseConfig(
    density=0.5,
    admm=AdmmConfig(rounds=3),
    gradual=GradualConfig(cuts=3),
    train=TrainConfig(
        epochs=3, batch_size=50, lr=0.1, precision="32-true", memory_format="contiguous"
    ),
)
"""Its training has six steps, so that ADMM and gradual pruning act three times, every two steps."""


@dataclass(frozen=True)
class Situation:
    """A run in which a first mask is asked; another number anywhere is another such thing.

    Args:
        seed: of the run and its untrained weights.
        sparse: the section of the configuration.
        dense: which trained dense model there is.
        teachers: which teachers the student learned from.
        labels: which soft labels the teachers give the members.
        members: which members there are; the student and all training depend on them.
        held: which weights the module holds, of which nobody may make anything.
        backwards: whether state_dicts come in the opposite order, as they may from files.
        interrupted: after how many steps the training towards a mask is stored and resumed; 0
            never.
    """

    seed: int = 0
    sparse: SparseConfig = SPARSE
    dense: int = 0
    teachers: int = 0
    labels: int = 0
    members: int = 0
    held: int = 0
    backwards: bool = False
    interrupted: int = 0

    def context(self, mask: FirstMask) -> FirstMaskContext:
        """Return a context with all that a first mask declares to look at, and nothing else.

        Args:
            mask: it is asked for its training, which the dense weights then have.
        """
        made = FirstMaskContext(
            sparse=self.sparse,
            seed=self.seed,
            module=network(derive(self.seed, "held", self.held)),
            untrained=self._weights("untrained", 0),
            dense=self._weights("dense", self.dense),
            student=self._weights("student", self.teachers, self.members),
            trained=self._trained(mask),
            gradient=self._gradient,
            soft_gradient=self._soft_gradient,
        )
        return shown_to(mask, made)

    def _weights(self, *names: str | int) -> dict[str, Tensor]:
        state = network(derive(self.seed, *names)).state_dict()
        items = [(name, tensor.clone()) for name, tensor in state.items()]
        return dict(reversed(items) if self.backwards else items)

    def _gradient(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        plain = trainer(derive(self.seed, "members", self.members))
        return plain.gradient(plain.start(weights=weights), self.sparse.gradient_batches)

    def _soft_gradient(
        self, weights: Mapping[str, Tensor], target: SoftTarget
    ) -> Mapping[str, Tensor]:
        labels = soft_labels(self.seed, self.labels)
        taught = trainer(derive(self.seed, "members", self.members), soft_labels=labels)
        start = taught.start(weights=weights).evolve(soft_target=target)
        return taught.gradient(start, self.sparse.gradient_batches)

    def _trained(self, mask: FirstMask) -> Candidate | None:
        training = mask.training(self.sparse)
        if training is None:
            return None
        made = self._trainer(training)
        start, steps = made.start(weights=self._weights("dense", self.dense)), made.total_steps
        if not self.interrupted:
            return made.train(start, steps)
        half = made.train(start, min(self.interrupted, steps))
        # What resumes a run asks for the training anew.
        resumed = self._trainer(mask.training(self.sparse) or training)
        return resumed.train(_stored(half), steps - half.step)

    def _trainer(self, training: FirstMaskTraining) -> Trainer:
        dense = network(self.seed)
        dense.load_state_dict(self._weights("dense", self.dense))
        config = {name: getattr(training.config, name) for name in TrainConfig.model_fields}
        members = derive(self.seed, "members", self.members)
        return trainer(members, [training.defense], dense=dense.eval(), **config)


def _stored(candidate: Candidate) -> Candidate:
    """Return a candidate as it comes back from a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "half.safetensors"
        write_tensors(path, candidate.packed().tensors())
        return Candidate.from_tensors(read_tensors(path), candidate.settings())
