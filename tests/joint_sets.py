"""Sets of files with a known leak or none: recorded outputs of several versions of one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from safecompress.audits.joint_case import JointCase
from safecompress.audits.joint_suite import joint_scopes
from safecompress.audits.suite import Limits
from safecompress.audits.time_budget import Budget
from safecompress.checks import CheckResult
from safecompress.data import RecordedOutputs
from safecompress.protocols import Evidence, Outputs, Pool, References, Rows
from safecompress.verdicts.joint_finding import JointFinding, Scope, find_jointly

SIDES = ("member", "nonmember")


def said_of(
    draw: np.random.Generator,
    rows: int,
    *,
    signs: Sequence[float],
    lifts: Sequence[float] = (),
    noise: float = 1.0,
) -> list[dict[str, Any]]:
    """Return arrays of files of one model that differ by a shared noise and a little of their own.

    Args:
        draw: random generator.
        rows: members, and as many non-members.
        signs: by file, what the shared noise is multiplied with.
        lifts: by file, how much it raises the label's logit of a member; without any, nothing
            leaks.
        noise: standard deviation of the shared noise.
    """
    said: list[dict[str, Any]] = [{} for _ in signs]
    for side in SIDES:
        labels = draw.integers(0, 3, rows)
        at = np.arange(rows), labels
        base = draw.normal(size=(rows, 3))
        base[at] += 2 + draw.normal(size=rows)
        shared = noise * draw.normal(size=rows)
        for arrays, sign, lift in zip(said, signs, lifts or [0.0] * len(said), strict=True):
            logits = base + 0.2 * draw.normal(size=base.shape)
            logits[at] += (lift if side == "member" else 0.0) + sign * shared
            arrays |= {f"{side}_logits": logits.astype(np.float32), f"{side}_labels": labels}
    return said


def saved(said: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write files of recorded outputs, and return their paths."""
    paths = [folder / f"file-{number}.npz" for number in range(len(said))]
    for path, arrays in zip(paths, said, strict=True):
        np.savez(path, **arrays)
    return paths


def recorded(
    said: Sequence[dict[str, Any]],
    references: Sequence[Pool[References]] | None = None,
) -> list[RecordedOutputs]:
    """Return the files as an audit has them, with references in each file's format if given."""
    files = []
    for number, arrays in enumerate(said):
        first, evidence = 0, []
        for side in SIDES:
            labels = torch.from_numpy(arrays[f"{side}_labels"])
            ids = torch.arange(first, first + len(labels))
            first += len(labels)
            evidence.append(
                Evidence(Outputs(torch.from_numpy(arrays[f"{side}_logits"]), labels, ids))
            )
        known = Pool(*evidence)
        if references is not None:
            pairs = known.zip(references[number], lambda e, r: Evidence(e.outputs, references=r))
            known = pairs
        rows = known.map(
            lambda e: Rows(torch.zeros(len(e.outputs), 0), e.outputs.labels, e.outputs.ids)
        )
        count = 0 if references is None else len(references[number].members.seen)
        files.append(RecordedOutputs(known, "logits", count, Path(f"file-{number}"), rows))
    return files


def no_controls(scope: Scope, among: int) -> tuple[CheckResult, ...]:
    del scope, among
    return ()


def judged(
    files: Sequence[RecordedOutputs],
    *,
    seed: int,
    limits: Limits | None = None,
    controls: Callable[[Scope, int], tuple[CheckResult, ...]] = no_controls,
    level: float = 0.95,
) -> JointFinding:
    """Return the results of all scopes of a set, by default without controls."""
    names = tuple(str(file.path) for file in files)
    case = JointCase(names, tuple(files), ())
    made = joint_scopes(
        case, limits or Limits(), named=(), budget=Budget(float("inf"), 0.0), seed=seed
    )
    return find_jointly(
        made.scopes,
        dense=None,
        published=False,
        best_pair=made.best_pair,
        controls=controls,
        level=level,
        on_result=lambda _: None,
    )
