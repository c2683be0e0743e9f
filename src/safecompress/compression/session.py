"""`Session`: what a run is made with, fixed for its whole length."""

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
    """What a run is made with. Nothing in it changes but where the run stands, `progress`.

    Args:
        config: the resolved configuration.
        splits: the data.
        module: the one live module, which trainers move candidates through; it says which
            parameters there are, and never which candidate. `Trainer.module_of` gives a candidate
            as a module.
        initial: the weights as given or initialized.
        fresh: gives weights that no data has touched, others for each number.
        name: what the report calls the model.
        trained: whether the weights were trained before this run.
        folder: the open run folder.
        listen: hears what happens.
        progress: where the run stands.
        trainers: make what trains and computes.
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
        """Return how a stage trains."""
        return train_config(self.config, stage, trained=self.trained)

    def steps(self, stage: ConfiguredStage) -> int:
        """Return the optimizer steps of a stage."""
        return training_steps(self.train_config(stage), rows=len(self.splits.members))

    def stored(self, candidate: Candidate) -> StoredModel:
        """Return a trained candidate as what its model file holds."""
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
