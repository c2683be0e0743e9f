"""Checkpoints: what a run has in hand, in files that prove themselves whole.

A checkpoint is two files in the run folder's `state/`: `NNNNNN.safetensors` holds the tensors, and
`NNNNNN.json`, written last, makes it count. The second names the SHA-256 of the first, of the
history that goes with it, and of itself. The checkpoint before the newest is kept: every step is
deterministic, so a run that has to go on from there ends in the same bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.errors import DataError
from safecompress.files import read_json, read_tensors, sha256, write_json, write_tensors


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands.

    Args:
        stage: the stage being worked on.
        round: the round being worked on, from 0.
        work: named candidates: the population and whatever of this round is under way.
        notes: JSON values that go with them.
    """

    stage: str
    round: int = 0
    work: Mapping[str, Candidate] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CommittedCheckpoint:
    """A checkpoint on disk, found whole.

    Args:
        serial: its number, from 1.
        history_bytes: how much of the history belongs to it.
        document: what its JSON file says.
    """

    serial: int
    history_bytes: int
    document: Mapping[str, Any]


def serials(state: Path) -> list[int]:
    """Return the numbers of the checkpoints in `state`, whole or not, in rising order."""
    return sorted(int(p.stem) for p in state.glob("*.json") if p.stem.isdecimal())


def write_checkpoint(
    state: Path, checkpoint: Checkpoint, *, serial: int, history: Path
) -> CommittedCheckpoint:
    """Write `checkpoint` as number `serial`, with the history as it is now.

    Raises:
        StorageError: when it cannot be written; earlier checkpoints are intact.
    """
    flat: dict[str, Tensor] = {}
    for key, candidate in checkpoint.work.items():
        flat |= {f"{key}|{n}": t for n, t in candidate.tensors().items()}
    tensors = _tensors_file(state, serial)
    write_tensors(tensors, flat)
    length = history.stat().st_size if history.exists() else 0
    document = {
        "stage": checkpoint.stage,
        "round": checkpoint.round,
        "work": {key: candidate.settings() for key, candidate in checkpoint.work.items()},
        "notes": dict(checkpoint.notes),
        "tensors_sha256": sha256(tensors),
        "history_bytes": length,
        "history_sha256": sha256(history, length=length) if length else None,
    }
    write_json(_document_file(state, serial), {"sha256": _digest(document), "checkpoint": document})
    return CommittedCheckpoint(serial, length, document)


def find_whole(state: Path, serial: int, *, history: Path) -> CommittedCheckpoint:
    """Return checkpoint number `serial` once every byte that it rests on has been checked.

    Raises:
        DataError: when it, or the history that goes with it, is damaged; says what.
    """
    path = _document_file(state, serial)
    envelope = read_json(path)
    document = envelope.get("checkpoint") if isinstance(envelope, dict) else None
    if not isinstance(document, dict) or envelope.get("sha256") != _digest(document):
        raise DataError(f"{path}: its SHA-256 is not the recorded one.")
    _require_same(_tensors_file(state, serial), document["tensors_sha256"])
    length = document["history_bytes"]
    if length:
        _require_same(history, document["history_sha256"], length=length)
    return CommittedCheckpoint(serial, length, document)


def read_checkpoint(state: Path, committed: CommittedCheckpoint) -> Checkpoint:
    """Return a checkpoint that was found whole, with its tensors.

    Raises:
        DataError: when its tensors have been damaged since.
    """
    document = committed.document
    groups: dict[str, dict[str, Tensor]] = {key: {} for key in document["work"]}
    for name, tensor in read_tensors(_tensors_file(state, committed.serial)).items():
        key, rest = name.split("|", 1)
        groups[key][rest] = tensor
    work = {
        key: Candidate.from_tensors(groups[key], settings)
        for key, settings in document["work"].items()
    }
    return Checkpoint(document["stage"], document["round"], work, document["notes"])


def drop_others(state: Path, keep: int) -> None:
    """Delete every checkpoint but number `keep`."""
    # The documents go first: a checkpoint without one does not count, so none is ever half there.
    for pattern in ("*.json", "*.safetensors"):
        for path in state.glob(pattern):
            if path.stem.isdecimal() and int(path.stem) != keep:
                path.unlink(missing_ok=True)


def _document_file(state: Path, serial: int) -> Path:
    return state / f"{serial:06d}.json"


def _tensors_file(state: Path, serial: int) -> Path:
    return state / f"{serial:06d}.safetensors"


def _digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _require_same(path: Path, recorded: str, *, length: int | None = None) -> None:
    try:
        found = sha256(path, length=length)
    except OSError as error:
        raise DataError(f"{path}: not readable ({error}).") from error
    if found != recorded:
        raise DataError(f"{path}: its SHA-256 is not the recorded one.")
