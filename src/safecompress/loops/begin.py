"""`begin`, `Begun`: a run whose training is a loop of the user's own, checked before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from safecompress.candidate import Candidate
from safecompress.compression.pipeline import begun_weights, take_up
from safecompress.compression.prepare import PreparedRun, prepare
from safecompress.compression.requirements import build_first_mask
from safecompress.compression.session import Session
from safecompress.compression.start import start_candidate
from safecompress.config import CompressConfig, dump_yaml
from safecompress.data import Splits
from safecompress.errors import ConfigError, ModelError, RunFolderError
from safecompress.events import Listener
from safecompress.loops.settings import gradual_of, loop_config
from safecompress.loops.updates import MaskUpdates
from safecompress.models.plain import copied
from safecompress.models.tokens import TokenClassifier, is_text_classifier
from safecompress.randomness import seeded
from safecompress.run.folder import DENSE, RunFolder
from safecompress.run.model_file import StoredModel, read_model
from safecompress.run.own_loop import OwnLoop, own_loop_of
from safecompress.topology import Topology, embedding_tables
from safecompress.train.state import load_module_, module_tensors


@dataclass(frozen=True)
class Begun:
    """A run that a loop of the user's own can now train.

    Args:
        session: the run.
        prepared: what it began with.
        live: the user's module, or a view of it that takes the rows of the run.
        begun: the weights that the run began with.
        start: the first candidate.
        updates: when the masks change.
    """

    session: Session
    prepared: PreparedRun
    live: nn.Module
    begun: StoredModel
    start: Candidate
    updates: MaskUpdates

    @property
    def dense(self) -> StoredModel | None:
        """The dense model to compare with; None where the loop began with untrained weights."""
        return self.begun if self.prepared.has_dense else None


def begin(
    model: nn.Module,
    splits: Splits,
    *,
    config: CompressConfig | Mapping[str, Any] | str | Path,
    record: OwnLoop,
    out: str | Path | None,
    resume: bool,
    listen: Listener,
) -> Begun:
    """Check everything, open the run folder, and make the first mask; the model stays as it is.

    Args:
        model: the module that the loop trains.
        splits: the rows.
        config: the settings of the run.
        record: what is known of the loop before it starts.
        out: the run folder; None takes the default.
        resume: whether the folder is that of an interrupted loop.
        listen: called with every event.

    Raises:
        UsageError: on anything that cannot work, before any training.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise ConfigError(
            "your loop runs in several processes, of which each would keep masks of its own; train "
            "in one process."
        )
    trained = splits.report.weights_given
    settings = loop_config(config, trained=trained)
    path = Path(out) if out is not None else settings.out
    source = copied(model)
    if resume:
        path = path or Path("runs") / f"{type(model).__name__}-seed{settings.seed}"
        _restore_start_(source, path, record)
    with seeded(settings.seed, "own loop"):
        prepared = _prepared(source, splits, settings, trained=trained)
    text = dump_yaml(prepared.config)
    path = path or prepared.default_out()
    folder = RunFolder.reopen(path) if resume else RunFolder.create(path, text)
    try:
        if not resume:
            record.write(folder.path)
        with seeded(settings.seed, "own loop"):
            session = take_up(prepared, folder, listen)
            live = _view(model, prepared)
            begun = begun_weights(session)
            updates = MaskUpdates(
                settings,
                steps=record.steps,
                tables=embedding_tables(prepared.module),
                listen=listen,
            )
            made = Begun(session, prepared, live, begun, _EMPTY, updates)
            return replace(made, start=_start(made))
    except BaseException:
        folder.release()
        raise


_EMPTY = Candidate({}, {}, Topology({}), {})


def _start(made: Begun) -> Candidate:
    session, trainer = made.session, made.session.trainers.plain()
    if made.updates.dense_at_first:
        return trainer.start(weights=session.initial)
    mask = build_first_mask(session.config)
    return start_candidate(session, mask, trainer=trainer, dense=made.dense, student=None)


def _prepared(
    source: nn.Module, splits: Splits, settings: CompressConfig, *, trained: bool
) -> PreparedRun:
    """Prepare the run; gradual pruning of a loop does not ask for a trained dense model."""
    checked = settings
    if gradual_of(settings) is not None and not trained:
        scratch = settings.sparse.model_copy(update={"initialize": "scratch"})
        checked = settings.model_copy(update={"sparse": scratch})
    prepared = prepare(checked, source if trained else lambda: copied(source), splits)
    return replace(prepared, config=settings)


def _view(model: nn.Module, prepared: PreparedRun) -> nn.Module:
    """Return the user's module under the names of the run's copy of it.

    Raises:
        ModelError: when the run's copy has other parameters, because the module is wrapped.
    """
    view = model
    if isinstance(prepared.module, TokenClassifier) and is_text_classifier(model):
        kept: TokenClassifier = prepared.module
        separator = int(kept.separator)
        view = TokenClassifier(
            model, pad=int(kept.pad), separator=None if separator < 0 else separator
        )
    own, run = module_tensors(view), module_tensors(prepared.module)
    differing = sorted(
        {n for n in {*own, *run} if n not in own or n not in run or own[n].shape != run[n].shape}
    )
    if differing:
        raise ModelError(
            f"model: the run stores other tensors than the module has ('{differing[0]}'), because "
            "it is wrapped, compiled or computes weights from others. Pass the plain module "
            "inside, and wrap it afterwards."
        )
    return view


def _restore_start_(source: nn.Module, path: Path, record: OwnLoop) -> None:
    """Give a copy of the module the weights that the interrupted run began with.

    Raises:
        RunFolderError: when there is no such run, or its loop was another.
    """
    known = own_loop_of(path)
    if known is None or not (path / DENSE).is_file():
        raise RunFolderError(
            f"{path}: no loop of your own was interrupted there; leave out resume, or name its "
            "folder (out)."
        )
    for what, before, now in (
        ("trained by", known.by, record.by),
        ("steps", known.steps, record.steps),
        ("augmented", known.augmented, record.augmented),
    ):
        if before != now:
            raise RunFolderError(
                f"{path}: its loop was begun with {what} {before}, and is resumed with {now}; "
                "resume it as it was begun, or start again in a new folder."
            )
    stored = read_model(path / DENSE).weights
    if any(name.startswith("model.") for name in stored) and is_text_classifier(source):
        inside = {n.removeprefix("model."): t for n, t in stored.items()}
        load_module_(source, inside)
        return
    load_module_(source, stored)
