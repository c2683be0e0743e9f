"""What an audit judges: a model's outputs, those of its baseline, and where both are from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from safecompress.budget import Budget, require_time_to_ask
from safecompress.config import DataConfig
from safecompress.data import Recorded, read_outputs
from safecompress.errors import ConfigError, DataError
from safecompress.files import sha256, tensors_digest
from safecompress.protocols import Outputs, Pool
from safecompress.record import Group, record_rows
from safecompress.targets import (
    RunTarget,
    Target,
    ask,
    kind_of,
    open_run,
    open_target,
    rows_for,
    target_of,
)

Model: TypeAlias = nn.Module | Callable[..., Any]
Given: TypeAlias = str | Path | Recorded | Model
Data: TypeAlias = tuple[Group, Group] | DataConfig | None


@dataclass(frozen=True)
class Asking:
    """How models are asked.

    Args:
        seed: seed of whatever is drawn.
        budget: asking must fit into it.
        trust_code: whether code that a run folder names may be imported and called.
        white_box: whether the attacker looks into the models.
    """

    seed: int
    budget: Budget
    trust_code: bool
    white_box: bool


@dataclass(frozen=True)
class Case:
    """What an audit judges.

    Args:
        name: what the report calls the model.
        recorded: what the model said.
        parent: what its baseline said of the same rows; None without one.
        identity: digests of what was judged, for the provenance.
        baseline_identity: those of the baseline.
        looks: how often these rows have judged, this time included; 1 where nobody counts.
        sealed: whether the rows are a run's own, so that membership is known.
    """

    name: str
    recorded: Recorded
    parent: Recorded | None
    identity: Mapping[str, Any]
    baseline_identity: Mapping[str, Any] | None
    looks: int = 1
    sealed: bool = False


def open_case(
    target: Given,
    data: Data,
    *,
    baseline: Given | None,
    how: Asking,
    verdict_on: Mapping[str, Any],
) -> Case:
    """Open what is to be audited and ask it about its rows.

    Args:
        target: the model, its file or folder, or its recorded outputs.
        data: its rows, where it does not bring its own.
        baseline: the model to compare with.
        how: how the models are asked.
        verdict_on: all else that the verdict depends on, for the ledger of a run.

    Raises:
        UsageError: on what cannot be audited.
    """
    if isinstance(target, Recorded):
        return _case_of_outputs(target, data, baseline, how=how)
    if isinstance(target, str | Path):
        path = Path(target).expanduser()
        kind = kind_of(path)
        if kind in {"run", "outputs"} and data is not None:
            raise ConfigError(f"{path}: brings its own rows; leave out data (--data).")
        if kind == "run":
            run = open_run(path, trust_code=how.trust_code)
            return _case_of_run(run, baseline, how=how, verdict_on=verdict_on)
        if kind == "outputs":
            found = read_outputs(path)
            return _case_of_outputs(found, data, baseline, how=how)
        opened = open_target(path)
    else:
        opened = target_of(target)
    recorded = _asked(opened, data, how=how)
    return _case(
        recorded,
        _parent(baseline, data, how=how),
        name=opened.path.stem,
        ours=_files(opened),
    )


def _case_of_outputs(
    recorded: Recorded, data: Data, baseline: Given | None, *, how: Asking
) -> Case:
    if how.white_box and recorded.evidence.members.internals is None:
        raise ConfigError(
            f"white_box: of {recorded.path} only outputs are known; give the torch.nn.Module and "
            "its data, or what record(…, white_box=True) returned."
        )
    parent = _parent(baseline, data, how=how)
    return _case(recorded, parent, name=recorded.path.stem)


def _asked(target: Target, data: Data, *, how: Asking) -> Recorded:
    if data is None:
        raise ConfigError(
            f"{target.path}: data: missing; say which rows it was trained on and which it was not: "
            "((member inputs, labels), (non-member inputs, labels)) in Python, --data MEMBERS "
            "NONMEMBERS (two .csv or two .npz) on the command line, or a section `data`."
        )
    rows = rows_for(target, data, seed=how.seed)
    require_time_to_ask(target.model, rows, how.budget)
    return ask(target, rows, white_box=how.white_box)


def _parent(baseline: Given | None, data: Data, *, how: Asking) -> Recorded | None:
    if baseline is None or isinstance(baseline, Recorded):
        return baseline
    # Only what can be looked into is; a baseline of outputs is compared by the other attacks.
    how = replace(how, white_box=how.white_box and isinstance(baseline, nn.Module))
    if not isinstance(baseline, str | Path):
        return _asked(target_of(baseline), data, how=how)
    path = Path(baseline).expanduser()
    kind = kind_of(path)
    if kind == "run":
        raise ConfigError(f"baseline: {path} is a run; its rows are not those of the target.")
    if kind == "outputs":
        return read_outputs(path)
    return _asked(open_target(path), data, how=how)


def _case_of_run(
    run: RunTarget, baseline: Given | None, *, how: Asking, verdict_on: Mapping[str, Any]
) -> Case:
    module = run.module()
    other = None
    if baseline is not None:
        if not isinstance(baseline, str | Path):
            raise ConfigError("baseline: of a run's model, name another of the run, e.g. 'dense'.")
        other = run.baseline(str(baseline))
    require_time_to_ask(module, run.splits.steer, how.budget)
    named = {"baseline": None if other is None else tensors_digest(other.state_dict())}
    sealed, looks = run.open_sealed(dict(verdict_on) | named)
    path = run.folder / run.file

    def said(model: nn.Module, name: Path) -> Recorded:
        return record_rows(model, sealed, path=name, white_box=how.white_box)

    return _case(
        said(module, path),
        None if other is None else said(other, Path(str(baseline))),
        name=run.folder.resolve().name,
        looks=looks,
        sealed=True,
    )


def _case(
    recorded: Recorded,
    parent: Recorded | None,
    *,
    name: str,
    ours: Mapping[str, Any] | None = None,
    looks: int = 1,
    sealed: bool = False,
) -> Case:
    if parent is not None:
        _require_same_rows(recorded, parent)
    return Case(
        name=name,
        recorded=recorded,
        parent=parent,
        identity=ours or _identity(recorded),
        baseline_identity=None if parent is None else _identity(parent),
        looks=looks,
        sealed=sealed,
    )


def _require_same_rows(ours: Recorded, theirs: Recorded) -> None:
    """Refuse a baseline whose rows are not the target's: no difference could be paired."""
    for group in ("members", "nonmembers"):
        a, b = (_labels(r.outputs, group) for r in (ours, theirs))
        if len(a) != len(b) or not torch.equal(a, b):
            raise DataError(
                f"{theirs.path}: {len(b)} {group} with labels that differ from the {len(a)} of "
                f"{ours.path}; the baseline's rows must be the target's, in the same order."
            )


def _labels(outputs: Pool[Outputs], group: str) -> torch.Tensor:
    found: Outputs = getattr(outputs, group)
    return found.labels


def _files(target: Target) -> dict[str, Any] | None:
    if not target.files:
        return None
    digests = {file.name: sha256(file) for file in target.files}
    return {"model": str(target.path), "kind": target.kind, "sha256": digests}


def _identity(recorded: Recorded) -> dict[str, str]:
    """Return the file's name and digest, or the digest of what was said where there is no file."""
    if recorded.path.is_file():
        return {"file": str(recorded.path), "sha256": sha256(recorded.path)}
    outputs = recorded.outputs
    tensors = {"members": outputs.members.logits, "nonmembers": outputs.nonmembers.logits}
    return {"model": str(recorded.path), "outputs_sha256": tensors_digest(tensors)}
