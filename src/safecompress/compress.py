"""The main job: a test-driven search for a small model that does not leak, and its verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from safecompress.candidate import Candidate
from safecompress.checks import Suite, suite_from
from safecompress.config import CompressConfig, dump_yaml, load_config
from safecompress.data import Splits
from safecompress.errors import (
    DataError,
    InterruptedRunError,
    MemoryShortageError,
    RunFolderError,
    telling_memory_shortage,
)
from safecompress.events import Event, Listener, silent
from safecompress.files import (
    is_full_disk,
    read_json,
    storage_error,
    tensors_digest,
    write_json,
    write_text,
)
from safecompress.judge import judge
from safecompress.modelfile import StoredModel, read_model, write_model
from safecompress.prepare import Prepared, prepare
from safecompress.provenance import provenance
from safecompress.report import junit_xml, write_report
from safecompress.runs import (
    CONFIG,
    DENSE,
    FIGURES,
    JUNIT,
    MODEL,
    PREPROCESSING,
    PROVENANCE,
    VERDICT,
    RunFolder,
)
from safecompress.search import (
    Search,
    needs_teachers,
    start_candidate,
)
from safecompress.stages import Work
from safecompress.teachers import soft_labels, training_steps
from safecompress.timetable import Timetable, fields
from safecompress.topology import Topology
from safecompress.verdict import Verdict

ModelSource: TypeAlias = nn.Module | Callable[[], nn.Module]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        folder: the run folder.
        model: the compressed model, a plain module in evaluation mode.
        verdict: what the final suite adds up to.
    """

    folder: Path
    model: nn.Module
    verdict: Verdict

    def report(self) -> Path:
        """Write the report again from the folder's files; return its path."""
        return write_report(self.folder)


def compress(
    model: ModelSource | None = None,
    data: Splits | None = None,
    *,
    config: CompressConfig | Mapping[str, Any] | str | Path | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    on_event: Listener = silent,
) -> Run:
    """Compress a model under simulated attacks and judge the result.

    Args:
        model: a trained module, which is left as it is; a callable that makes an untrained one;
            or None to use the configuration's `model`.
        data: the splits; or None to use the configuration's `data`. For a trained module its
            membership must be declared.
        config: settings, see `CompressConfig`; not with `resume`.
        out: run folder, new or empty; by default `runs/NAME-seedN`.
        resume: the folder of an interrupted run to go on with. Pass the same `model` and `data`
            objects, if any were passed before.
        on_event: called with every `Event`.

    Returns:
        The finished run.

    Raises:
        UsageError: on anything the caller can fix, before any training.
        StorageError: when the disk is full; the run can be resumed.
        InterruptedRunError: on Ctrl-C; the run can be resumed.
    """
    if resume is None:
        prepared = prepare(load_config({} if config is None else config), model, data)
        folder = RunFolder.create(
            prepared.default_out() if out is None else Path(out), dump_yaml(prepared.config)
        )
        with _held(folder), _threads(prepared.config.engine.threads):
            return _run(prepared, folder, on_event)
    if config is not None or out is not None:
        raise RunFolderError(
            f"resume={resume}: the folder holds its own configuration; give neither config nor out."
        )
    folder = RunFolder.reopen(Path(resume))
    with _held(folder):
        prepared = prepare(load_config(folder.path / CONFIG), model, data)
        with _threads(prepared.config.engine.threads):
            return _run(prepared, folder, on_event)


@contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    """Use that many torch threads (None: as many as before) and put the number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _held(folder: RunFolder) -> Iterator[None]:
    """Release the folder at the end; turn what ends a run early into an error that says so."""
    go_on = f"nothing committed is lost. Go on with: safecompress compress --resume {folder.path}"
    try:
        with telling_memory_shortage():
            yield
    except KeyboardInterrupt as error:
        raise InterruptedRunError(f"interrupted; {go_on}") from error
    except MemoryShortageError as error:
        raise MemoryShortageError(
            f"{error}; {go_on}, with more memory free; or start again with a smaller "
            "train.batch_size."
        ) from error
    except (OSError, DataError) as error:
        # Whatever else reads and writes, such as a logger of training curves, meets the same disk.
        if is_full_disk(error) or not folder.path.is_dir():
            raise storage_error(folder.path / CONFIG, error) from error
        raise
    finally:
        folder.release()


def _run(prepared: Prepared, folder: RunFolder, listen: Listener) -> Run:
    """The whole job as the figure draws it: dense, baselines, search, verdict."""
    work = _take_up(prepared, folder, listen)
    suite = suite_from(work.config, density=prepared.target_density, relative=prepared.has_dense)
    work.plan(_steps_ahead(work, prepared))
    dense = _stage(work, DENSE, lambda: _train_dense(work))
    baselines: dict[str, StoredModel] = {
        name: _stage(work, f"{name}.safetensors", lambda: _train_baseline(work, dense))
        for name in (work.config.baselines if prepared.has_dense else ())
    }
    chosen = _stage(work, MODEL, lambda: _search(work, dense))
    return _judge(work, suite, dense if prepared.has_dense else None, baselines, chosen)


def _search(work: Work, dense: StoredModel) -> Candidate:
    """Train the teachers where a proposal needs them, then search."""
    if needs_teachers(work.config):
        started = time.perf_counter()
        # Once the search has begun, `enter` would throw its pieces away.
        work.soft_labels = soft_labels(work)
        work.spent("teachers", time.perf_counter() - started)
    return Search(work).run(dense)


def _steps_ahead(work: Work, prepared: Prepared) -> int:
    """Return the optimiser steps of the stages whose model is not there yet, for the ETA."""
    config, path = work.config, work.folder.path
    # The search's own trainer waits for the teachers' labels; this one is as long.
    sparse = work.trainer("baseline")
    clock = Timetable.of(
        config.sparse, steps_per_epoch=sparse.steps_per_epoch, total=sparse.total_steps
    )
    steps = {DENSE: work.trainer("dense").total_steps} if prepared.has_dense else {}
    steps |= {f"{name}.safetensors": sparse.total_steps for name in config.baselines}
    steps[MODEL] = clock.training_steps(fields(config))
    if needs_teachers(config):
        train = config.teachers.train or work.whole_training()
        steps[MODEL] += training_steps(len(work.splits.members), config.teachers, train)
    return sum(n for file, n in steps.items() if not (path / file).exists())


def _take_up(prepared: Prepared, folder: RunFolder, listen: Listener) -> Work:
    """Continue from the last checkpoint, or note what this run is made with."""
    work = Work(
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


def _stage(work: Work, file: str, train: Callable[[], Candidate]) -> StoredModel:
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


def _train_dense(work: Work) -> Candidate:
    """Train the dense model, or take the given weights as they are."""
    trainer = work.trainer("dense")
    work.module.load_state_dict(dict(work.initial))
    start = trainer.start(Topology.dense(work.module))
    if trainer.total_steps:
        work.enter("dense", "dense model")
    return work.train_to("dense", start, trainer.total_steps, trainer=trainer)


def _train_baseline(work: Work, dense: StoredModel) -> Candidate:
    """Prune the dense model by magnitude and fine-tune it for as long as the search trains."""
    work.enter("magnitude", "baseline: magnitude pruning, same density and epochs")
    start = start_candidate(work, dense, method="magnitude-global", job="baseline")
    trainer = work.trainer("baseline")
    return work.train_to("magnitude", start, trainer.total_steps, trainer=trainer)


def _judge(
    work: Work,
    suite: Suite,
    dense: StoredModel | None,
    baselines: Mapping[str, StoredModel],
    chosen: StoredModel,
) -> Run:
    work.listen(Event("stage", "verdict on the sealed rows", {"stage": "verdict"}))
    started = time.perf_counter()
    verdict = judge(work, suite, dense=dense, models={**baselines, "compressed": chosen})
    path = work.folder.path
    work.spent("verdict", time.perf_counter() - started)
    made_with = read_json(path / PROVENANCE) | {
        "seconds": work.notes["seconds"],
        "precision": work.trainer("search").settings.to_json(),
    }
    write_json(path / PROVENANCE, made_with)
    write_json(path / FIGURES, verdict.figures)
    # The verdict is written last: a folder that has one is a finished run.
    write_json(path / VERDICT, verdict.document)
    write_text(path / JUNIT, junit_xml(verdict.document, name=path.name))
    write_report(path)
    work.module.load_state_dict(dict(chosen.weights))
    work.module.eval()
    return Run(path, work.module, verdict)
