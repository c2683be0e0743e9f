"""`Cohort`: many models of one recipe, each trained on its own draw of the same rows.

A model's outputs on a row can then be compared with those of models that trained on the row and of
models that did not. So the others are shadow models for likelihood-ratio attacks on one of them,
and taking each model once as the target gives a mean and a spread. Every model repeats the whole
recipe, dense training included, so it shares no trained weights with any other.

Reference: shadow models, Shokri et al., S&P 2017; many targets from one set of trainings, Carlini
et al., S&P 2022, section VI.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from safecompress.cohorts.patience import Patience
from safecompress.cohorts.plan import CohortPlan
from safecompress.compression.lockstep import Training, in_lockstep
from safecompress.compression.model_source import source_module
from safecompress.compression.pipeline import copy_stages, make_models, take_up
from safecompress.compression.prepare import PreparedRun, prepare
from safecompress.config import CanariesConfig, dump_yaml
from safecompress.data.rows import named_tensors, rows_from_named, size_of
from safecompress.data.tokens import TokenEncoder
from safecompress.errors import BusyRunError, DataError, RunFolderError
from safecompress.events import Listener, silent
from safecompress.files import (
    make_folder,
    read_json,
    read_metadata,
    read_tensors,
    write_json,
    write_tensors,
    write_text,
)
from safecompress.protocols import References
from safecompress.randomness import derive
from safecompress.run.folder import CONFIG, STATE, RunFolder
from safecompress.run.model_file import StoredModel
from safecompress.run.trusted import run_config
from safecompress.train import train_side_by_side
from safecompress.verdict_names import COMPRESSED, DENSE

PLAN, ROWS, REFERENCE = "plan.json", "rows.safetensors", "reference.safetensors"
_LINEAGE = "lineage"

MOST_MEMORY = 2**30
"""Most bytes that models side by side in a process may take, as estimated from their sizes."""
_COPIES = 40
"""A run at its peak holds about as many copies of its model: candidates with their momentum, masks,
and the checkpoint as it is written."""
_BESIDE = 2**25
"""Bytes that a run takes beside its model and rows, by a generous estimate."""
_LEAST_STEPS = 200
"""Steps that a model of a cohort trains at least between two chances of a checkpoint. It is one of
many, so losing a second of it matters less than loading and unloading it every epoch."""


@dataclass(frozen=True)
class Cohort:
    """A cohort in its folder: one file for each trained model, with its logits of every row.

    Args:
        folder: the folder.
        plan: what its models share.
    """

    folder: Path
    plan: CohortPlan

    @classmethod
    def begin(cls, folder: Path, plan: CohortPlan) -> Cohort:
        """Begin a cohort, or continue the one that the folder holds.

        Args:
            folder: the cohort's folder; new, or of a cohort of the same plan.
            plan: what its models share.

        Raises:
            RunFolderError: when the folder holds a cohort of another recipe or other rows.
            StorageError: when the folder cannot be written.
        """
        path = folder / PLAN
        if path.exists():
            recorded = read_json(path)
            if not isinstance(recorded, dict) or recorded.get("key") != plan.key:
                raise RunFolderError(
                    f"{folder}: holds models of another recipe or of other rows; delete it to "
                    "train anew, or choose another folder."
                )
            if recorded.get("shared") != _absolute(plan.shared):
                # The folder has moved since; workers would make the shared one in its old place.
                write_json(path, recorded | {"shared": _absolute(plan.shared)})
            return cls(folder, plan)
        make_folder(folder)
        write_text(folder / CONFIG, dump_yaml(plan.config))
        write_tensors(folder / ROWS, dict(named_tensors(plan.rows)))
        if plan.reference is not None:
            write_tensors(folder / REFERENCE, dict(named_tensors(plan.reference)))
        # The plan is written last, so its presence shows that all other files are complete.
        write_json(path, {"key": plan.key, "shared": _absolute(plan.shared)} | plan.to_json())
        return cls(folder, plan)

    @classmethod
    def open(cls, folder: Path) -> Cohort:
        """Open a cohort that this or another process has begun.

        Args:
            folder: the cohort's folder.

        Raises:
            DataError: when a file is missing or damaged.
        """
        fields = read_json(folder / PLAN)
        key, shared = fields.pop("key"), fields.pop("shared", None)
        rows = rows_from_named(read_tensors(folder / ROWS))
        reference_file = folder / REFERENCE
        reference = (
            rows_from_named(read_tensors(reference_file)) if reference_file.exists() else None
        )
        # The cohort is opened where it was begun or for whoever began it, from a configuration that
        # was trusted then; the key below shows that it is the same.
        config = run_config(folder, trust_code=True)
        fields |= {"class_names": tuple(fields["class_names"])}
        if "tokens" in fields:
            fields["tokens"] = TokenEncoder.model_validate(fields["tokens"])
        fields |= {"reference": reference, "shared": None if shared is None else Path(shared)}
        plan = CohortPlan(config, rows, **fields)
        if plan.key != key:
            raise DataError(f"{folder}: damaged; its plan does not fit its rows or configuration.")
        return cls(folder, plan)

    def file(self, number: int) -> Path:
        """Return the path of a model's logits, which exists once the model is trained.

        Args:
            number: the model, from 0.
        """
        return self.folder / f"{number:04d}.safetensors"

    def missing(self, count: int) -> list[int]:
        """Return the numbers of the first models that are not trained yet.

        Args:
            count: number of models to look for.
        """
        return [number for number in range(count) if not self.file(number).exists()]

    def train(
        self,
        number: int,
        *,
        model: Callable[[], nn.Module] | None = None,
        listen: Listener = silent,
    ) -> None:
        """Train one model, or continue its interrupted training; nothing if it is trained.

        Args:
            number: the model, from 0.
            model: makes the untrained module if the configuration names none.
            listen: called with the events of the training.

        Raises:
            NonFiniteError: when the training diverges.
            StorageError: when the disk is full; the training can go on later.
            BusyRunError: when another process is training this very model.
        """
        self._train(number, train_side_by_side, model=model, listen=listen)

    def train_together(
        self,
        numbers: Sequence[int],
        *,
        model: Callable[[], nn.Module] | None = None,
        listen: Listener = silent,
    ) -> None:
        """Train models as `train` does, and to the same bits, but all of them side by side.

        A model that another process is training is waited for: the lock of a machine that is gone
        may outlive it by the lease of a network file system.

        Args:
            numbers: the models, from 0.
            model: makes the untrained module if the configuration names none.
            listen: called with the events of all trainings.

        Raises:
            NonFiniteError, StorageError: the first that ended the training of a model; the others
                are trained to their end before it is raised.
            BusyRunError: when another process holds a model without a sign of life for longer than
                `Patience` waits.
        """
        train = partial(self._train, model=model, listen=listen)
        left, patience, failed = list(numbers), Patience(self.folder), None
        while left:
            errors = in_lockstep([partial(train, number) for number in left])
            busy = [n for n, e in zip(left, errors, strict=True) if isinstance(e, BusyRunError)]
            others = (e for e in errors if e is not None and not isinstance(e, BusyRunError))
            failed = failed or next(others, None)
            if busy and not patience.wait_for(busy):
                failed = failed or next(e for e in errors if isinstance(e, BusyRunError))
                break
            left = busy
        if failed is not None:
            raise failed

    def at_once(self, model: Callable[[], nn.Module] | None = None) -> int:
        """Return how many models fit into a process side by side, at least 1.

        Args:
            model: makes the untrained module if the configuration names none.
        """
        module, _ = source_module(self.plan.config, model, self.plan.splits(0))
        weights = sum(p.numel() * p.element_size() for p in module.parameters())
        each = _COPIES * weights + 2 * size_of(self.plan.rows) + _BESIDE
        return max(1, MOST_MEMORY // each)

    def _train(
        self,
        number: int,
        training: Training,
        *,
        model: Callable[[], nn.Module] | None,
        listen: Listener,
    ) -> None:
        if self.file(number).exists():
            return
        path = self.folder / f"{number:04d}"
        seed = derive(self.plan.config.seed, "cohort", number)
        # Canaries say something of one run, and their labels are not those of the cohort's rows.
        verdict = self.plan.config.verdict.model_copy(update={"canaries": CanariesConfig()})
        config = self.plan.config.model_copy(update={"seed": seed, "verdict": verdict})
        begun = (path / CONFIG).is_file()
        folder = RunFolder.reopen(path) if begun else RunFolder.create(path, dump_yaml(config))
        threads = torch.get_num_threads()
        try:
            # Another process may have finished the model between the first look and the lock.
            if not self.file(number).exists():
                prepared = prepare(config, model, self.plan.splits(number), compare_groups=False)
                self._fill(number, prepared, folder, listen, training)
        finally:
            folder.release()
            torch.set_num_threads(threads)
        shutil.rmtree(path / STATE if self.plan.keep_models else path, ignore_errors=True)

    def _fill(
        self,
        number: int,
        prepared: PreparedRun,
        folder: RunFolder,
        listen: Listener,
        training: Training,
    ) -> None:
        """Make a model in its run folder and write what it says of every row."""
        shared = self._shared(number)
        if shared is not None:
            copy_stages(shared, folder.path)
        session = take_up(prepared, folder, listen, training, least_steps=_LEAST_STEPS)
        made = make_models(session, prepared)
        if shared is not None:
            copy_stages(folder.path, shared)
        trainer = session.trainers.plain()

        def logits(stored: StoredModel) -> Tensor:
            return trainer.outputs(stored.candidate(), self.plan.rows).logits

        tensors = {COMPRESSED: logits(made.compressed)}
        if made.dense is not None:
            tensors[DENSE] = logits(made.dense)
        lineage = made.compressed.metadata["lineage"]
        write_tensors(self.file(number), tensors, {_LINEAGE: json.dumps(lineage)})

    def _shared(self, number: int) -> Path | None:
        return None if self.plan.shared is None else self.plan.shared / f"{number:04d}"

    def logits(self, number: int, which: str) -> Tensor:
        """Return the logits of one model on every row, float32 (n, classes).

        Args:
            number: the model, from 0; it must be trained.
            which: `compressed`, or `dense` for the dense model that it was compressed from, if the
                recipe has one.

        Raises:
            RunFolderError: when the file is missing, damaged, or of something else.
        """
        path, expected = self.file(number), (len(self.plan.rows), len(self.plan.class_names))
        try:
            stored = read_tensors(path)
        except DataError as error:
            raise RunFolderError(f"{error} Delete it, and the model is trained again.") from error
        logits = stored.get(which)
        if logits is None or tuple(logits.shape) != expected:
            shapes = {name: tuple(t.shape) for name, t in stored.items()}
            raise RunFolderError(
                f"{path}: holds {shapes}; expected logits {expected} for '{which}'. Delete it, "
                "and the model is trained again."
            )
        return logits

    def lineage(self, number: int) -> tuple[str, ...]:
        """Return the proposals that led to one compressed model, one for each round.

        Args:
            number: the model, from 0; it must be trained.

        Raises:
            RunFolderError: when the file is missing or damaged.
        """
        try:
            fields = read_metadata(self.file(number))
        except DataError as error:
            raise RunFolderError(f"{error} Delete it, and the model is trained again.") from error
        return tuple(json.loads(fields.get(_LINEAGE, "[]")))

    def references(self, numbers: Sequence[int], which: str, ids: Tensor) -> References:
        """Return what models of the cohort say of rows, and which models trained on which rows.

        Args:
            numbers: the models, all trained.
            which: `compressed`, or `dense`.
            ids: identifiers of the rows, int64 (m,).

        Raises:
            DataError: when a row is not one of the cohort's.
            RunFolderError: when a model's file is missing, damaged, or of something else.
        """
        place = self.places(ids)
        labels = self.plan.rows.labels[place]
        seen = self.plan.seen(max(numbers) + 1)[list(numbers)][:, place]
        # Files are read one at a time, so that of other rows only one model's logits are in memory.
        said = torch.stack([self.logits(number, which)[place] for number in numbers])
        return References.of(said, labels, seen)

    def places(self, ids: Tensor) -> Tensor:
        """Return the positions of some rows among the cohort's rows, int64 (m,).

        Args:
            ids: identifiers of the rows, int64 (m,).

        Raises:
            DataError: when a row is not one of the cohort's.
        """
        all_ids = self.plan.rows.ids
        order = all_ids.argsort()
        place = order[torch.searchsorted(all_ids[order], ids).clamp(max=len(all_ids) - 1)]
        if strangers := int((all_ids[place] != ids).sum()):
            raise DataError(f"cohort: {strangers} of {len(ids)} rows are not among its rows.")
        return place


def _absolute(folder: Path | None) -> str | None:
    return None if folder is None else str(folder.resolve())
