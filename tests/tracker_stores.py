"""Reads back what trackers wrote: with their own clients, and wandb's files with its own types."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _HEADER = 32768, 7


def wandb_records(folder: Path) -> Iterator[Any]:
    """Yield the records of an offline run: messages in a log of LevelDB's form, behind a head."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, place, parts = file.read_bytes(), _HEADER, b""
    assert data[:4] == b":W&B"
    while place + _HEADER <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + _HEADER])
        parts += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in {1, 4}:  # a whole record, or the last part of one
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


def wandb_figures(folder: Path) -> tuple[dict[str, list[Any]], dict[str, Any], dict[str, Any]]:
    """Return the history by name, the summary, and the settings of an offline run."""
    history: dict[str, list[Any]] = {}
    summary: dict[str, Any] = {}
    config: dict[str, Any] = {}
    for record in wandb_records(folder):
        for item in record.history.item:
            history.setdefault(item.key or "/".join(item.nested_key), []).append(
                json.loads(item.value_json)
            )
        for item in record.summary.update:
            summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        for item in record.run.config.update:
            config[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return history, summary, config


def board_figures(folder: Path) -> tuple[dict[str, list[tuple[int, float]]], dict[str, str]]:
    """Return TensorBoard's curves as (step, value) by name, and its texts by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder)).Reload()
    tags = read.Tags()
    curves = {n: [(p.step, p.value) for p in read.Scalars(n)] for n in tags["scalars"]}
    found = {n.removesuffix("/text_summary"): read.Tensors(n)[0] for n in tags["tensors"]}
    texts = {n: b"".join(t.tensor_proto.string_val).decode() for n, t in found.items()}
    return curves, texts
