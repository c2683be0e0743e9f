"""`Session`: what a run works with; fixed from its start to its end, except for its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from safecompress.candidate import Candidate
from safecompress.compression.jobs import ConfiguredStage, train_config, training_steps
from safecompress.compression.progress import Progress
from safecompress.compression.trainers import Trainers
from safecompress.config import CompressConfig, TrainConfig
from safecompress.data import Splits
from safecompress.events import Listener
from safecompress.run.folder import RunFolder
from safecompress.run.model_file import StoredModel


@dataclass(frozen=True)
class Session:
    """What a run works with. Only `progress` changes during the run.

    Args:
        config: the resolved configuration.
        splits: the data.
        module: the live module, into which trainers load one candidate after the other. Read only
            its structure from it, because its weights may be those of any candidate;
            `Trainer.module_of` returns a candidate as a module of its own.
        initial: the state_dict as given or initialized.
        fresh: returns untrained weights, different ones for each number.
        name: the model's name in the report.
        trained: whether the weights were trained before this run.
        folder: the open run folder.
        listen: called with every event.
        progress: where the run stands.
        trainers: makes the run's trainers.
    """

    config: CompressConfig
    splits: Splits
    module: nn.Module
    initial: Mapping[str, Tensor]
    fresh: Callable[[int], Mapping[str, Tensor]]
    name: str
    trained: bool
    folder: RunFolder
    listen: Listener
    progress: Progress
    trainers: Trainers

    def train_config(self, stage: ConfiguredStage) -> TrainConfig:
        """Return how a stage trains.

        Args:
            stage: the stage.
        """
        return train_config(self.config, stage, trained=self.trained)

    def steps(self, stage: ConfiguredStage) -> int:
        """Return the optimizer steps of a stage.

        Args:
            stage: the stage.
        """
        return training_steps(self.train_config(stage), rows=len(self.splits.members))

    def stored(self, candidate: Candidate) -> StoredModel:
        """Return the contents of a trained candidate's model file.

        Args:
            candidate: the candidate.
        """
        metadata = {
            "model": self.name,
            "classes": self.splits.classes,
            "class_names": list(self.splits.class_names),
            "input_shape": list(self.splits.input_shape),
            "lineage": list(candidate.lineage),
            "coverage": candidate.coverage(),
            "density": candidate.topology.density,
        }
        return StoredModel(candidate.shown(), candidate.topology, metadata, candidate.transforms)
