"""`AuditInput`, `QueryPlan` and `open_case`: what an audit judges, and how it is queried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from safecompress.audits.believable import believable
from safecompress.audits.full_model import Data, Given, Model, full_model, full_of_run
from safecompress.audits.other_tasks import refuse_together
from safecompress.audits.row_groups import with_row_groups
from safecompress.audits.same_rows import of_same_rows
from safecompress.audits.time_budget import Budget, require_time_to_ask
from safecompress.cohorts.shadow_models import shadows_of_run
from safecompress.config import ShadowsConfig
from safecompress.data import (
    GroupsGiven,
    RecordedOutputs,
    Splits,
    read_outputs,
    with_group_columns,
)
from safecompress.data.classes import ClassList, names_beyond_numbers, require_names
from safecompress.data.output_kind import OutputKind
from safecompress.data.predictions import holds_predictions, read_predictions
from safecompress.errors import ConfigError, DataError
from safecompress.events import Event, Listener, silent
from safecompress.files import sha256, tensors_digest
from safecompress.models.given import ModelSource
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
from safecompress.targets.query import record_rows
from safecompress.verdict_names import COMPRESSED


@dataclass(frozen=True)
class AuditInput:
    """What an audit judges.

    Args:
        name: the model's name in the report.
        recorded: the model's outputs on the judged rows.
        parent: the baseline's outputs on the same rows; None without a baseline.
        identity: digests of the judged model or of its outputs, for the provenance.
        baseline_identity: digests of the baseline or of its outputs; None without a baseline.
        looks: distinct models judged on these rows, this one included; 1 where they are not
            counted, as only runs count them.
        sealed: whether the rows are a run's sealed rows, whose membership is certain.
        against: the full model that an attacker with the judged model attacks; None where this is
            not measured.
        span: range of the models' inputs; None where it is not known.
        outputs: what the judged model's outputs are declared to be.
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
    outputs: OutputKind = "auto"


@dataclass(frozen=True)
class QueryPlan:
    """How models are queried: on which rows, and within what time.

    Args:
        data: the rows; None where a target brings its own. The splits of a run that was started
            with splits as an object.
        seed: seed of random draws that `data` describes.
        budget: the time that querying must fit into.
        trust_code: whether code that a run folder names may be imported and called.
        white_box: whether internals of the models are recorded for white-box attacks.
        shadows: how many shadow models of a run are trained, and how.
        outputs: what the target's outputs are declared to be; those of a run are logits.
        classes: the classes in the order of the model's columns, as the user listed them; None
            where nothing was listed.
        listen: called with an event before each model is queried.
        groups: by name, values of the given members and non-members, by whose groups is judged.
        group_by: columns of the data by whose groups is judged.
        accuracy: the target's accuracy on rows it was not trained on; None where it is not stated.
        model: the architecture of a run that was started with a model as an object.
    """

    data: Data | Splits
    seed: int
    budget: Budget
    trust_code: bool = False
    white_box: bool = False
    shadows: ShadowsConfig = field(default_factory=ShadowsConfig)
    outputs: OutputKind = "auto"
    classes: ClassList | None = None
    listen: Listener = silent
    groups: GroupsGiven | None = None
    group_by: tuple[str, ...] = ()
    accuracy: float | None = None
    model: ModelSource | None = None

    def __call__(self, target: Target) -> RecordedOutputs:
        if self.model is not None or isinstance(self.data, Splits):
            raise ConfigError(
                f"{target.path}: model= and splits belong to a run folder; of another target give "
                "the model itself and the rows ((member inputs, labels), (non-member inputs, "
                "labels))."
            )
        if self.data is None:
            raise ConfigError(
                f"{target.path}: data: missing; say which rows it was trained on and which it was "
                "not: ((member inputs, labels), (non-member inputs, labels)) in Python, --data "
                "MEMBERS NONMEMBERS (two .csv or two .npz) on the command line, or a section "
                "`data`."
            )
        target = replace(target, stated=self.classes)
        rows = rows_for(target, self.data, seed=self.seed)
        self.announce(target.path.name, rows)
        require_time_to_ask(target.model, rows, self.budget)
        return ask(target, rows, white_box=self.white_box, outputs=self.outputs)

    def open(self, path: Path) -> RunTarget:
        """Return a run, with the objects that it was started with.

        Args:
            path: the run folder, or a model file in it.
        """
        return open_run(
            path,
            trust_code=self.trust_code,
            model=self.model,
            data=self.data if isinstance(self.data, Splits) else None,
            group_by=self.group_by,
        )

    def read(self, path: Path) -> RecordedOutputs:
        """Return the recorded outputs in a file, as they are declared.

        Args:
            path: the `.npz`.
        """
        if holds_predictions(path):
            return read_predictions(path)
        return read_outputs(path, outputs=self.outputs, classes=self.classes)

    def announce(self, name: str, rows: Pool[Rows]) -> None:
        """Emit an event with the number of rows, because querying a model may take long.

        Args:
            name: the model's name.
            rows: the rows that it will be queried on.
        """
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
    """Open a target and its baseline, and query both on the rows.

    Args:
        target: the model, its file or folder, or its recorded outputs.
        asking: how it is queried, and on which rows.
        baseline: the model to compare with; None without one.
        verdict_on: everything else that the verdict depends on; the ledger of a run counts a new
            look where it differs.
        against: the full model that an attacker with the target attacks, or a run's model by name,
            such as `dense`; None where this is not measured.

    Raises:
        UsageError: when the target, the baseline or the rows cannot be audited.
    """
    source: RecordedOutputs | Target
    if asking.shadows.count and not _is_run(target):
        raise ConfigError(
            "shadows: only a run folder knows the recipe that shadow models repeat; of any other "
            "model, record what reference models say (see read_outputs)."
        )
    if isinstance(target, str | Path):
        path = Path(target).expanduser()
        kind = kind_of(path)
        own = isinstance(asking.data, Splits) if kind == "run" else False
        if kind in {"run", "outputs"} and asking.data is not None and not own:
            raise ConfigError(f"{path}: brings its own rows; leave out data (--data).")
        if kind == "run":
            _require_declared("logits", asking.outputs, f"{path}, a run")
            if asking.classes is not None:
                raise ConfigError(f"{path}: knows its own classes; leave out classes (--classes).")
            if asking.groups:
                raise ConfigError(
                    f"{path}: a run's rows are its own; name columns of its data (group_by) "
                    "instead of giving groups."
                )
            run = asking.open(path)
            case = _case_of_run(run, baseline, asking, verdict_on=verdict_on)
            fitted = run.splits.preprocessor
            full = None
            if against is not None:
                full = full_of_run(run, against, trust_code=asking.trust_code, small=case.recorded)
            return replace(case, against=full, span=None if fitted is None else fitted.input_range)
        source = asking.read(path) if kind == "outputs" else open_target(path)
    elif isinstance(target, RecordedOutputs):
        source = _named(target, asking.classes)
    else:
        source = target_of(target)
    if isinstance(source, RecordedOutputs) and asking.white_box:
        _require_internals(source)
    if isinstance(target, RecordedOutputs):
        _require_declared(target.kind, asking.outputs, f"{target.path}, when it was recorded")
    recorded = with_row_groups(
        source if isinstance(source, RecordedOutputs) else asking(source),
        asking.data,
        groups=asking.groups,
        group_by=asking.group_by,
        seed=asking.seed,
    )
    case = _case(
        recorded,
        None if baseline is None else _parent(baseline, asking),
        name=source.path.name if source.path.is_dir() else source.path.stem,
        identity=None if isinstance(source, RecordedOutputs) else _files(source),
        accuracy=asking.accuracy,
    )
    if against is None:
        return case
    full = full_model(
        against,
        data=None if isinstance(asking.data, Splits) else asking.data,
        seed=asking.seed,
        trust_code=asking.trust_code,
        small=case.recorded,
    )
    return replace(case, against=full, outputs=asking.outputs)


def _named(recorded: RecordedOutputs, classes: ClassList | None) -> RecordedOutputs:
    """Return recorded outputs with the names that the user listed for their columns."""
    if classes is None:
        return recorded
    require_names(classes.names, recorded.outputs.members.classes, path=recorded.path)
    if recorded.class_names and recorded.class_names != classes.names:
        raise ConfigError(
            f"{recorded.path}: was recorded with the classes "
            f"{', '.join(recorded.class_names)[:120]}; leave out classes."
        )
    return replace(recorded, class_names=classes.names)


def _require_declared(kind: str, declared: OutputKind, where: str) -> None:
    if declared not in {"auto", kind}:
        raise ConfigError(
            f"outputs: {declared}; those of {where}, were {kind}. Leave it out, or declare it "
            "where the outputs are recorded: record(…, outputs=…), read_outputs(…, outputs=…)."
        )


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
    # Internals exist only of modules; other baselines are compared by the remaining attacks.
    asking = replace(asking, white_box=asking.white_box and isinstance(baseline, nn.Module))
    try:
        return _asked_parent(baseline, asking)
    except DataError:
        if asking.outputs == "auto":
            raise
        # What is declared of the target need not be so of the baseline.
        return _asked_parent(baseline, replace(asking, outputs="auto"))


def _asked_parent(baseline: str | Path | Model, asking: QueryPlan) -> RecordedOutputs:
    if not isinstance(baseline, str | Path):
        return asking(target_of(baseline))
    path = Path(baseline).expanduser()
    kind = kind_of(path)
    if kind == "run":
        raise ConfigError(f"baseline: {path} is a run; its rows are not those of the target.")
    return asking.read(path) if kind == "outputs" else asking(open_target(path))


def _case_of_run(
    run: RunTarget, baseline: Given | None, asking: QueryPlan, *, verdict_on: Mapping[str, Any]
) -> AuditInput:
    module = run.module()
    parent = None
    if baseline is not None:
        if not isinstance(baseline, str | Path):
            raise ConfigError("baseline: of a run's model, name another of the run, e.g. 'dense'.")
        parent = run.baseline(str(baseline))
    require_time_to_ask(module, run.splits.steer, asking.budget)
    digests = {"baseline": None if parent is None else tensors_digest(parent.state_dict())}
    sealed, looks = run.open_sealed(dict(verdict_on) | digests)
    asking.announce(f"{run.folder.name}/{run.file}", sealed)

    shadows: Mapping[str, Pool[References]] = {}
    if asking.shadows.count:
        shadows = shadows_of_run(run, sealed, asking.shadows, listen=asking.listen)

    groups = run.splits.groups_of(sealed)

    def record(model: nn.Module, path: Path) -> RecordedOutputs:
        recorded = record_rows(
            model,
            sealed,
            path=path,
            white_box=asking.white_box,
            class_names=names_beyond_numbers(run.splits.class_names),
        )
        recorded = with_group_columns(recorded, groups)
        kind = COMPRESSED if path.name == MODEL else path.stem
        if kind not in shadows:
            return recorded
        known = recorded.evidence.zip(shadows[kind], lambda e, r: replace(e, references=r))
        return replace(recorded, evidence=known, references=asking.shadows.count, own_recipe=True)

    return _case(
        record(module, run.folder / run.file),
        None if parent is None else record(parent, Path(str(baseline))),
        name=run.folder.resolve().name,
        accuracy=asking.accuracy,
        looks=looks,
        sealed=True,
    )


def _case(
    recorded: RecordedOutputs,
    parent: RecordedOutputs | None,
    *,
    name: str,
    identity: Mapping[str, Any] | None = None,
    accuracy: float | None = None,
    looks: int = 1,
    sealed: bool = False,
) -> AuditInput:
    if parent is not None:
        refuse_together((recorded, parent), "a baseline")
        recorded, parent = of_same_rows(recorded, parent)
        parent = believable(parent, sealed=sealed)
    recorded = believable(recorded, accuracy=accuracy, sealed=sealed)
    return AuditInput(
        name=name,
        recorded=recorded,
        parent=parent,
        identity=identity or _identity(recorded),
        baseline_identity=None if parent is None else _identity(parent),
        looks=looks,
        sealed=sealed,
    )


def _files(target: Target) -> dict[str, Any] | None:
    if not target.files:
        return None
    digests = {file.name: sha256(file) for file in target.files}
    return {"model": str(target.path), "kind": target.kind, "sha256": digests}


def _identity(recorded: RecordedOutputs) -> dict[str, str]:
    """Return the file's name and digest, or the digest of the outputs where there is no file."""
    if recorded.path.is_file():
        return {"file": str(recorded.path), "sha256": sha256(recorded.path)}
    outputs = recorded.outputs
    tensors = {"members": outputs.members.logits, "nonmembers": outputs.nonmembers.logits}
    return {"model": str(recorded.path), "outputs_sha256": tensors_digest(tensors)}
