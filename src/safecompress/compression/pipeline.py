"""How a run makes its models: the dense one, the baselines, and the one the search chooses.

Each ends in a file and is trained once; what interrupts a stage costs at most the time since its
last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from safecompress.candidate import Candidate
from safecompress.compression.prepare import PreparedRun
from safecompress.compression.schedule import Schedule, round_sizes
from safecompress.compression.search import Search
from safecompress.compression.session import Session
from safecompress.compression.start import (
    needs_student,
    needs_teachers,
    start_candidate,
    train_student,
)
from safecompress.compression.teachers import FOLDER as TEACHERS
from safecompress.compression.teachers import taught, training_steps
from safecompress.defenses import PRUNING_METHODS
from safecompress.errors import DataError, RunFolderError
from safecompress.events import Event, Listener
from safecompress.files import copy_file, make_folder, read_json, tensors_digest, write_json
from safecompress.run.folder import DENSE, MODEL, PREPROCESSING, PROVENANCE, STUDENT, RunFolder
from safecompress.run.model_file import StoredModel, read_model, write_model
from safecompress.run.provenance import provenance
from safecompress.topology import Topology


@dataclass(frozen=True)
class TrainedModels:
    """The models of a run.

    Args:
        dense: the dense model; None where compression began from nothing.
        baselines: other ways to the same density, by name.
        compressed: what the search chose.
    """

    dense: StoredModel | None
    baselines: Mapping[str, StoredModel]
    compressed: StoredModel


def make_models(work: Session, prepared: PreparedRun) -> TrainedModels:
    """Train every model of a run that has no file yet, in the order of the figure.

    Raises:
        NonFiniteError: when a training diverges.
        RunFolderError: when a finished stage's file is gone.
        StorageError: when the disk is full; the run can be resumed.
    """
    work.plan(_steps_ahead(work, prepared))
    dense = _stage(work, DENSE, lambda: _train_dense(work))
    work.dense = dense if prepared.has_dense else None
    baselines: dict[str, StoredModel] = {
        name: _stage(work, f"{name}.safetensors", lambda: _train_baseline(work, dense))
        for name in (work.config.baselines if prepared.has_dense else ())
    }
    if needs_student(work.config):
        work.student = _stage(work, STUDENT, lambda: _train_student(work))
    chosen = _stage(work, MODEL, lambda: _search(work, dense))
    return TrainedModels(dense if prepared.has_dense else None, baselines, chosen)


def _search(work: Session, dense: StoredModel) -> Candidate:
    """Train the teachers where a proposal needs them, then search."""
    _hear_teachers(work)
    return Search(work).run(dense)


def _train_student(work: Session) -> Candidate:
    _hear_teachers(work)
    return train_student(work)


def _hear_teachers(work: Session) -> None:
    """Train the teachers where anybody needs them, or read what they said."""
    if work.soft_labels is None and needs_teachers(work.config):
        started = time.perf_counter()
        said = taught(work)
        work.soft_labels, work.references = said.labels, said.references
        work.spent("teachers", time.perf_counter() - started)


def _steps_ahead(work: Session, prepared: PreparedRun) -> int:
    """Return the optimizer steps of the stages whose model is not there yet, for the ETA."""
    config, path = work.config, work.folder.path
    # The search's own trainer waits for the teachers' labels; this one is as long.
    sparse = work.trainer("baseline")
    clock = Schedule.of(
        config.sparse, steps_per_epoch=sparse.steps_per_epoch, total=sparse.total_steps
    )
    steps = {DENSE: work.trainer("dense").total_steps} if prepared.has_dense else {}
    steps |= {f"{name}.safetensors": sparse.total_steps for name in config.baselines}
    steps[MODEL] = clock.training_steps(round_sizes(config))
    if needs_student(config):
        steps[STUDENT] = work.steps("student")
    if config.sparse.initialize in PRUNING_METHODS:
        steps[MODEL] += work.steps("pruning")
    if needs_teachers(config):
        train = config.teachers.train or work.whole_training()
        steps[MODEL] += training_steps(len(work.splits.members), config.teachers, train)
    return sum(n for file, n in steps.items() if not (path / file).exists())


def copy_stages(source: Path, target: Path) -> None:
    """Copy what recipes may have in common, the dense model and what its teachers say.

    Args:
        source: a run folder, or a folder of such files; it need not be there.
        target: the same; what it has already stays.
    """
    teachers = [path.relative_to(source) for path in source.glob(f"{TEACHERS}/*")]
    for file in (Path(DENSE), *teachers):
        if (source / file).exists() and not (target / file).exists():
            make_folder((target / file).parent)
            copy_file(source / file, target / file)


def take_up(prepared: PreparedRun, folder: RunFolder, listen: Listener) -> Session:
    """Continue from the last checkpoint, or note what this run is made with."""
    work = Session(
        config=prepared.config,
        splits=prepared.splits,
        module=prepared.module,
        initial=prepared.initial,
        fresh=prepared.fresh,
        folder=folder,
        listen=listen,
        notes=prepared.notes(),
    )
    made_with = provenance(prepared.config, prepared.splits)
    made_with["model_sha256"] = tensors_digest(prepared.initial)
    if (folder.path / PROVENANCE).exists():
        recorded = _recorded(folder.path / PROVENANCE)
        _refuse_changes(recorded, made_with, folder.path)
        # Sums over another number of threads round differently; the same bits need the same one.
        torch.set_num_threads(recorded["threads"])
    else:
        # In this order: where there is a provenance, a resumed run writes neither again.
        write_json(folder.path / PREPROCESSING, prepared.preprocessing())
        write_json(folder.path / PROVENANCE, made_with)
    if folder.warning:
        listen(Event("note", folder.warning, {"path": str(folder.path)}))
    work.take_up(folder.restore())
    return work


def _recorded(path: Path) -> Mapping[str, Any]:
    try:
        recorded = read_json(path)
    except DataError as error:
        raise RunFolderError(f"{error} Put it back, or start again in a new folder.") from error
    if not isinstance(recorded, dict) or not isinstance(recorded.get("threads"), int):
        raise RunFolderError(f"{path}: damaged; put it back, or start again in a new folder.")
    return recorded


def _refuse_changes(recorded: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Refuse to resume on other data, other starting weights or other settings."""
    for key, what in (
        ("splits", "the data"),
        ("model_sha256", "the model's starting weights"),
        ("config_sha256", "the configuration"),
    ):
        if recorded.get(key) != now[key]:
            raise RunFolderError(
                f"{path}: {what} changed since the run began; put it back, or start again in a "
                "new folder."
            )


def _stage(work: Session, file: str, train: Callable[[], Candidate]) -> StoredModel:
    """Return the stage's model from its file, or train it and write the file."""
    path = work.folder.path / file
    if not path.exists():
        if file in work.notes["saved"]:
            raise RunFolderError(
                f"{path}: missing, though its stage has ended; put it back, or start again in a "
                "new folder."
            )
        started = time.perf_counter()
        candidate = train()
        work.spent(file.removesuffix(".safetensors"), time.perf_counter() - started)
        write_model(path, work.stored(candidate))
        work.notes["saved"] = [*work.notes["saved"], file]
        work.pieces = {}
        work.commit()
        work.listen(Event("saved", f"saved {path}", {"path": str(path)}))
    return read_model(path)


def _train_dense(work: Session) -> Candidate:
    """Train the dense model, or take the given weights as they are."""
    trainer = work.trainer("dense")
    work.module.load_state_dict(dict(work.initial))
    start = trainer.start(Topology.dense(work.module))
    if trainer.total_steps:
        work.enter("dense", "dense model")
    return work.train_to("dense", start, trainer.total_steps, trainer=trainer)


def _train_baseline(work: Session, dense: StoredModel) -> Candidate:
    """Prune the dense model by magnitude and fine-tune it for as long as the search trains."""
    work.enter("magnitude", "baseline: magnitude pruning, same density and epochs")
    start = start_candidate(work, dense, method="magnitude-global", job="baseline")
    trainer = work.trainer("baseline")
    return work.train_to("magnitude", start, trainer.total_steps, trainer=trainer)
