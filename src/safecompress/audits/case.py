"""What an audit judges: a model's outputs, those of its baseline, and where both are from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from safecompress.audits.time_budget import Budget, require_time_to_ask
from safecompress.cohorts.shadow_models import shadows_of_run
from safecompress.config import DataConfig, ShadowsConfig
from safecompress.data import RecordedOutputs, read_outputs
from safecompress.errors import ConfigError, DataError, ModelError
from safecompress.events import Event, Listener, silent
from safecompress.files import sha256, tensors_digest
from safecompress.protocols import InputRange, Pool, References, Rows
from safecompress.run.folder import MODEL
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
from safecompress.targets.record import Group, record_rows
from safecompress.verdict_names import COMPRESSED

Model: TypeAlias = nn.Module | Callable[..., Any]
Given: TypeAlias = str | Path | RecordedOutputs | Model
Data: TypeAlias = tuple[Group, Group] | DataConfig | None


@dataclass(frozen=True)
class AuditInput:
    """What an audit judges.

    Args:
        name: what the report calls the model.
        recorded: what the model said.
        parent: what its baseline said of the same rows; None without one.
        identity: digests of what was judged, for the provenance.
        baseline_identity: those of the baseline.
        looks: how often these rows have judged, this time included; 1 where nobody counts.
        sealed: whether the rows are a run's own, so that membership is known.
        against: the full model that who holds this one may attack; None where nobody asked.
        span: range of the models' inputs, where it is known.
    """

    name: str
    recorded: RecordedOutputs
    parent: RecordedOutputs | None
    identity: Mapping[str, Any]
    baseline_identity: Mapping[str, Any] | None
    looks: int = 1
    sealed: bool = False
    against: Model | None = None
    span: InputRange | None = None


@dataclass(frozen=True)
class QueryPlan:
    """How models are asked: about which rows, and within what time.

    Args:
        data: the rows, where a target does not bring its own.
        seed: seed of whatever `data` draws.
        budget: asking must fit into it.
        trust_code: whether code that a run folder names may be imported and called.
        white_box: whether the attacker looks into the models.
        shadows: shadow models of a run that are trained, if any.
        listen: hears of what is asked about how many rows.
    """

    data: Data
    seed: int
    budget: Budget
    trust_code: bool = False
    white_box: bool = False
    shadows: ShadowsConfig = field(default_factory=ShadowsConfig)
    listen: Listener = silent

    def __call__(self, target: Target) -> RecordedOutputs:
        if self.data is None:
            raise ConfigError(
                f"{target.path}: data: missing; say which rows it was trained on and which it was "
                "not: ((member inputs, labels), (non-member inputs, labels)) in Python, --data "
                "MEMBERS NONMEMBERS (two .csv or two .npz) on the command line, or a section "
                "`data`."
            )
        rows = rows_for(target, self.data, seed=self.seed)
        self.announce(target.path.name, rows)
        require_time_to_ask(target.model, rows, self.budget)
        return ask(target, rows, white_box=self.white_box)

    def announce(self, name: str, rows: Pool[Rows]) -> None:
        """Say what is asked about how many rows; it may take a while."""
        sizes = rows.map(len)
        text = f"asking {name} about {sizes.members:,} members, {sizes.nonmembers:,} non-members"
        self.listen(Event("stage", text, {"stage": "asking", "model": name}))


def open_case(
    target: Given,
    asking: QueryPlan,
    *,
    baseline: Given | None,
    verdict_on: Mapping[str, Any],
    against: Given | None = None,
) -> AuditInput:
    """Open what is to be audited and ask it about its rows.

    Args:
        target: the model, its file or folder, or its recorded outputs.
        asking: how it is asked, and about which rows.
        baseline: the model to compare with.
        verdict_on: all else that the verdict depends on, for the ledger of a run.
        against: the full model that who holds the target may attack; of a run `dense`, too.

    Raises:
        UsageError: on what cannot be audited.
    """
    found: RecordedOutputs | Target
    if asking.shadows.count and not _is_run(target):
        raise ConfigError(
            "shadows: only a run folder knows the recipe that shadow models repeat; of any other "
            "model, record what reference models say (see read_outputs)."
        )
    if isinstance(target, str | Path):
        path = Path(target).expanduser()
        kind = kind_of(path)
        if kind in {"run", "outputs"} and asking.data is not None:
            raise ConfigError(f"{path}: brings its own rows; leave out data (--data).")
        if kind == "run":
            run = open_run(path, trust_code=asking.trust_code)
            case = _case_of_run(run, baseline, asking, verdict_on=verdict_on)
            fitted = run.splits.preprocessor
            full = None
            if against is not None:
                full = _full_of_run(run, against, asking, small=case.recorded)
            return replace(case, against=full, span=None if fitted is None else fitted.input_range)
        found = read_outputs(path) if kind == "outputs" else open_target(path)
    else:
        found = target if isinstance(target, RecordedOutputs) else target_of(target)
    if isinstance(found, RecordedOutputs) and asking.white_box:
        _require_internals(found)
    case = _case(
        found if isinstance(found, RecordedOutputs) else asking(found),
        None if baseline is None else _parent(baseline, asking),
        name=found.path.name if found.path.is_dir() else found.path.stem,
        ours=None if isinstance(found, RecordedOutputs) else _files(found),
    )
    if against is None:
        return case
    return replace(case, against=_full(against, asking, small=case.recorded))


def _full(against: Given, asking: QueryPlan, *, small: RecordedOutputs) -> Model:
    """Return the full model of a pair.

    Args:
        against: the model, or its file or folder.
        asking: says which rows it is asked about.
        small: what is recorded of the model it is paired with.

    Raises:
        UsageError: when it is no model, or numbers the same texts otherwise.
    """
    if isinstance(against, RecordedOutputs):
        raise ConfigError(f"against: {against.path} holds outputs; a model is attacked, name one.")
    if not isinstance(against, str | Path):
        return against
    path = Path(against).expanduser()
    kind = kind_of(path)
    if kind == "outputs":
        raise ConfigError(f"against: {path} holds outputs; a model is attacked, name one.")
    if kind == "run":
        return open_run(path, trust_code=asking.trust_code).module()
    full = open_target(path)
    if full.texts and asking.data is not None:
        _require_same_tokens(full, rows_for(full, asking.data, seed=asking.seed), small)
    return full.model


def _require_same_tokens(full: Target, theirs: Pool[Rows], small: RecordedOutputs) -> None:
    """Refuse a full model of text whose tokenizer says something else than the small one's.

    Raises:
        ModelError: when any row's tokens differ.
    """
    ours = small.evidence.nonmembers.rows
    given = () if ours is None else ours.inputs
    other = theirs.nonmembers.inputs
    same = (
        isinstance(given, Mapping)
        and isinstance(other, Mapping)
        and given.keys() == other.keys()
        and all(torch.equal(tensor, other[name]) for name, tensor in given.items())
    )
    if not same:
        raise ModelError(
            f"against: {full.path} and {small.path} turn the same texts into other tokens, so one "
            "point cannot be given to both. What both say of the same texts can still be compared: "
            "name the full model as the baseline (--baseline)."
        )


def _full_of_run(
    run: RunTarget, against: Given, asking: QueryPlan, *, small: RecordedOutputs
) -> Model:
    """Return the full model of a run's model: another of the run by name, or any other."""
    if isinstance(against, str) and (run.folder / f"{against}.safetensors").is_file():
        return run.baseline(against)
    return _full(against, asking, small=small)


def _require_internals(recorded: RecordedOutputs) -> None:
    if recorded.evidence.members.internals is None:
        raise ConfigError(
            f"white_box: of {recorded.path} only outputs are known; give the torch.nn.Module and "
            "its data, or what record(…, white_box=True) returned."
        )


def _is_run(target: Given) -> bool:
    return isinstance(target, str | Path) and kind_of(Path(target).expanduser()) == "run"


def _parent(baseline: Given, asking: QueryPlan) -> RecordedOutputs:
    if isinstance(baseline, RecordedOutputs):
        return baseline
    # Only a module can be looked into; any other baseline is compared by the other attacks.
    asking = replace(asking, white_box=asking.white_box and isinstance(baseline, nn.Module))
    if not isinstance(baseline, str | Path):
        return asking(target_of(baseline))
    path = Path(baseline).expanduser()
    kind = kind_of(path)
    if kind == "run":
        raise ConfigError(f"baseline: {path} is a run; its rows are not those of the target.")
    return read_outputs(path) if kind == "outputs" else asking(open_target(path))


def _case_of_run(
    run: RunTarget, baseline: Given | None, asking: QueryPlan, *, verdict_on: Mapping[str, Any]
) -> AuditInput:
    module = run.module()
    other = None
    if baseline is not None:
        if not isinstance(baseline, str | Path):
            raise ConfigError("baseline: of a run's model, name another of the run, e.g. 'dense'.")
        other = run.baseline(str(baseline))
    require_time_to_ask(module, run.splits.steer, asking.budget)
    named = {"baseline": None if other is None else tensors_digest(other.state_dict())}
    sealed, looks = run.open_sealed(dict(verdict_on) | named)
    asking.announce(f"{run.folder.name}/{run.file}", sealed)

    shadows: Mapping[str, Pool[References]] = {}
    if asking.shadows.count:
        shadows = shadows_of_run(run, sealed, asking.shadows, listen=asking.listen)

    def said(model: nn.Module, path: Path) -> RecordedOutputs:
        recorded = record_rows(model, sealed, path=path, white_box=asking.white_box)
        kind = COMPRESSED if path.name == MODEL else path.stem
        if kind not in shadows:
            return recorded
        known = recorded.evidence.zip(shadows[kind], lambda e, r: replace(e, references=r))
        return replace(recorded, evidence=known, references=asking.shadows.count)

    return _case(
        said(module, run.folder / run.file),
        None if other is None else said(other, Path(str(baseline))),
        name=run.folder.resolve().name,
        looks=looks,
        sealed=True,
    )


def _case(
    recorded: RecordedOutputs,
    parent: RecordedOutputs | None,
    *,
    name: str,
    ours: Mapping[str, Any] | None = None,
    looks: int = 1,
    sealed: bool = False,
) -> AuditInput:
    if parent is not None:
        _require_same_rows(recorded, parent)
    return AuditInput(
        name=name,
        recorded=recorded,
        parent=parent,
        identity=ours or _identity(recorded),
        baseline_identity=None if parent is None else _identity(parent),
        looks=looks,
        sealed=sealed,
    )


def _require_same_rows(ours: RecordedOutputs, theirs: RecordedOutputs) -> None:
    """Refuse a baseline whose rows are not the target's: no difference could be paired."""
    pairs = (
        (ours.outputs.members, theirs.outputs.members, "members"),
        (ours.outputs.nonmembers, theirs.outputs.nonmembers, "non-members"),
    )
    for a, b, group in pairs:
        if not torch.equal(a.labels, b.labels):
            raise DataError(
                f"{theirs.path}: {len(b)} {group} with labels that differ from the {len(a)} of "
                f"{ours.path}; the baseline's rows must be the target's, in the same order."
            )
        if not torch.equal(a.ids, b.ids):
            raise DataError(
                f"{theirs.path}: other {group} than those of {ours.path}, because the two do not "
                "see the same duplicates; remove repeated rows from the data."
            )


def _files(target: Target) -> dict[str, Any] | None:
    if not target.files:
        return None
    digests = {file.name: sha256(file) for file in target.files}
    return {"model": str(target.path), "kind": target.kind, "sha256": digests}


def _identity(recorded: RecordedOutputs) -> dict[str, str]:
    """Return the file's name and digest, or the digest of what was said where there is no file."""
    if recorded.path.is_file():
        return {"file": str(recorded.path), "sha256": sha256(recorded.path)}
    outputs = recorded.outputs
    tensors = {"members": outputs.members.logits, "nonmembers": outputs.nonmembers.logits}
    return {"model": str(recorded.path), "outputs_sha256": tensors_digest(tensors)}
