"""Made-up outputs of a model in an `.npz`, and `safecompress audit` called on such a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from safecompress.cli.app import app
from safecompress.errors import SafeCompressError

Arrays = dict[str, Any]
CLASSES = 10


def arrays(rows: int = 1500, *, leak: float = 0.0, seed: int = 0, **more: Any) -> Arrays:
    """Return outputs of a model right about two times in three; `leak` raises members' margins."""
    draw = np.random.default_rng(seed)
    found: Arrays = {}
    for group in ("member", "nonmember"):
        labels = draw.integers(0, CLASSES, rows)
        logits = draw.normal(size=(rows, CLASSES)).astype(np.float32)
        logits[np.arange(rows), labels] += 1.8 + (leak if group == "member" else 0.0)
        found |= {f"{group}_logits": logits, f"{group}_labels": labels}
    return found | more


def with_references(rows: int = 600, *, leak: float = 0.0, models: int = 16) -> Arrays:
    """Return outputs whose leak shows only beside models that did not see the row."""
    draw = np.random.default_rng(1)
    found: Arrays = {}
    for group in ("member", "nonmember"):
        labels = draw.integers(0, CLASSES, rows)
        hard = draw.normal(scale=3.0, size=rows)
        seen = draw.random((models, rows)).argsort(axis=0) < models // 2
        noise = draw.normal(size=(models + 1, rows, CLASSES)) * 0.3
        lift = np.concatenate([seen, np.full((1, rows), group == "member")]) * leak
        noise[:, np.arange(rows), labels] += hard + lift
        found |= {
            f"{group}_logits": noise[-1].astype(np.float32),
            f"{group}_labels": labels,
            f"{group}_reference_logits": noise[:-1].astype(np.float32),
            f"{group}_reference_seen": seen,
        }
    return found


def saved(folder: Path, found: Arrays, name: str = "outputs") -> Path:
    path = folder / f"{name}.npz"
    np.savez(path, **found)
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def code(result: Any) -> int:
    """Return the exit code that `main` gives."""
    if isinstance(result.exception, SafeCompressError):
        return result.exception.exit_code
    return int(result.exit_code)
