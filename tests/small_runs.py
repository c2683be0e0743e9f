"""A run small enough to be repeated for every fault, and what it must end with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from safecompress import Splits, compress, splits_from_arrays
from safecompress.attacks import blind
from safecompress.compress import Run
from safecompress.compression import judgment, progress
from safecompress.errors import SafeCompressError
from safecompress.events import Event, Listener, silent
from safecompress.protocols import Rows
from safecompress.run.folder import VERDICT, RunFolder, read_history

TRAIN = {"epochs": 2, "lr": 0.05, "batch_size": 50, "precision": "32-true"}
SETTINGS: dict[str, Any] = {
    "sparse": {"density": 0.5, "rounds": 2, "settle_epochs": 0.5, "train": TRAIN},
    # Changed twice, a candidate of SET never is the same as its sibling of RigL.
    "steer": {
        "search": "every-round",
        "proposals": ["rigl", {"set": {"updates": 2}}],
        "attacks": ["loss"],
    },
    "verdict": {
        "checks": [{"measure": {"attack": {"attack": "loss"}}, "condition": {"at_most": 0.9}}]
    },
    "engine": {"threads": 1, "checkpoint_seconds": 0},
}


class Stopped(Exception):
    """What a listener raises to end a run at a chosen place."""


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def taught(model: nn.Module, rows: Rows) -> nn.Module:
    """Return a model after a few steps on some rows; given weights have to know their members."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(rows.inputs), rows.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model


@cache
def splits(seed: int = 0) -> Splits:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(400, 6, generator=draw)
    return splits_from_arrays(x, x[:, :3].argmax(dim=1), seed=0)


def begin(folder: Path, on_event: Listener = silent, **changes: Any) -> Run:
    return compress(make_model, splits(), config=SETTINGS | changes, out=folder, on_event=on_event)


def go_on(folder: Path, on_event: Listener = silent) -> Run:
    return compress(make_model, splits(), resume=folder, on_event=on_event)


def stopping_at(kind: str, number: int, error: BaseException | None = None) -> Listener:
    """Return a listener that raises at the `number`-th event of a kind."""
    seen = 0

    def listen(event: Event) -> None:
        nonlocal seen
        seen += event.kind == kind
        if event.kind == kind and seen == number:
            raise error or Stopped(f"{kind} {number}")

    return listen


@contextmanager
def brisk() -> Iterator[None]:
    """Leave out what takes long and no fault touches; commit whenever a commit is possible."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judgment, "COMPARED", (("loss", "auc"),))
        every = blind._classifiers
        patch.setattr(blind, "_classifiers", lambda seed: {"logistic": every(seed)["logistic"]})
        patch.setattr(progress, "CHECKPOINT_SHARE", float("inf"))
        yield


def without_seconds(value: Any) -> Any:
    """Drop what no two runs share: times."""
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k != "seconds"}
    if isinstance(value, list):
        return [without_seconds(v) for v in value]
    return value


def result(folder: Path) -> dict[str, Any]:
    """Return all that a finished run says, times left out."""
    return {
        "models": {p.name: p.read_bytes() for p in folder.glob("*.safetensors")},
        "history": without_seconds(read_history(folder)),
        "verdict": without_seconds(json.loads((folder / VERDICT).read_text())),
        "files": {p.name for p in folder.iterdir()},
    }


def kept(folder: Path) -> None:
    """Assert that a stopped run's folder is readable and free of half-written files."""
    read_history(folder)
    assert not list(folder.rglob("*.tmp"))
    reopened = RunFolder.reopen(folder)
    assert not reopened.warning
    reopened.restore()
    reopened.release()


def one_message(error: SafeCompressError, *, code: int) -> str:
    assert error.exit_code == code
    assert "\n" not in str(error)
    return str(error)
