"""`Checkpoint`, `CommittedCheckpoint`: a run's unfinished work, in files checked by SHA-256.

A checkpoint is two files in the run folder's `state/`: `NNNNNN.safetensors` holds the tensors, and
`NNNNNN.json` is written after it; without the second the checkpoint does not count. The JSON file
holds the SHA-256 of the tensors, of the history that belongs to the checkpoint, and of its own
content. The checkpoint before the newest is kept: every step is deterministic, so a run that
continues from the older one ends with the same bits.
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
from safecompress.packed import Packed, PackedTensors, flatten, unflatten


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands.

    Args:
        stage: the name of the stage under way.
        round: the round under way, from 0.
        work: candidates by name: the population and the unfinished candidates of this round.
        notes: JSON values that are stored with them.
    """

    stage: str
    round: int = 0
    work: Mapping[str, Candidate] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CommittedCheckpoint:
    """A checkpoint on disk whose files have been checked.

    Args:
        serial: its number, from 1.
        history_bytes: bytes at the start of the history that belong to it.
        document: the content of its JSON file, without its SHA-256.
    """

    serial: int
    history_bytes: int
    document: Mapping[str, Any]


def serials(state: Path) -> list[int]:
    """Return the numbers of the checkpoints in `state`, damaged ones included, in rising order.

    Args:
        state: the folder `state/` of a run folder.
    """
    return sorted(int(p.stem) for p in state.glob("*.json") if p.stem.isdecimal())


def write_checkpoint(
    state: Path, checkpoint: Checkpoint, *, serial: int, history: Path
) -> CommittedCheckpoint:
    """Write a checkpoint together with the length and SHA-256 of the present history.

    Args:
        state: the folder `state/` of a run folder.
        checkpoint: where the run stands.
        serial: the checkpoint's number, from 1, above all earlier ones.
        history: the history file; it need not exist.

    Raises:
        StorageError: when it cannot be written; earlier checkpoints are intact.
    """
    held: dict[str, Tensor | Packed] = {}
    for key, candidate in checkpoint.work.items():
        held |= {f"{key}|{n}": t for n, t in PackedTensors.of(candidate.tensors()).stored.items()}
    flat, shapes = flatten(PackedTensors(held))
    tensors = _tensors_file(state, serial)
    write_tensors(tensors, flat)
    length = history.stat().st_size if history.exists() else 0
    document = {
        "stage": checkpoint.stage,
        "round": checkpoint.round,
        "work": {key: candidate.settings() for key, candidate in checkpoint.work.items()},
        "notes": dict(checkpoint.notes),
        "packed": shapes,
        "tensors_sha256": sha256(tensors),
        "history_bytes": length,
        "history_sha256": sha256(history, length=length) if length else None,
    }
    write_json(_document_file(state, serial), {"sha256": _digest(document), "checkpoint": document})
    return CommittedCheckpoint(serial, length, document)


def find_whole(state: Path, serial: int, *, history: Path) -> CommittedCheckpoint:
    """Return a checkpoint after checking the SHA-256 of its two files and of its history.

    Args:
        state: the folder `state/` of a run folder.
        serial: the checkpoint's number.
        history: the history file.

    Raises:
        DataError: when the checkpoint or its part of the history is damaged, naming the file.
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
    """Return a checked checkpoint with its tensors.

    Args:
        state: the folder `state/` of a run folder.
        committed: what `write_checkpoint` or `find_whole` returned.

    Raises:
        DataError: when its tensors have been damaged since.
    """
    document = committed.document
    groups: dict[str, dict[str, Tensor | Packed]] = {key: {} for key in document["work"]}
    path = _tensors_file(state, committed.serial)
    try:
        packed = unflatten(read_tensors(path), document["packed"])
    except ValueError as error:
        raise DataError(f"{path}: {error}.") from error
    for name, tensor in packed.stored.items():
        key, tensor_name = name.split("|", 1)
        groups[key][tensor_name] = tensor
    work = {
        key: Candidate.from_tensors(PackedTensors(groups[key]), settings)
        for key, settings in document["work"].items()
    }
    return Checkpoint(document["stage"], document["round"], work, document["notes"])


def drop_others(state: Path, keep: int) -> None:
    """Delete every checkpoint but one.

    Args:
        state: the folder `state/` of a run folder.
        keep: number of the checkpoint that stays; 0 deletes all.
    """
    # JSON files are deleted first: without one a checkpoint does not count, so a kill in between
    # leaves no checkpoint that lacks its tensors.
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
        digest = sha256(path, length=length)
    except OSError as error:
        raise DataError(f"{path}: not readable ({error}).") from error
    if digest != recorded:
        raise DataError(f"{path}: its SHA-256 is not the recorded one.")
