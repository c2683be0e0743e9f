"""`StoredModel`, `read_model`, `write_model`: the model file, in safetensors format without pickle.

Weights keep their state_dict names, so any tool can read them. Quantized weights are stored
rounded, and their quantization steps can be computed from them. Masks are stored as packed bits
under `topology/NAME`; the ranges of layers' inputs and the remaining channels under `transforms/`.
Everything else is JSON in the header's `safecompress` entry, together with the SHA-256 of the JSON
and the tensors: a file that was changed after it was written is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.errors import DataError
from safecompress.files import parsed_json, reading_safetensors, tensors_digest, write_tensors
from safecompress.packed import bits_of, places_of
from safecompress.topology import Topology
from safecompress.transforms import PLAIN, Quantization, Transforms

SCHEMA_VERSION = 1
_PREFIX = "topology/"
_TRANSFORMS = "transforms/"


@dataclass(frozen=True)
class StoredModel:
    """The contents of a model file.

    Args:
        weights: the module's state_dict, as the module computes with it: rounded where the model
            is quantized.
        topology: which maskable weights exist.
        metadata: JSON values, such as the model's name, classes, input shape and lineage.
        transforms: bits of the weights, rounding of layers' inputs, and the removed channels.
    """

    weights: Mapping[str, Tensor]
    topology: Topology
    metadata: Mapping[str, Any]
    transforms: Transforms = PLAIN

    def candidate(self) -> Candidate:
        """Return the model as a candidate without optimizer state."""
        lineage = tuple(self.metadata.get("lineage", ()))
        return Candidate(
            self.weights, {}, self.topology, {}, transforms=self.transforms, lineage=lineage
        )

    def quantized(self) -> Quantization | None:
        """Return how the model's numbers are stored as integers; None for an fp32 model."""
        return self.transforms.quantized(self.weights, self.topology)


def write_model(path: Path, model: StoredModel) -> None:
    """Write a model file atomically; equal models give equal bytes.

    Args:
        path: the file to write.
        model: its contents.

    Raises:
        StorageError: when the file cannot be written.
    """
    tensors = dict(model.weights)
    for name, mask in model.topology.masks.items():
        tensors[_PREFIX + name] = bits_of(mask.cpu())
    document = {"schema_version": SCHEMA_VERSION, **model.metadata}
    if model.transforms:
        document["transforms"] = model.transforms.settings()
        tensors |= {_TRANSFORMS + n: t for n, t in model.transforms.tensors().items()}
    # All of it is one entry: safetensors writes several header entries in no fixed order, and equal
    # runs must give equal bytes.
    signed = {"sha256": _digest(document, tensors), **document}
    write_tensors(path, tensors, {"safecompress": json.dumps(signed, allow_nan=False)})


def read_model(path: Path) -> StoredModel:
    """Read a model file.

    Args:
        path: the file.

    Raises:
        DataError: when it is missing, damaged, or of another kind or schema version.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such model file.")
    with reading_safetensors(path), safe_open(path, framework="pt") as handle:
        header = (handle.metadata() or {}).get("safecompress")
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    metadata = _parse_header(header, tensors, path)
    transforms = _transforms(tensors, metadata, path)
    weights = {n: t for n, t in tensors.items() if not n.startswith(_PREFIX)}
    masks = {}
    for stored in tensors.keys() - weights.keys():
        name = stored.removeprefix(_PREFIX)
        if name not in weights:
            raise DataError(f"{path}: a topology for '{name}', which has no weights; damaged file.")
        masks[name] = _unpack(tensors[stored], weights[name].shape, path)
    ordered = {name: masks[name] for name in weights if name in masks}
    return StoredModel(weights, Topology(ordered), metadata, transforms)


def _transforms(tensors: dict[str, Tensor], metadata: dict[str, Any], path: Path) -> Transforms:
    """Remove the transforms from a file's tensors and metadata, and return them."""
    settings = metadata.pop("transforms", None)
    if settings is None:
        return PLAIN
    names = [name for name in tensors if name.startswith(_TRANSFORMS)]
    flat = {name.removeprefix(_TRANSFORMS): tensors.pop(name) for name in names}
    try:
        return Transforms.from_tensors(flat, settings)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: its transforms are damaged ({error!r}).") from error


def _parse_header(header: str | None, tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    try:
        document = parsed_json(header, encodable=True) if header else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise DataError(f"{path}: not written by SafeCompress (no 'safecompress' header).")
    recorded = document.pop("sha256", None)
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {version!r}; this version reads {SCHEMA_VERSION}. "
            "Update SafeCompress."
        )
    try:
        sound = recorded == _digest(document, tensors)
    except ValueError:
        # NaN, or a number beyond all floats, which no signature is made of.
        sound = False
    if not sound:
        raise DataError(
            f"{path}: damaged or changed since it was written (its SHA-256 is not the recorded "
            "one); put it back from a copy, or run again in a new folder."
        )
    del document["schema_version"]
    return document


def _digest(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    text = json.dumps(document, allow_nan=False) + tensors_digest(tensors)
    return hashlib.sha256(text.encode()).hexdigest()


def _unpack(bits: Tensor, shape: torch.Size, path: Path) -> Tensor:
    n = shape.numel()
    if bits.dtype != torch.uint8 or bits.numel() != (n + 7) // 8:
        raise DataError(f"{path}: a topology has {bits.numel()} bytes, expected {(n + 7) // 8}.")
    return places_of(bits, n).reshape(shape)
