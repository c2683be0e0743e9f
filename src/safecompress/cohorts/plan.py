"""`CohortPlan`, `deal`, `every_row`: what the models of a cohort share, and each one's members."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from safecompress.config import CompressConfig, dump_yaml
from safecompress.data import Ledger, Preprocessor, Splits, content_of_inputs
from safecompress.data.rows import concatenate, rows_digest
from safecompress.data.tokens import TokenEncoder
from safecompress.errors import DataError
from safecompress.protocols import Inputs, Rows
from safecompress.randomness import derive, permutation


def deal(inputs: Inputs, *, members: int, count: int, seed: int) -> Tensor:
    """Draw the members of each model of a cohort.

    Every model takes the rows that the earlier models have trained on least often, ties drawn at
    random, so that every row is a member about equally often. The first models of a larger cohort
    have the same members as those of a smaller one.

    Args:
        inputs: the inputs of all n rows; rows with equal inputs are members together or not at all.
        members: rows that each model trains on; a few more or fewer where inputs repeat.
        count: number of models.
        seed: seed of the draw.

    Returns:
        Bool (count, n): whether a row is a member of a model. The numbers of models that two
        distinct rows are members of differ by at most one.

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
    """Return all rows of splits to draw a cohort from, without those set aside for defenses.

    Sealed rows are included, because every row is a member of some models and not of others.

    Args:
        splits: the rows of a data set.
    """
    opened, _ = splits.open_sealed(Ledger(None), model_digest="cohort")
    return concatenate(splits.members, splits.steer.nonmembers, opened.nonmembers)


@dataclass(frozen=True)
class CohortPlan:
    """What all models of a cohort share.

    Args:
        config: the recipe of every model; its seed is the cohort's seed.
        rows: the rows that members are drawn from.
        class_names: one name per class.
        members: rows that each model trains on.
        steer: share of a model's rows that steer its search, in (0, 1).
        reference: rows set aside for defenses, the same for every model and none of `rows`: a
            defense may train on them, so no model can be judged on them; None without any.
        keep_models: whether the models are kept beside their outputs, for white-box attacks; in
            `NUMBER/dense.safetensors` and `NUMBER/model.safetensors`.
        shared: folder from which dense models and teachers' outputs are copied if they are there,
            and to which they are copied otherwise, as `NUMBER/…`; for cohorts whose recipes differ
            only in what follows them. None shares nothing.
        tokens: what turned texts into the token ids of the rows; None for other rows. Some settings
            of training and some models need to know what the ids mean.
    """

    config: CompressConfig
    rows: Rows
    class_names: tuple[str, ...]
    members: int
    steer: float = 0.5
    reference: Rows | None = None
    keep_models: bool = False
    shared: Path | None = None
    tokens: TokenEncoder | None = None

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that the cohort's models depend on, except their numbers."""
        rows = rows_digest(self.rows, *([] if self.reference is None else [self.reference]))
        parts = [dump_yaml(self.config, values=True), rows, json.dumps(self.to_json())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON, without the configuration, the rows and `shared`."""
        return {
            "class_names": list(self.class_names),
            "members": self.members,
            "steer": self.steer,
            "keep_models": self.keep_models,
        } | ({} if self.tokens is None else {"tokens": self.tokens.model_dump(mode="json")})

    def splits(self, number: int) -> Splits:
        """Return the rows of one model as splits: its members, and all others as non-members.

        Args:
            number: the model, from 0.
        """
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
        if self.tokens is not None:
            splits = replace(splits, preprocessor=Preprocessor(block=self.tokens))
        return splits if self.reference is None else replace(splits, reference=self.reference)

    def seen(self, count: int) -> Tensor:
        """Return which rows the first models train on, bool (count, n).

        Args:
            count: number of models, at least 1.
        """
        content, seed = self._rows_by_content, self.config.seed
        return _dealt(content, members=self.members, count=count, seed=seed)

    @cached_property
    def _rows_by_content(self) -> Tensor:
        # Cached, because every row is hashed for it, and `seen` is called for every model.
        return _content(self.rows.inputs)
