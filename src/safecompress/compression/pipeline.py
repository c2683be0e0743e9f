"""`make_models`: the stages of a run, which train the dense model, baselines and compressed model.

Each stage ends with a model file and is never repeated. An interrupted stage loses at most the work
since its last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from safecompress.candidate import Candidate
from safecompress.compression.first_masks import Magnitude
from safecompress.compression.jobs import training_steps, whole_training
from safecompress.compression.judges import judges_steps, references_of, train_judges
from safecompress.compression.lockstep import Training
from safecompress.compression.prepare import PreparedRun
from safecompress.compression.progress import Progress
from safecompress.compression.requirements import (
    build_first_mask,
    needs_judges,
    needs_student,
    needs_teachers,
)
from safecompress.compression.schedule import Schedule, round_sizes
from safecompress.compression.search import Search
from safecompress.compression.session import Session
from safecompress.compression.start import start_candidate, train_student
from safecompress.compression.teacher_outputs import TeacherOutputs
from safecompress.compression.teachers import FOLDER as TEACHERS
from safecompress.compression.teachers import teachers_steps, train_teachers
from safecompress.compression.trainers import Trainers
from safecompress.errors import DataError, RunFolderError
from safecompress.events import Event, Listener
from safecompress.files import copy_file, make_folder, read_json, tensors_digest, write_json
from safecompress.protocols import Judges, Pool
from safecompress.run.folder import (
    CANARIES,
    DENSE,
    MODEL,
    PREPROCESSING,
    PROVENANCE,
    STUDENT,
    RunFolder,
)
from safecompress.run.model_file import StoredModel, read_model, write_model
from safecompress.run.provenance import provenance
from safecompress.train import train_side_by_side


@dataclass(frozen=True)
class TrainedModels:
    """The models of a run.

    Args:
        dense: the dense model; None if compression began from untrained weights.
        baselines: models of the same density made in other ways, by name.
        compressed: the model that the search chose.
    """

    dense: StoredModel | None
    baselines: Mapping[str, StoredModel]
    compressed: StoredModel


def make_models(session: Session, prepared: PreparedRun) -> TrainedModels:
    """Train every model of a run that has no file yet: dense model, baselines, student, search.

    Args:
        session: the run.
        prepared: what the run began with.

    Raises:
        NonFiniteError: when a training diverges.
        RunFolderError: when a finished stage's file is gone.
        StorageError: when the disk is full; the run can be resumed.
    """
    config, trainers = session.config, session.trainers
    ahead = _steps_ahead(session, prepared)
    session.progress.plan(ahead, shadows=config.shadows.count)
    begun = _stage(session, DENSE, lambda: _train_dense(session))
    dense = begun if prepared.has_dense else None
    baselines: dict[str, StoredModel] = {
        name: _stage(session, f"{name}.safetensors", lambda: _train_baseline(session, begun))
        for name in (config.baselines if prepared.has_dense else ())
    }

    @cache
    def teachers() -> TeacherOutputs | None:
        """Train the teachers at most once, and only if an unfinished stage needs them."""
        if not needs_teachers(config):
            return None
        started = time.perf_counter()
        outputs = train_teachers(session)
        session.progress.add_seconds("teachers", time.perf_counter() - started)
        return outputs

    def make_student() -> Candidate:
        outputs = teachers()
        if outputs is None:
            raise TypeError("a student has no teachers")
        return train_student(session, trainer=trainers.student(dense, taught=outputs))

    student = _stage(session, STUDENT, make_student) if needs_student(config) else None

    def search() -> Candidate:
        outputs = teachers()
        references = None if outputs is None else outputs.references
        judges = _judges(session)
        if judges is not None:
            references = references_of(judges)
        return Search(
            session,
            trainer=trainers.search(dense, taught=outputs),
            dense=dense,
            student=student,
            references=references,
            judges=judges,
        ).run()

    return TrainedModels(dense, baselines, _stage(session, MODEL, search))


def _judges(session: Session) -> Pool[Judges] | None:
    """Train the judges and return what they say of the steering rows; None without judges."""
    if not needs_judges(session.config):
        return None
    started = time.perf_counter()
    judges = train_judges(session)
    session.progress.add_seconds("judges", time.perf_counter() - started)
    return judges


def _steps_ahead(session: Session, prepared: PreparedRun) -> int:
    """Return the optimizer steps of the stages that have no model file yet, for the ETA.

    It also makes the trainers that depend on no earlier stage, so that hardware that does not fit
    the configuration is found before any training.
    """
    config, path, members = session.config, session.folder.path, len(session.splits.members)
    sparse = session.trainers.plain()
    timetable = Schedule.of(
        config.sparse, steps_per_epoch=sparse.steps_per_epoch, total=sparse.total_steps
    )
    steps = {DENSE: session.trainers.dense().total_steps} if prepared.has_dense else {}
    steps |= {f"{name}.safetensors": sparse.total_steps for name in config.baselines}
    steps[MODEL] = timetable.training_steps(round_sizes(config))
    if needs_student(config):
        steps[STUDENT] = session.steps("student")
    if (training := build_first_mask(config).training(config.sparse)) is not None:
        steps[MODEL] += training_steps(training.config, rows=members)
    if needs_teachers(config):
        train = config.teachers.train or whole_training(config, trained=session.trained)
        steps[MODEL] += teachers_steps(members, config.teachers, train)
    if needs_judges(config):
        train = config.teachers.train or whole_training(config, trained=session.trained)
        steps[MODEL] += judges_steps(members, config.teachers, train)
    return sum(n for file, n in steps.items() if not (path / file).exists())


def copy_stages(source: Path, target: Path) -> None:
    """Copy the dense model and the teachers' outputs, which several recipes may have in common.

    Args:
        source: a run folder, or a folder of such files; it need not exist.
        target: the folder to copy to; files that it already has are kept.
    """
    teachers = [path.relative_to(source) for path in source.glob(f"{TEACHERS}/*")]
    for file in (Path(DENSE), *teachers):
        if (source / file).exists() and not (target / file).exists():
            make_folder((target / file).parent)
            copy_file(source / file, target / file)


def take_up(
    prepared: PreparedRun,
    folder: RunFolder,
    listen: Listener,
    training: Training = train_side_by_side,
    least_steps: int = 1,
) -> Session:
    """Begin a run, or continue it from its last checkpoint.

    Args:
        prepared: the run to begin or continue.
        folder: its open run folder.
        listen: called with every event.
        training: trains the run's candidates, perhaps beside those of other runs.
        least_steps: fewest steps of a candidate between two chances of a checkpoint.

    Raises:
        RunFolderError: when the folder's run has another configuration, other data or other
            starting weights.
    """
    made_with = provenance(prepared.config, prepared.splits)
    made_with["model_sha256"] = tensors_digest(prepared.initial)
    if (folder.path / PROVENANCE).exists():
        recorded = _recorded(folder.path / PROVENANCE)
        _refuse_changes(recorded, made_with, folder.path)
        # Floating-point sums depend on the thread count: reuse the recorded count so that a
        # resumed run is bit-identical.
        torch.set_num_threads(recorded["threads"])
        _note_changes(recorded, made_with, folder.path, listen)
    else:
        if prepared.splits.canaries is not None:
            write_json(folder.path / CANARIES, prepared.splits.canaries.to_json())
        # The provenance is written last, because a resumed run that finds it writes none of these.
        write_json(folder.path / PREPROCESSING, prepared.preprocessing())
        write_json(folder.path / PROVENANCE, made_with)
    if folder.warning:
        listen(Event("note", folder.warning, {"path": str(folder.path)}))
    config, splits, module, trained = (
        prepared.config,
        prepared.splits,
        prepared.module,
        prepared.trained,
    )
    progress = Progress(
        folder,
        listen,
        checkpoint_seconds=config.engine.checkpoint_seconds,
        checkpoint=folder.restore(),
        training=training,
        least_steps=least_steps,
    )
    for remark in prepared.remarks:
        listen(Event("note", remark, {}))
    if not prepared.stacks:
        progress.notes = replace(progress.notes, stacks=False)
    return Session(
        config=config,
        splits=splits,
        module=module,
        initial=prepared.initial,
        fresh=prepared.fresh,
        name=prepared.name,
        trained=trained,
        folder=folder,
        listen=listen,
        progress=progress,
        trainers=Trainers(config, splits, module, trained, progress),
    )


_DECIDE_BITS = (
    *("safecompress", "python", "torch", "numpy", "scipy"),
    *("cpu", "instructions", "backend"),
)
"""Entries of the provenance on which rounding may depend, beside the number of threads."""


def _recorded(path: Path) -> Mapping[str, Any]:
    try:
        recorded = read_json(path)
    except DataError as error:
        raise RunFolderError(f"{error} Put it back, or start again in a new folder.") from error
    if not isinstance(recorded, dict) or not isinstance(recorded.get("threads"), int):
        raise RunFolderError(f"{path}: damaged; put it back, or start again in a new folder.")
    return recorded


def _refuse_changes(recorded: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise RunFolderError if data, starting weights or settings differ from the run's."""
    for key, what in (
        ("splits", "the data"),
        ("model_sha256", "the model's starting weights"),
        ("config_sha256", "the configuration"),
        ("training_code", "the code of a loss or an augmentation"),
    ):
        if recorded.get(key) != now.get(key):
            raise RunFolderError(
                f"{path}: {what} changed since the run began; put it back, or start again in a "
                "new folder."
            )


def _note_changes(
    recorded: Mapping[str, Any], now: Mapping[str, Any], path: Path, listen: Listener
) -> None:
    """Say and record that a run goes on under other versions, or on another kind of processor."""
    resumed = recorded.get("resumed_with", [])
    if not isinstance(resumed, list) or not all(isinstance(entry, dict) for entry in resumed):
        raise RunFolderError(f"{path / PROVENANCE}: damaged; put it back, or start again.")
    earlier = resumed[-1] if resumed else recorded
    changed = [key for key in _DECIDE_BITS if earlier.get(key) != now[key]]
    if not changed:
        return
    said = ", ".join(f"{key} {earlier.get(key)} → {now[key]}" for key in changed)
    text = f"resumed with other versions ({said}): the bits are not those of an uninterrupted run"
    listen(Event("note", text, {"path": str(path)}))
    resumed = [*resumed, {key: now[key] for key in _DECIDE_BITS}]
    write_json(path / PROVENANCE, {**recorded, "resumed_with": resumed})


def _stage(session: Session, file: str, train: Callable[[], Candidate]) -> StoredModel:
    """Return the stage's model from its file, or train it and write the file."""
    path, progress = session.folder.path / file, session.progress
    if not path.exists():
        if file in progress.notes.saved:
            raise RunFolderError(
                f"{path}: missing, though its stage has ended; put it back, or start again in a "
                "new folder."
            )
        started = time.perf_counter()
        candidate = train()
        progress.add_seconds(file.removesuffix(".safetensors"), time.perf_counter() - started)
        write_model(path, session.stored(candidate))
        progress.notes = progress.notes.with_saved(file)
        progress.pieces = {}
        progress.commit()
        session.listen(Event("saved", f"saved {path}", {"path": str(path)}))
    return read_model(path)


def take_in(session: Session, prepared: PreparedRun, candidate: Candidate) -> TrainedModels:
    """Return the models of a run whose training is somebody else's, and write those without a file.

    Args:
        session: the run; its configuration trains neither a dense model nor baselines.
        prepared: what the run began with.
        candidate: the finished model.
    """
    begun = begun_weights(session)
    compressed = _stage(session, MODEL, lambda: candidate)
    return TrainedModels(begun if prepared.has_dense else None, {}, compressed)


def begun_weights(session: Session) -> StoredModel:
    """Return the weights that a run began with, and write their file if there is none yet.

    Args:
        session: a run whose configuration does not train a dense model.
    """
    return _stage(session, DENSE, lambda: _train_dense(session))


def _train_dense(session: Session) -> Candidate:
    """Train the dense model, or take the given weights as they are."""
    trainer = session.trainers.dense()
    start = trainer.start(weights=session.initial)
    if trainer.total_steps:
        session.progress.enter("dense", "dense model")
    return session.progress.train_to("dense", start, trainer.total_steps, trainer=trainer)


def _train_baseline(session: Session, dense: StoredModel) -> Candidate:
    """Prune the dense model by magnitude and fine-tune it for as long as the search trains."""
    text = "baseline: magnitude pruning, same density and epochs"
    session.progress.enter("magnitude", text)
    trainer = session.trainers.plain()
    start = start_candidate(
        session, Magnitude("global"), trainer=trainer, dense=dense, student=None
    )
    return session.progress.train_to("magnitude", start, trainer.total_steps, trainer=trainer)
