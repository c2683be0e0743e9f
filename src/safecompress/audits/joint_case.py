"""`JointCase`, `open_jointly`: several files of one model, opened and queried on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from safecompress.audits.case import AuditInput, QueryPlan, open_case
from safecompress.audits.full_model import Given
from safecompress.audits.other_tasks import refuse_together
from safecompress.audits.same_rows import of_same_rows
from safecompress.config import ShadowsConfig
from safecompress.data import RecordedOutputs, Splits
from safecompress.errors import ConfigError
from safecompress.targets import kind_of
from safecompress.verdict_names import DENSE

MOST_FILES = 12
"""Most files of one set; every two of them are attacked together."""


@dataclass(frozen=True)
class JointCase:
    """Several files of one model on the same rows.

    Args:
        names: what the files are called, each once.
        files: the outputs of each on the rows that all have.
        cases: how each was opened, in the same order.
        dense: the dense model's outputs on these rows; None where it is not given.
        published: position of the dense model among the files; None where it is secret or not
            given.
        secret: whether there is a dense model that stays secret.
    """

    names: tuple[str, ...]
    files: tuple[RecordedOutputs, ...]
    cases: tuple[AuditInput, ...]
    dense: RecordedOutputs | None = None
    published: int | None = None
    secret: bool = False

    @property
    def looks(self) -> int:
        """Distinct models judged on these rows; 1 where they are not counted."""
        return max(case.looks for case in self.cases)

    @property
    def best_known_rows(self) -> int:
        """Position of a file whose inputs are known; 0 where only outputs are known of all."""
        known = (place for place, file in enumerate(self.files) if _knows_inputs(file))
        return next(known, 0)


def open_jointly(
    targets: Sequence[Given],
    asking: QueryPlan,
    *,
    baseline: Given | None,
    verdict_on: Mapping[str, Any],
) -> JointCase:
    """Open several files of one model, and query each on the rows.

    Args:
        targets: the files, at least two: models, their files or folders, or recorded outputs.
        asking: how they are queried, and on which rows; files that bring their own rows keep them.
        baseline: the dense model, one of the targets or another one; None where it is not given.
        verdict_on: everything else that the verdict depends on.

    Raises:
        ConfigError: on fewer than two files, too many, or one given twice.
        DataError: when the files do not answer for the same classes on the same rows.
        UsageError: when a file cannot be audited.
    """
    _require_several(targets, asking.shadows)
    published = _place_of(baseline, targets)
    holder = None if baseline is None or published is not None else _holder(targets)
    cases = tuple(
        open_case(
            target,
            _plan_for(target, asking),
            baseline=baseline if place == holder else None,
            verdict_on=dict(verdict_on) | {"files": len(targets)},
        )
        for place, target in enumerate(targets)
    )
    secret = None if holder is None else cases[holder].parent
    return joined(cases, secret=secret, published=published)


def joined(
    cases: Sequence[AuditInput],
    *,
    secret: RecordedOutputs | None = None,
    published: int | None = None,
) -> JointCase:
    """Return files that were opened one by one as a set, on the rows that all have.

    Args:
        cases: the opened files.
        secret: outputs of a dense model that is none of them; None without one.
        published: position of the dense model among them; None where it is none of them.

    Raises:
        DataError: when the files do not answer for the same classes on the same rows.
    """
    refuse_together([case.recorded for case in cases], "a joint audit")
    models = of_same_rows(
        *(case.recorded for case in cases),
        *(() if secret is None else (secret,)),
        role="every file of a set",
    )
    files = models[: len(cases)]
    dense = models[-1] if secret is not None else None if published is None else files[published]
    names = names_of(files)
    return JointCase(names, files, tuple(cases), dense, published, secret is not None)


def names_of(files: Sequence[RecordedOutputs]) -> tuple[str, ...]:
    """Return what the files are called: by file name, with the folder where two share one.

    Args:
        files: their outputs.
    """
    paths = [file.path for file in files]
    short = [path.name or str(path) for path in paths]
    longer = ["/".join(path.parts[-2:]) or str(path) for path in paths]
    names = [s if short.count(s) == 1 else w for s, w in zip(short, longer, strict=True)]
    taken = {DENSE: 1}
    unique = []
    for name in names:
        taken[name] = taken.get(name, 0) + 1
        unique.append(name if taken[name] == 1 else f"{name} ({taken[name]})")
    return tuple(unique)


def _require_several(targets: Sequence[Given], shadows: ShadowsConfig) -> None:
    if not 2 <= len(targets) <= MOST_FILES:
        raise ConfigError(
            f"targets: {len(targets)} given; expected 2 to {MOST_FILES} files of one model, which "
            "are judged as one set. A single file is audited by itself."
        )
    for place, target in enumerate(targets):
        if _place_of(target, targets) != place:
            raise ConfigError(f"targets: {target} is given twice; name every file once.")
    if shadows.count and "run" not in map(_kind, targets):
        raise ConfigError(
            "shadows: only a run folder knows the recipe that shadow models repeat; of any other "
            "model, record what reference models say (see read_outputs)."
        )


def _place_of(model: Given | None, targets: Sequence[Given]) -> int | None:
    """Return where a model stands first among others; None where it is none of them."""
    if model is None:
        return None
    if not isinstance(model, str | Path):
        return next((i for i, target in enumerate(targets) if target is model), None)
    path = Path(model).expanduser().resolve()
    known = [Path(t).expanduser().resolve() if isinstance(t, str | Path) else None for t in targets]
    return known.index(path) if path in known else None


def _kind(target: Given) -> str:
    if isinstance(target, str | Path):
        return kind_of(Path(target).expanduser())
    return "outputs" if isinstance(target, RecordedOutputs) else "model"


def _holder(targets: Sequence[Given]) -> int:
    """Return with which file the dense model is opened: a run names its own, a model has rows."""
    kinds = [_kind(target) for target in targets]
    first = next((i for i, kind in enumerate(kinds) if kind != "outputs"), 0)
    return kinds.index("run") if "run" in kinds else first


def _plan_for(target: Given, asking: QueryPlan) -> QueryPlan:
    """Return how a file is queried: one that brings its own rows is not given others."""
    kind = _kind(target)
    splits = asking.data if isinstance(asking.data, Splits) else None
    if kind == "run":
        return replace(asking, data=splits, outputs="auto", classes=None, groups=None)
    rows = None if splits is not None or kind == "outputs" else asking.data
    return replace(asking, data=rows, shadows=ShadowsConfig(), model=None)


def _knows_inputs(recorded: RecordedOutputs) -> bool:
    """Return whether the rows have inputs; those of recorded outputs have no columns."""
    inputs = recorded.rows.members.inputs
    return not isinstance(inputs, Tensor) or inputs.numel() > 0
