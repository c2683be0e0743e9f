"""One run at work: its trainers, its folder, and training that survives interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from safecompress.candidate import Candidate
from safecompress.config import CompressConfig, Request, TrainConfig
from safecompress.data import Splits
from safecompress.defenses import DEFENSES, pruner
from safecompress.errors import ConfigError, MemoryShortageError, telling_memory_shortage
from safecompress.events import Event, Listener
from safecompress.models import channel_groups, few_inputs
from safecompress.proposals import PROPOSALS, UNPAIRING
from safecompress.protocols import Defense, Pool, References
from safecompress.run.checkpoints import Checkpoint
from safecompress.run.folder import RunFolder
from safecompress.run.model_file import StoredModel
from safecompress.sparse import initialize
from safecompress.topology import Topology
from safecompress.train import (
    ProbedSettings,
    Trainer,
    only_penalties,
    require_together,
    steps_per_epoch,
)
from safecompress.transforms import PLAIN, ChannelGroup, attach_

# A checkpoint may cost at most this share of the time since the one before it.
_CHECKPOINT_SHARE = 0.05


Job: TypeAlias = Literal["dense", "student", "pruning", "baseline", "search"]
Stage: TypeAlias = Literal["dense", "student", "pruning", "sparse"]


def build_defenses(config: CompressConfig, splits: Splits, job: Job) -> list[Defense]:
    """Build the configured defenses of a job anew; a baseline has none.

    Raises:
        ConfigError: on an unknown one, one that needs reference rows where the split has none, or
            some that do not go together.
    """
    requests: tuple[Request, ...] = ()
    where = "dense.defenses" if job == "dense" else "steer.defenses"
    if job == "dense" and config.dense is not None:
        requests = config.dense.defenses
    elif job in {"student", "pruning", "search"}:
        requests = config.steer.defenses
    built = [DEFENSES.build(request, where=f"{where}[{i}]") for i, request in enumerate(requests)]
    if (
        job == "search"
        and UNPAIRING not in {defense.name for defense in built}
        and _proposed(config)
    ):
        # Candidates of other proposals carry it, too, and it adds nothing to their loss.
        built.append(DEFENSES.build({UNPAIRING: {"weight": 0.0}}, where="steer.proposals"))
    for defense in built:
        if defense.needs_reference and splits.reference is None:
            raise ConfigError(
                f"{where}: '{defense.name}' needs rows that are neither members nor "
                "judged; set data.split.reference, e.g. 0.2."
            )
    if job == "pruning":
        built.append(pruner(config.sparse))
    require_together(built)
    return built


def _proposed(config: CompressConfig) -> bool:
    """Return whether a proposal unpairs its candidate from the dense model."""
    return any(
        UNPAIRING in PROPOSALS.build(request, where=f"steer.proposals[{i}]").requires
        for i, request in enumerate(config.steer.proposals)
    )


@dataclass
class Session:
    """What a run has in hand; everything in `pieces` and `notes` survives a kill.

    Args:
        config: the resolved configuration.
        splits: the data.
        module: the one live module; trainers move candidates through it.
        initial: the module's weights as given or initialized.
        fresh: gives weights that no data has touched, others for each number.
        folder: the open run folder.
        listen: told what happens.
        soft_labels: what teachers say of the members, once they are trained.
        references: what they say of the steering rows, each of rows that it never saw.
        dense: the dense model, once it is finished.
        student: the dense student of the teachers, once it is finished.
    """

    config: CompressConfig
    splits: Splits
    module: nn.Module
    initial: Mapping[str, Tensor]
    fresh: Callable[[int], Mapping[str, Tensor]]
    folder: RunFolder
    listen: Listener
    stage: str = ""
    round: int = 0
    pieces: dict[str, Candidate] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    soft_labels: Tensor | None = None
    references: Pool[References] | None = None
    dense: StoredModel | None = None
    student: StoredModel | None = None
    _trainers: dict[Job, Trainer] = field(default_factory=dict)
    _groups: tuple[ChannelGroup, ...] | None = None
    _last_commit: float = field(default_factory=time.monotonic)
    _commit_cost: float = 0.0
    _steps_left: int = 0

    def take_up(self, checkpoint: Checkpoint | None) -> None:
        """Continue from a checkpoint, or from the beginning."""
        if checkpoint is not None:
            self.stage, self.round = checkpoint.stage, checkpoint.round
            self.pieces, self.notes = dict(checkpoint.work), dict(checkpoint.notes)

    def enter(self, stage: str, text: str, **data: Any) -> None:
        """Begin a stage, or continue it when the checkpoint was taken inside it.

        Args:
            stage: its name.
            text: what a person is told.
            data: what else a program is told.
        """
        if self.stage != stage:
            self.stage, self.round, self.pieces = stage, 0, {}
        self.listen(Event("stage", text, {"stage": stage} | data))

    def trainer(self, job: Job) -> Trainer:
        """Return the trainer of a job, made when it is first asked for.

        The baseline and the search train in the same stage: they share its length, its data
        order and its probed settings, so they differ only in what is being compared. A baseline
        has no defenses.
        """
        if job not in self._trainers:
            stage: Stage = job if job in {"dense", "student", "pruning"} else "sparse"
            settings = self.notes.get(f"settings/{stage}")
            defenses = build_defenses(self.config, self.splits, job)
            made = Trainer(
                self.module,
                self.splits.members,
                self.train_config(stage),
                seed=self.config.seed,
                stage=stage,
                engine=self.config.engine,
                defenses=defenses,
                reference=self.splits.reference,
                validation=self.splits.steer.nonmembers,
                dense=self.dense_module() if any(d.needs_dense for d in defenses) else None,
                soft_labels=self.soft_labels if job in {"student", "search"} else None,
                track_moving_average=job == "search" and self.notes["moving_average"],
                settings=None if settings is None else ProbedSettings.from_json(settings),
                typical=self._typical() if stage == "sparse" and settings is None else None,
                log_dir=self.folder.path / "logs" / job,
            )
            self.notes[f"settings/{stage}"] = made.settings.to_json()
            self._trainers[job] = made
        return self._trainers[job]

    def _typical(self) -> Topology | None:
        """Return a mask as dense as the search's, whose training takes as long as theirs.

        None where the search looks at whole weights, whichever job of the stage is timed.
        """
        defenses = build_defenses(self.config, self.splits, "search")
        if self.notes["moving_average"] or not only_penalties(defenses):
            return None
        sparse = self.config.sparse
        return initialize(
            self.module,
            density=sparse.density,
            distribution=sparse.distribution,
            method="scratch",
            seed=self.config.seed,
        )

    def dense_module(self) -> nn.Module | None:
        """Return a frozen copy of the trained dense model, or None before there is one."""
        if self.dense is None:
            return None
        made = deepcopy(self.module)
        # A candidate that was there last may have left its rounding.
        attach_(made, PLAIN)
        made.load_state_dict(dict(self.dense.weights))
        return made.requires_grad_(False).eval()

    def channels(self) -> tuple[ChannelGroup, ...]:
        """Return which channels of the model belong together, found out once."""
        if self._groups is None:
            self._groups = channel_groups(self.module, few_inputs(self.module, self.splits.members))
        return self._groups

    def train_config(self, stage: Stage) -> TrainConfig:
        """Return the training configuration of a stage; the dense one follows the sparse one."""
        if stage == "sparse":
            return self.config.sparse.train
        if stage == "pruning":
            sparse = self.config.sparse
            section = sparse.admm if sparse.initialize.startswith("admm") else sparse.gradual
            return section.train or sparse.train
        if stage == "student":
            return self.config.sparse.student.train or self.config.sparse.train
        if self.config.dense is not None:
            return self.config.dense
        epochs = 0 if self.notes["trained"] else self.config.sparse.train.epochs
        return self.config.sparse.train.model_copy(update={"epochs": epochs})

    def steps(self, stage: Stage) -> int:
        """Return the optimizer steps of a stage."""
        train = self.train_config(stage)
        return round(train.epochs * steps_per_epoch(len(self.splits.members), train))

    def whole_training(self) -> TrainConfig:
        """Return how this model is trained from nothing, also where the dense stage is skipped."""
        dense = self.train_config("dense")
        return dense if dense.epochs else self.config.sparse.train

    def train_to(self, key: str, candidate: Candidate, step: int, *, trainer: Trainer) -> Candidate:
        """Train a candidate to `step`, continuing where an interrupted run left this piece.

        Args:
            key: names this piece of work within the stage and round.
            candidate: where it starts.
            step: the stage's step to reach.
            trainer: trains it.

        Raises:
            NonFiniteError: when its loss or weights stop being finite.
        """
        current = self.pieces.get(key, candidate)
        while current.step < step:
            started, before = time.monotonic(), current.step
            current = trainer.train(current, min(trainer.steps_per_epoch, step - current.step))
            self.pieces[key] = current
            rate = (current.step - before) / max(time.monotonic() - started, 1e-9)
            self._steps_left = max(self._steps_left - (current.step - before), 0)
            self._report_progress(key, current.step, step, rate)
            self._commit_if_due()
        self.pieces[key] = current
        return current

    def train_stack(
        self, candidates: Mapping[str, Candidate], step: int, *, trainer: Trainer
    ) -> None:
        """Train pieces of work to `step` as one stack, as far as that is possible and faster.

        What it leaves to do, `train_to` does: it goes on from the same pieces, and one that became
        NaN raises there as it would have alone.

        Args:
            candidates: where they start, by what names their pieces.
            step: the stage's step to reach.
            trainer: trains them.
        """
        current = {key: self.pieces.get(key, c) for key, c in candidates.items()}
        while current:
            first = max(c.step for c in current.values())
            current = {key: c for key, c in current.items() if c.step == first}
            if first >= step or not trainer.trains_together(list(current.values())):
                return
            steps, started = min(trainer.steps_per_epoch, step - first), time.monotonic()
            try:
                with telling_memory_shortage():
                    trained = trainer.train_together(list(current.values()), steps)
            except MemoryShortageError:
                return
            current = {
                key: c for key, c in zip(current, trained, strict=True) if isinstance(c, Candidate)
            }
            self.pieces |= current
            done = len(current) * steps
            self._steps_left = max(self._steps_left - done, 0)
            rate = done / max(time.monotonic() - started, 1e-9)
            self._report_progress(f"{len(current)} candidates", first + steps, step, rate)
            self._commit_if_due()

    def stored(self, candidate: Candidate) -> StoredModel:
        """Return a trained candidate as what its model file holds."""
        metadata = {
            "model": self.notes["model"],
            "classes": self.splits.classes,
            "class_names": list(self.splits.class_names),
            "input_shape": list(self.splits.input_shape),
            "lineage": list(candidate.lineage),
            "coverage": candidate.coverage(),
            "density": candidate.topology.density,
        }
        return StoredModel(candidate.shown(), candidate.topology, metadata, candidate.transforms)

    def spent(self, what: str, seconds: float) -> None:
        """Add to the time a part of the run took, resumed parts included."""
        self.notes["seconds"][what] = self.notes["seconds"].get(what, 0.0) + seconds

    def plan(self, steps: int) -> None:
        """State how many training steps the whole run still has before it, for the ETA."""
        self._steps_left = steps

    def commit(self, *, lines: Sequence[Mapping[str, Any]] = ()) -> None:
        """Make everything in hand survive a kill."""
        started = time.monotonic()
        self.folder.commit(Checkpoint(self.stage, self.round, self.pieces, self.notes), lines=lines)
        self._last_commit = time.monotonic()
        self._commit_cost = self._last_commit - started

    def _commit_if_due(self) -> None:
        wait = max(self.config.engine.checkpoint_seconds, self._commit_cost / _CHECKPOINT_SHARE)
        if time.monotonic() - self._last_commit >= wait:
            self.commit()

    def _report_progress(self, key: str, done: int, total: int, rate: float) -> None:
        seconds = self._steps_left / rate
        self.listen(
            Event(
                "progress",
                f"{self.stage} {key}: step {done}/{total}, {rate:.0f} steps/s",
                {
                    "stage": self.stage,
                    "piece": key,
                    "done": done,
                    "total": total,
                    "rate": rate,
                    "eta": seconds,
                },
            )
        )
