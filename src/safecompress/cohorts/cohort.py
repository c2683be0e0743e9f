"""A cohort: one recipe, many models, each trained on its own draw of the same rows.

What a model says of a row can then be compared with what its siblings say that saw the row and
that did not: shadow models for the likelihood-ratio attacks, and, each model once the target,
repetitions for a mean and a spread. A model of a cohort repeats the whole recipe, dense training
included, so it starts from nothing that any other has seen.

Reference: shadow models, Shokri et al., S&P 2017; many targets from one set of trainings, Carlini
et al., S&P 2022, section VI.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.compression.pipeline import copy_stages, make_models, take_up
from safecompress.compression.prepare import prepare
from safecompress.config import CompressConfig, dump_yaml, load_config
from safecompress.data import Ledger, Splits, content_of_inputs
from safecompress.data.rows import concatenate, named_tensors, rows_digest, rows_from_named
from safecompress.errors import DataError, RunFolderError
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
from safecompress.protocols import Inputs, References, Rows
from safecompress.randomness import derive, permutation
from safecompress.run.folder import CONFIG, STATE, RunFolder
from safecompress.run.model_file import StoredModel
from safecompress.verdict_names import COMPRESSED, DENSE

PLAN, ROWS, REFERENCE = "plan.json", "rows.safetensors", "reference.safetensors"
_LINEAGE = "lineage"


def deal(inputs: Inputs, *, members: int, count: int, seed: int) -> Tensor:
    """Draw the members of each model of a cohort.

    Every model takes the rows that the models before it have trained on least, ties drawn at
    random, so that every row is seen and left out about equally often. A larger cohort begins with
    the smaller one.

    Args:
        inputs: of all rows; equal ones are members together or not at all.
        members: rows that each model trains on; a few more or fewer where inputs repeat.
        count: number of models.
        seed: of the draw.

    Returns:
        Bool (count, n): which row is a member of which model; how often two distinct rows are
        members differs by one at most.

    Raises:
        DataError: when there are not more distinct rows than members.
    """
    return _dealt(_content(inputs), members=members, count=count, seed=seed)


def _content(inputs: Inputs) -> Tensor:
    """Return a number for each row, the same where inputs are equal, int64 (n,)."""
    return torch.from_numpy(content_of_inputs([inputs])[0])


def _dealt(content: Tensor, *, members: int, count: int, seed: int) -> Tensor:
    distinct, owner = torch.unique(content, return_inverse=True)
    wanted = round(members * len(distinct) / len(content))
    if not 0 < wanted < len(distinct):
        raise DataError(
            f"cohort: {members} members of {len(content)} rows, {len(distinct)} of them distinct; "
            "expected at least one member, and rows left that are not."
        )
    taken = torch.zeros(len(distinct), dtype=torch.int64)
    seen = torch.zeros(count, len(distinct), dtype=torch.bool)
    for number in range(count):
        order = permutation(len(distinct), seed, "cohort", number)
        seen[number, order[taken[order].argsort(stable=True)[:wanted]]] = True
        taken += seen[number]
    return seen[:, owner]


def every_row(splits: Splits) -> Rows:
    """Return all rows of splits to draw a cohort from, those set aside for defenses left out.

    None is sealed here: each is a member of some of the models and not of the others.
    """
    opened, _ = splits.open_sealed(Ledger(None), model_digest="cohort")
    return concatenate(splits.members, splits.steer.nonmembers, opened.nonmembers)


@dataclass(frozen=True)
class CohortPlan:
    """What all models of a cohort share.

    Args:
        config: their recipe; its seed is the cohort's.
        rows: the rows they are drawn from.
        class_names: one name per class.
        members: rows that each of them trains on.
        steer: share of its other rows that steer its search, in (0, 1).
        reference: rows set aside for defenses, the same for every model and none of `rows`: a
            defense may train on them, so they are of no use to judge anybody by; None without any.
        keep_models: whether the models stay beside what they say, for attacks that ask more of
            them; in `NUMBER/dense.safetensors` and `NUMBER/model.safetensors`.
        shared: folder where cohorts that differ only in what follows the dense model and the
            teachers find and leave these, `NUMBER/…`; None shares nothing.
    """

    config: CompressConfig
    rows: Rows
    class_names: tuple[str, ...]
    members: int
    steer: float = 0.5
    reference: Rows | None = None
    keep_models: bool = False
    shared: Path | None = None

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that a model of the cohort depends on, but for its number."""
        rows = rows_digest(self.rows, *([] if self.reference is None else [self.reference]))
        parts = [dump_yaml(self.config), rows, json.dumps(self.to_json())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return what is neither configuration nor rows."""
        return {
            "class_names": list(self.class_names),
            "members": self.members,
            "steer": self.steer,
            "keep_models": self.keep_models,
        }

    def splits(self, number: int) -> Splits:
        """Return the rows of one model: its members, and the rest to steer by."""
        seen = self.seen(number + 1)[number]
        splits = Splits.from_rows(
            self.rows.take(torch.nonzero(seen).squeeze(1)),
            self.rows.take(torch.nonzero(~seen).squeeze(1)),
            classes=len(self.class_names),
            class_names=self.class_names,
            seed=derive(self.config.seed, "cohort", number),
            steer=self.steer,
            deduplicate=True,
        )
        return splits if self.reference is None else replace(splits, reference=self.reference)

    def seen(self, count: int) -> Tensor:
        """Return which rows the first `count` models train on, bool (count, n)."""
        content, seed = self._rows_by_content, self.config.seed
        return _dealt(content, members=self.members, count=count, seed=seed)

    @cached_property
    def _rows_by_content(self) -> Tensor:
        # Every row is hashed for it; once is enough for all models and all that is asked of them.
        return _content(self.rows.inputs)


@dataclass(frozen=True)
class Cohort:
    """A cohort in its folder: one file for each trained model, with what it says of every row.

    Args:
        folder: the folder.
        plan: what its models share.
    """

    folder: Path
    plan: CohortPlan

    @classmethod
    def begin(cls, folder: Path, plan: CohortPlan) -> Cohort:
        """Begin a cohort, or go on with the one that is there.

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
            return cls(folder, plan)
        make_folder(folder)
        write_text(folder / CONFIG, dump_yaml(plan.config))
        write_tensors(folder / ROWS, dict(named_tensors(plan.rows)))
        if plan.reference is not None:
            write_tensors(folder / REFERENCE, dict(named_tensors(plan.reference)))
        # Written last: where there is a plan, the rest is whole.
        shared = None if plan.shared is None else str(plan.shared.resolve())
        write_json(path, {"key": plan.key, "shared": shared} | plan.to_json())
        return cls(folder, plan)

    @classmethod
    def open(cls, folder: Path) -> Cohort:
        """Open a cohort that was begun, in whatever process.

        Raises:
            DataError: when a file is missing or damaged.
        """
        stated = read_json(folder / PLAN)
        key, shared = stated.pop("key"), stated.pop("shared", None)
        rows = rows_from_named(read_tensors(folder / ROWS))
        aside = folder / REFERENCE
        reference = rows_from_named(read_tensors(aside)) if aside.exists() else None
        config = load_config(folder / CONFIG)
        stated |= {"class_names": tuple(stated["class_names"])}
        stated |= {"reference": reference, "shared": None if shared is None else Path(shared)}
        plan = CohortPlan(config, rows, **stated)
        if plan.key != key:
            raise DataError(f"{folder}: damaged; its plan does not fit its rows or configuration.")
        return cls(folder, plan)

    def file(self, number: int) -> Path:
        """Return where the model's outputs are, or will be."""
        return self.folder / f"{number:04d}.safetensors"

    def missing(self, count: int) -> list[int]:
        """Return which of the first `count` models are not trained."""
        return [number for number in range(count) if not self.file(number).exists()]

    def train(
        self,
        number: int,
        *,
        model: Callable[[], nn.Module] | None = None,
        listen: Listener = silent,
    ) -> None:
        """Train one model, or go on where an interrupted training left it.

        Args:
            number: which.
            model: makes the untrained module where the configuration names none.
            listen: told what happens.

        Raises:
            NonFiniteError: when the training diverges.
            StorageError: when the disk is full; the training can go on later.
            RunFolderError: when another process is training this very model.
        """
        if self.file(number).exists():
            return
        path = self.folder / f"{number:04d}"
        seed = derive(self.plan.config.seed, "cohort", number)
        config = self.plan.config.model_copy(update={"seed": seed})
        begun = (path / CONFIG).is_file()
        folder = RunFolder.reopen(path) if begun else RunFolder.create(path, dump_yaml(config))
        threads = torch.get_num_threads()
        try:
            prepared = prepare(config, model, self.plan.splits(number), compare_groups=False)
            shared = self._shared(number)
            if shared is not None:
                copy_stages(shared, path)
            session = take_up(prepared, folder, listen)
            made = make_models(session, prepared)
            if shared is not None:
                copy_stages(path, shared)
            trainer = session.trainers.plain()

            def logits(stored: StoredModel) -> Tensor:
                return trainer.outputs(stored.candidate(), self.plan.rows).logits

            tensors = {COMPRESSED: logits(made.compressed)}
            if made.dense is not None:
                tensors[DENSE] = logits(made.dense)
            lineage = made.compressed.metadata["lineage"]
            write_tensors(self.file(number), tensors, {_LINEAGE: json.dumps(lineage)})
        finally:
            folder.release()
            torch.set_num_threads(threads)
        shutil.rmtree(path / STATE if self.plan.keep_models else path, ignore_errors=True)

    def _shared(self, number: int) -> Path | None:
        return None if self.plan.shared is None else self.plan.shared / f"{number:04d}"

    def logits(self, number: int, which: str) -> Tensor:
        """Return what one model says of every row, float32 (n, classes).

        Args:
            number: which model; it must be trained.
            which: `compressed`, or `dense` for what it was compressed from, where the recipe has
                a dense model.

        Raises:
            RunFolderError: when the file is missing, damaged, or of something else.
        """
        path, expected = self.file(number), (len(self.plan.rows), len(self.plan.class_names))
        try:
            stored = read_tensors(path)
        except DataError as error:
            raise RunFolderError(f"{error} Delete it, and the model is trained again.") from error
        found = stored.get(which)
        if found is None or tuple(found.shape) != expected:
            shapes = {name: tuple(t.shape) for name, t in stored.items()}
            raise RunFolderError(
                f"{path}: holds {shapes}; expected logits {expected} for '{which}'. Delete it, "
                "and the model is trained again."
            )
        return found

    def lineage(self, number: int) -> tuple[str, ...]:
        """Return the proposals on one model's path, one a round.

        Raises:
            RunFolderError: when the file is missing or damaged.
        """
        try:
            stated = read_metadata(self.file(number))
        except DataError as error:
            raise RunFolderError(f"{error} Delete it, and the model is trained again.") from error
        return tuple(json.loads(stated.get(_LINEAGE, "[]")))

    def references(self, numbers: Sequence[int], which: str, ids: Tensor) -> References:
        """Return what some models of the cohort say of some rows.

        Args:
            numbers: the models.
            which: `compressed`, or `dense`.
            ids: int64 (m,), of the rows.

        Raises:
            DataError: when a row is not one of the cohort's.
            RunFolderError: when a model's file is missing, damaged, or of something else.
        """
        place = self.places(ids)
        labels = self.plan.rows.labels[place]
        seen = self.plan.seen(max(numbers) + 1)[list(numbers)][:, place]
        # One model at a time, so that the logits of one alone are in memory.
        each = [
            References.of(self.logits(number, which)[place].unsqueeze(0), labels, saw.unsqueeze(0))
            for number, saw in zip(numbers, seen, strict=True)
        ]
        return References(torch.cat([one.log_odds for one in each]), seen)

    def places(self, ids: Tensor) -> Tensor:
        """Return where among the cohort's rows the rows of these ids are, int64 (m,).

        Raises:
            DataError: when a row is not one of the cohort's.
        """
        ours = self.plan.rows.ids
        order = ours.argsort()
        place = order[torch.searchsorted(ours[order], ids).clamp(max=len(ours) - 1)]
        if strangers := int((ours[place] != ids).sum()):
            raise DataError(f"cohort: {strangers} of {len(ids)} rows are not among its rows.")
        return place
