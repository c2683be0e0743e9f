"""`Trainers`: makes the trainers of a run, one for each job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from safecompress.compression.jobs import (
    ConfiguredStage,
    Job,
    build_defenses,
    stage_of,
    train_config,
    whole_training,
)
from safecompress.compression.progress import Progress
from safecompress.compression.requirements import build_proposals
from safecompress.compression.teacher_outputs import TeacherOutputs
from safecompress.compression.teacher_settings import TeacherSetting
from safecompress.config import CompressConfig, TrainConfig
from safecompress.data import Splits
from safecompress.data.rows import size_of
from safecompress.protocols import Defense, FirstMaskTraining, Rows
from safecompress.randomness import derive
from safecompress.run.model_file import StoredModel
from safecompress.sparse import initialize
from safecompress.topology import Topology
from safecompress.train import Trainer, only_penalties, small_steps

MOST_COPIED = 2**28
"""Most bytes of rows that are copied for trainings side by side."""
TEACHERS = "teachers"
"""Key under which the run's notes store the settings of the teachers' trainers."""


@dataclass(frozen=True)
class Trainers:
    """Makes trainers that share one module; a trainer depends only on the arguments of the call.

    Precision and memory format are chosen when the first trainer of a stage is made, and stored in
    the run's notes; later trainers of the stage, and a resumed run, read them there.

    Args:
        config: the run's configuration.
        splits: the run's rows.
        module: the live module, into which trainers load one candidate after the other.
        trained: whether its weights were given trained.
        progress: stores the settings in its notes.
    """

    config: CompressConfig
    splits: Splits
    module: nn.Module
    trained: bool
    progress: Progress
    _made: dict[Job, Trainer] = field(default_factory=dict, init=False, repr=False, compare=False)

    def plain(self) -> Trainer:
        """Return the trainer of the sparse stage without any defense or soft label.

        It trains the baselines. It also computes the outputs of finished models, because defenses
        act only during training.
        """
        return self._once("baseline", self._train_config("sparse"))

    def dense(self) -> Trainer:
        """Return the trainer of the dense model."""
        return self._once("dense", self._train_config("dense"))

    def pruning(self, dense: StoredModel | None, training: FirstMaskTraining) -> Trainer:
        """Return the trainer of dense weights towards their mask.

        Args:
            dense: the dense model, for defenses that use its outputs; None without one.
            training: how the weights are trained, and the defense that prunes them.
        """
        return self._trainer("pruning", training.config, dense=dense, own=training.defense)

    def student(self, dense: StoredModel | None, *, taught: TeacherOutputs) -> Trainer:
        """Return the trainer of the dense student of the teachers.

        Args:
            dense: the dense model, for defenses that use its outputs; None without one.
            taught: what the teachers say.
        """
        return self._trainer("student", self._train_config("student"), dense=dense, taught=taught)

    def search(self, dense: StoredModel | None, *, taught: TeacherOutputs | None) -> Trainer:
        """Return the trainer of the search's candidates.

        Args:
            dense: the dense model, for defenses that use its outputs; None without one.
            taught: what the teachers say; None if no candidate is trained towards it.
        """
        return self._trainer("search", self._train_config("sparse"), dense=dense, taught=taught)

    def teachers_at_once(self, numbers: Sequence[int], module: nn.Module) -> list[list[int]]:
        """Return which teachers are trained side by side: all if they are small, else none.

        Args:
            numbers: the teachers, from 0.
            module: the live module, or one of the teachers' own.
        """
        train, members = self._teacher_config(), self.splits.members
        weights = [p for p in module.parameters() if p.requires_grad]
        together = small_steps(
            min(train.batch_size, len(members)), sum(p.numel() for p in weights), weights[0].device
        )
        if together and len(numbers) * size_of(members) <= MOST_COPIED:
            return [list(numbers)]
        return [[number] for number in numbers]

    def _teacher_config(self) -> TrainConfig:
        return self.config.teachers.train or whole_training(self.config, trained=self.trained)

    def teacher(
        self, number: int, rows: Rows, *, module: nn.Module, setting: TeacherSetting
    ) -> Trainer:
        """Return the trainer of one teacher.

        Args:
            number: the teacher, from 0.
            rows: the members that it is trained on.
            module: the live module, or one of the teachers' own.
            setting: how the teachers train.
        """
        notes = self.progress.notes
        train = self._teacher_config()
        trainer = Trainer(
            module,
            rows,
            setting.train(train, members=len(self.splits.members), rows=len(rows)),
            seed=derive(self.config.seed, "teacher", number),
            stage="teacher",
            engine=self.config.engine,
            settings=notes.settings.get(TEACHERS),
        )
        self.progress.notes = self.progress.notes.with_settings(TEACHERS, trainer.settings)
        return trainer

    def _train_config(self, stage: ConfiguredStage) -> TrainConfig:
        return train_config(self.config, stage, trained=self.trained)

    def _once(self, job: Job, train: TrainConfig) -> Trainer:
        """Return the trainer of a job without further arguments; it is made at the first call."""
        if job not in self._made:
            self._made[job] = self._trainer(job, train)
        return self._made[job]

    def _trainer(
        self,
        job: Job,
        train: TrainConfig,
        *,
        dense: StoredModel | None = None,
        taught: TeacherOutputs | None = None,
        own: Defense | None = None,
    ) -> Trainer:
        stage = stage_of(job)
        settings = self.progress.notes.settings.get(stage)
        defenses = build_defenses(self.config, self.splits, job, own=own)
        trainer = Trainer(
            self.module,
            self.splits.members,
            self._precise(train, stage, defenses),
            seed=self.config.seed,
            stage=stage,
            engine=self.config.engine,
            defenses=defenses,
            reference=self.splits.reference,
            validation=self.splits.steer.nonmembers,
            dense=self._dense_module(dense, defenses),
            soft_labels=None if taught is None else taught.labels,
            transfer=None if taught is None else taught.transfer,
            track_moving_average=job == "search" and self._averaged(),
            settings=settings,
            typical=self._typical() if stage == "sparse" and settings is None else None,
        )
        self.progress.notes = self.progress.notes.with_settings(stage, trainer.settings)
        return trainer

    def _precise(self, train: TrainConfig, stage: str, defenses: Sequence[Defense]) -> TrainConfig:
        """Return a stage's settings, with `auto` as fp32 where a defense needs gradients in fp32.

        The first trainer of a stage settles the precision of all, so the search's defenses count
        for the baseline's trainer, too.
        """
        others = build_defenses(self.config, self.splits, "search") if stage == "sparse" else []
        if train.precision != "auto" or not any(d.samples_alone for d in (*defenses, *others)):
            return train
        return train.model_copy(update={"precision": "32-true"})

    def _dense_module(self, dense: StoredModel | None, defenses: list[Defense]) -> nn.Module | None:
        """Return the dense model, frozen; None without one, or if no defense uses it."""
        if dense is None or not any(defense.needs_dense for defense in defenses):
            return None
        return self.plain().module_of(dense.candidate()).requires_grad_(False)

    def _averaged(self) -> bool:
        """Return whether a proposal uses moving averages of gradients."""
        return any("moving_average" in p.requires for p in build_proposals(self.config))

    def _typical(self) -> Topology | None:
        """Return a mask with the density of the search, by which to choose the arithmetic.

        None if a defense or a proposal of the search needs dense gradients or weights, also when
        another job of the stage is the first.
        """
        defenses = build_defenses(self.config, self.splits, "search")
        if self._averaged() or not only_penalties(defenses):
            return None
        sparse = self.config.sparse
        return initialize(
            self.module,
            density=sparse.density,
            distribution=sparse.distribution,
            method="scratch",
            seed=self.config.seed,
        )
