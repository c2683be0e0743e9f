"""`audit_jointly` and `JointAudit`: one verdict on several files of one model."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safecompress.audits.arguments import (
    AuditArguments,
    attacks_named,
    folder_of,
    listener,
    model_or_path,
    name_of,
    require_output_kind,
)
from safecompress.audits.case import QueryPlan
from safecompress.audits.full_model import Given
from safecompress.audits.joint_case import open_jointly
from safecompress.audits.joint_verdict import judge_jointly
from safecompress.audits.results import require_results_folder, write_results
from safecompress.audits.suite import Limits
from safecompress.audits.time_budget import Budget
from safecompress.config import DataConfig, GivenTrackers, ShadowsConfig, load_section
from safecompress.data import GroupsGiven, Splits
from safecompress.data.output_kind import OutputKind
from safecompress.display import shown
from safecompress.errors import ConfigError
from safecompress.events import Listener, silent
from safecompress.models.given import ModelSource
from safecompress.registry.identity import qualified
from safecompress.report import verdict_card
from safecompress.run.provenance import surroundings
from safecompress.targets.given import Group
from safecompress.tracking import Job, checked_trackers, code_of, tracking, verdict_results
from safecompress.verdicts.joint_document import JointVerdict
from safecompress.verdicts.verdict import Verdict


@dataclass(frozen=True)
class JointAudit:
    """A finished audit of several files.

    Args:
        folder: folder of its files; None where nothing was written.
        verdict: the verdict, with its document and figures.
        document: the document, typed.
    """

    folder: Path | None
    verdict: Verdict
    document: JointVerdict

    def __repr__(self) -> str:
        return f"<JointAudit {self.verdict.status} in {self.folder}: {self.verdict.sentence}>"

    def _repr_html_(self) -> str:
        return verdict_card(self.verdict.document.to_json(), kind="JointAudit", folder=self.folder)


def audit_jointly(
    targets: Sequence[Given],
    data: tuple[Group, Group] | Splits | DataConfig | Mapping[str, Any] | None = None,
    *,
    model: ModelSource | None = None,
    baseline: Given | None = None,
    limits: Limits | None = None,
    groups: GroupsGiven | None = None,
    group_by: Sequence[str] = (),
    attacks: Sequence[str | Mapping[str, Any]] = (),
    classes: Sequence[str] | None = None,
    accuracy: float | None = None,
    shadows: ShadowsConfig | int = 0,
    level: float = 0.95,
    seed: int = 0,
    trust_code: bool = False,
    outputs: OutputKind = "auto",
    out: str | Path | None = None,
    trackers: GivenTrackers = (),
    progress: bool = True,
    on_event: Listener = silent,
) -> JointAudit:
    """Judge files that are published together: one attacker holds all of them.

    Every file is attacked by itself as `audit` does, every two files and all of them by attacks
    that read them side by side. The verdict needs each of these to keep the limits.

    Args:
        targets: two or more files of one model, each as `audit` takes its target: paths, models,
            recorded outputs. All must answer for the same classes on the same rows.
        data: the rows, as in `audit`, for targets that do not bring their own.
        model: the architecture of a run that was started with a model as an object.
        baseline: the dense model, as in `audit`. Where it is one of the targets it is published
            and the attacker holds it, too. Otherwise it is secret: files are compared with it, and
            no attack reads it.
        limits: the bounds that each file, each pair and the whole set must keep.
        groups: as in `audit`; judged within every file.
        group_by: likewise.
        attacks: further attacks on each file by itself, by name or as `{name: {option: value}}`.
        classes: as in `audit`.
        accuracy: the accuracy of every target on rows it was not trained on, in [0, 1].
        shadows: for runs, the number of shadow models, or how they are trained. Models of one run
            share them, so that an attack reads what they say in all of these models together.
        level: confidence level of the intervals, in (0, 1), shared by all scopes.
        seed: seed of the halves of rows that learning attacks learn on, and of their randomness.
        trust_code: whether code that a run folder names may be imported and called.
        outputs: `logits` or `probabilities`, what every target's outputs are; `auto` reads it off.
        out: folder of the results, as in `audit`. None writes nothing.
        trackers: experiment trackers to write to as well, as in `audit`.
        progress: whether to show how far it is, as in `audit`.
        on_event: called with an event for every check and before a model is queried.

    Raises:
        UsageError: when a target cannot be audited, or targets contradict each other.
        StorageError: when the folder cannot be written.

    Example:
        Two files, each of which hides the leak behind the same noise with the other sign:

        >>> import numpy as np
        >>> from safecompress import audit_jointly
        >>> draw = np.random.default_rng(0)
        >>> said = {"a": {}, "b": {}}
        >>> for side, lift in (("member", 1.0), ("nonmember", 0.0)):
        ...     y = draw.integers(0, 2, 1000)
        ...     noise = 8 * draw.normal(size=1000)
        ...     for name, sign in (("a", 1), ("b", -1)):
        ...         odds = np.where(y == 1, 1, -1) * (3 + lift + sign * noise)
        ...         logits = np.stack([0 * odds, odds], 1)
        ...         said[name] |= {f"{side}_logits": logits, f"{side}_labels": y}
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name, arrays in said.items():
        ...         np.savez(f"{folder}/{name}.npz", **arrays)
        ...     found = audit_jointly([f"{folder}/a.npz", f"{folder}/b.npz"])
        >>> print(found.verdict.status, [str(file.verdict) for file in found.document.files])
        FAIL ['PASS', 'PASS']
    """
    started = time.perf_counter()
    require_output_kind(outputs)
    folder, on_event = folder_of(out), listener(on_event)
    arguments = AuditArguments.checked(
        level=level,
        seed=seed,
        limits=limits,
        shadows=shadows,
        classes=classes,
        accuracy=accuracy,
    )
    named = attacks_named(attacks)
    require_results_folder(folder)
    trackers = checked_trackers(trackers, folder=folder)
    asking = QueryPlan(
        load_section(DataConfig, data, where="data") if isinstance(data, Mapping) else data,
        seed=arguments.seed,
        budget=Budget(float("inf"), started),
        trust_code=trust_code,
        shadows=arguments.shadows,
        outputs=outputs,
        classes=arguments.classes,
        listen=on_event,
        groups=groups,
        group_by=tuple(group_by),
        accuracy=arguments.accuracy,
        model=model,
    )
    settings = {
        "limits": asdict(arguments.limits),
        "level": arguments.level,
        "seed": arguments.seed,
        "shadows": arguments.shadows.count,
        "attacks": sorted(map(qualified, named)),
        "group_by": sorted(group_by),
    }
    first = next(iter(_listed(targets)), None)
    job = Job("audit", name_of(first, folder), settings, folder, code_of(surroundings()))
    with shown(progress, on_event) as heard, tracking(trackers, job, heard) as tracked:
        asking = replace(asking, listen=tracked)
        case = open_jointly(
            [model_or_path(target, "targets") for target in _listed(targets)],
            asking,
            baseline=model_or_path(baseline, "baseline"),
            verdict_on=settings,
        )
        verdict, document = judge_jointly(
            case,
            arguments.limits,
            named=named,
            level=arguments.level,
            seed=arguments.seed,
            on_event=tracked,
        )
        if folder is not None:
            made_with = surroundings() | {
                "seed": arguments.seed,
                "audited": {n: c.identity for n, c in zip(case.names, case.cases, strict=True)},
                "seconds": {"verdict": time.perf_counter() - started},
            }
            write_results(folder, verdict, made_with)
        tracked.results(lambda: verdict_results(verdict.document.to_json(), folder))
    return JointAudit(folder, verdict, document)


def _listed(targets: Any) -> list[Any]:
    if isinstance(targets, str | bytes | Path | Mapping) or not isinstance(targets, Iterable):
        raise ConfigError(
            f"targets: got {targets!r:.80}; expected a list of two or more files or models."
        )
    return list(targets)
