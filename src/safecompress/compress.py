"""`compress`, `Run`: a test-driven search for a small model that does not leak, and its verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from safecompress.cohorts.shadow_models import shadows_of
from safecompress.compression.judgment import judge, open_sealed
from safecompress.compression.pipeline import TrainedModels, make_models, take_up
from safecompress.compression.prepare import PreparedRun, prepare
from safecompress.compression.session import Session
from safecompress.compression.teacher_choice import RECORD, choice_record
from safecompress.compression.teachers import FOLDER as TEACHERS
from safecompress.config import (
    CompressConfig,
    GivenTrackers,
    Preset,
    dump_yaml,
    load_config,
    parse_yaml,
)
from safecompress.data import Splits
from safecompress.display import shown
from safecompress.errors import (
    DataError,
    InterruptedRunError,
    MemoryShortageError,
    RunFolderError,
    telling_memory_shortage,
)
from safecompress.events import Event, Listener, silent
from safecompress.export import ExportResult, export
from safecompress.files import (
    is_full_disk,
    read_json,
    storage_error,
    write_json,
    write_text,
)
from safecompress.models.given import ModelSource
from safecompress.report import junit_xml, verdict_card, write_report
from safecompress.run.folder import (
    CONFIG,
    FIGURES,
    JUNIT,
    PROVENANCE,
    VERDICT,
    RunFolder,
)
from safecompress.run.own_loop import own_loop_of
from safecompress.run.provenance import surroundings
from safecompress.run.trusted import resume_command, run_config
from safecompress.tracking import Job, checked_trackers, code_of, tracking, verdict_results
from safecompress.verdict_names import COMPRESSED
from safecompress.verdicts.verdict import Verdict


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        folder: the run folder.
        model: the compressed model, a plain module in evaluation mode.
        verdict: the result of the final suite.
        splits: the run's rows; opening their sealed rows again is still counted.
    """

    folder: Path
    model: nn.Module
    verdict: Verdict
    splits: Splits

    def __repr__(self) -> str:
        return f"<Run {self.verdict.status} in {self.folder}: {self.verdict.sentence}>"

    def _repr_html_(self) -> str:
        return verdict_card(self.verdict.document.to_json(), kind="Run", folder=self.folder)

    def export(self, path: str | Path, **options: Any) -> ExportResult:
        """Write the model as a file to ship and test it again.

        Args:
            path: the file to write.
            **options: further arguments of `export`.
        """
        return export(self.folder, path, model=self.model, data=self.splits, **options)

    def report(self) -> Path:
        """Write the report again from the folder's files; return its path."""
        return write_report(self.folder)


def compress(
    model: ModelSource | None = None,
    data: Splits | None = None,
    *,
    config: CompressConfig | Mapping[str, Any] | str | Path | None = None,
    preset: Preset | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    trust_code: bool = False,
    trackers: GivenTrackers | None = None,
    progress: bool = True,
    on_event: Listener = silent,
) -> Run:
    """Compress a model under simulated attacks and judge the result.

    Args:
        model: a trained module, which is left as it is; a callable that makes an untrained one;
            or None to use the configuration's `model`.
        data: the splits; or None to use the configuration's `data`. For a trained module its
            membership must be declared.
        config: settings, see `CompressConfig`; not with `resume`.
        preset: what the search is to prefer, instead of the configuration's `preset`; not with
            `resume`.
        out: run folder, new or empty; by default `runs/NAME-seedN`.
        resume: the folder of an interrupted run to continue. Pass the same `model` and `data`
            objects, if any were passed before.
        trust_code: whether code that the folder to resume names as its model or data may be
            imported and called; code that `config` names is yours and always is.
        trackers: experiment trackers to write to as well, by name or as `{name: {option: value}}`:
            `csv`, `tensorboard`, `mlflow`, `wandb`; by default those of the configuration. One that
            fails is named in a note. Not with `resume`.
        progress: whether to show on standard error, or in one line of a notebook, how far it is.
        on_event: called with every `Event`.

    Returns:
        The finished run.

    Raises:
        UsageError: on anything the caller can fix, before any training.
        StorageError: when the disk is full; the run can be resumed.
        InterruptedRunError: on Ctrl-C; the run can be resumed.

    Example:
        A network so small, trained so briefly and on so few rows, that its tests decide nothing:

        >>> from tempfile import TemporaryDirectory
        >>> from sklearn.datasets import make_classification
        >>> from safecompress import compress, splits_from_arrays
        >>> def make_model():
        ...     return nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> splits = splits_from_arrays(*make_classification(300, random_state=0), seed=0)
        >>> brief = {"epochs": 2, "precision": "32-true"}
        >>> sparse = {"density": 0.5, "rounds": 1, "train": brief}
        >>> config = {"dense": brief, "sparse": sparse, "steer": {"proposals": ["rigl"]}}
        >>> with TemporaryDirectory() as folder:
        ...     run = compress(make_model, splits, config=config, out=f"{folder}/run")
        ...     print(run.verdict.status, (run.folder / "report.html").is_file())
        INCONCLUSIVE True
        >>> run.verdict.document.model.density
        0.5
    """
    if resume is None:
        chosen = [] if preset is None else [f"preset={preset}"]
        settings = load_config({} if config is None else config, assignments=chosen)
        given = settings.trackers if trackers is None else trackers
        checked = checked_trackers(given, folder=Path())
        prepared = prepare(settings.model_copy(update={"trackers": checked}), model, data)
        folder = RunFolder.create(
            prepared.default_out() if out is None else Path(out), dump_yaml(prepared.config)
        )
        threads = prepared.config.engine.threads
        with _released(folder), _threads(threads), shown(progress, on_event) as listen:
            return _run(prepared, folder, listen)
    if any(given is not None for given in (config, out, preset, trackers)):
        raise RunFolderError(
            f"resume={resume}: the folder holds its own configuration; give neither config nor out "
            "nor preset nor trackers."
        )
    objects = [what for what, it in (("model", model), ("data", data)) if it is not None]
    folder = RunFolder.reopen(Path(resume))
    with _released(folder):
        if own_loop_of(folder.path) is not None:
            raise RunFolderError(
                f"{resume}: a loop of your own trains its model; go on with that loop, from its "
                "checkpoint, with resume=True."
            )
        kept = run_config(folder.path, trust_code=trust_code, given=objects)
        prepared = prepare(kept, model, data)
        threads = prepared.config.engine.threads
        with _threads(threads), shown(progress, on_event) as listen:
            return _run(prepared, folder, listen)


@contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    """Use a number of torch threads (None: as many as before) and restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _released(folder: RunFolder) -> Iterator[None]:
    """Release the folder at the end; turn interruptions into errors that say how to resume."""
    go_on = f"nothing committed is lost. Go on with: {resume_command(folder.path)}"
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
        # Other code that writes to the disk, such as a logger of training curves, raises plain
        # errors when the disk is full or the folder is gone.
        if is_full_disk(error) or not folder.path.is_dir():
            raise storage_error(folder.path / CONFIG, error) from error
        raise
    finally:
        folder.release()


def _run(prepared: PreparedRun, folder: RunFolder, listen: Listener) -> Run:
    """Make the models (dense model, baselines, search) and judge them."""
    # As written, environment variables stand in the settings by their names.
    settings = parse_yaml(dump_yaml(prepared.config), where=CONFIG)
    path = folder.path
    job = Job("compress", path.resolve().name, settings, path, code_of(surroundings()))
    with tracking(prepared.config.trackers, job, listen) as tracked:
        session = take_up(prepared, folder, tracked)
        run = judge_models(session, prepared, make_models(session, prepared))
        tracked.results(lambda: verdict_results(run.verdict.document.to_json(), path))
    return run


def judge_models(session: Session, prepared: PreparedRun, made: TrainedModels) -> Run:
    """Judge a run's finished models on the sealed rows, and finish its folder.

    Args:
        session: the run.
        prepared: what the run began with.
        made: its models.
    """
    sealed = open_sealed(session, made.compressed)
    shadows = shadows_of(session, prepared, made, sealed.rows)
    session.listen(Event("stage", "verdict on the sealed rows", {"stage": "verdict"}))
    started = time.perf_counter()
    models = {**made.baselines, COMPRESSED: made.compressed}
    suite = prepared.suite()
    verdict = judge(session, suite, sealed, dense=made.dense, models=models, shadows=shadows)
    path, progress = session.folder.path, session.progress
    progress.add_seconds("verdict", time.perf_counter() - started)
    settings = {stage: probed.to_json() for stage, probed in progress.notes.settings.items()}
    made_with = read_json(path / PROVENANCE) | {
        "seconds": progress.notes.seconds,
        "precision": settings["sparse"],
        "dense_precision": settings.get("dense"),
        "stacks": progress.notes.stacks,
    }
    if (chosen := choice_record(path / TEACHERS / RECORD)) is not None:
        made_with["teachers"] = chosen
    write_json(path / PROVENANCE, made_with)
    write_json(path / FIGURES, verdict.figures)
    # The verdict is written last: a folder that has one is a finished run.
    document = verdict.document.to_json()
    write_json(path / VERDICT, document)
    session.folder.finish()
    write_text(path / JUNIT, junit_xml(document, name=path.name))
    write_report(path)
    model = session.trainers.plain().module_of(made.compressed.candidate())
    return Run(path, model, verdict, prepared.splits)
