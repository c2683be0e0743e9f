"""`read_compact`: read a compact model file with numpy and safetensors alone, without torch.

The file is a safetensors file, or one compressed with zstd as a whole, which needs `zstandard`. For
every packed tensor it stores the positions of the weights that exist, unless all do, and their
values:

- `gaps/NAME`, uint8: 0 to 254 is the number of zeros before the next weight, in row-major order;
  255 means 255 zeros with no weight after them. Where many weights exist, there is instead
- `bits/NAME`, uint8: one bit for every position, the first in the highest bit of the first byte.
- `values/NAME`: the weights in row-major order, fp32, fp16, int8 or int4. Two int4 share a byte,
  the first in the low half, each stored plus 8.
- `scale/NAME`, float32: for int8 and int4, the factor of each output channel's values.
- `dense/NAME`: a tensor that is not packed.

The header's `safecompress` entry is JSON: the schema version, how each tensor is stored, the
model's description and verdict, and the SHA-256 of all this and of every byte of the tensors. This
module may be copied into another project; it reads only the path it is given and runs nothing that
it reads.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

SCHEMA_VERSION = 1
ESCAPE = 255
"""The byte that stands for as many zeros with no weight after them."""
HEADER = "safecompress"
MAX_BYTES = 4 << 30
"""Default limit of the memory that the weights may take, in bytes."""
_ZSTD = b"\x28\xb5\x2f\xfd"
_MOST_EXPANSION = 1024
"""Largest ratio of unpacked to packed bytes; a larger one is a decompression bomb."""
_STEP = 1 << 14
_TYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_STORED: dict[str, Any] = {
    "fp32": np.float32,
    "fp16": np.float16,
    "int8": np.int8,
    "int4": np.uint8,
}
Array = NDArray[Any]


class DamagedFileError(ValueError):
    """A file that differs from what its writer wrote, or that this version cannot read."""


@dataclass(frozen=True)
class CompactModel:
    """Content of a compact file.

    Args:
        weights: the model's state by name; packed weights are float32 of their own shape, zero
            where no weight exists.
        masks: bool by name, True where a weight exists; only for tensors of which some are missing.
        metadata: the header's description of the model: name, classes, input shape, verdict,
            formats.
    """

    weights: Mapping[str, Array]
    masks: Mapping[str, Array]
    metadata: Mapping[str, Any]


def read_compact(path: str | Path, *, max_bytes: int = MAX_BYTES) -> CompactModel:
    """Read and verify a compact model file.

    Args:
        path: the file.
        max_bytes: largest memory in bytes that the weights may take; a file that needs more is
            refused before they are unpacked.

    Raises:
        DamagedFileError: when the file is missing, cut short, changed, too large, or of another
            kind or schema version; the message names the reason.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedFileError(f"{path}: cannot be read ({error}).") from error
    try:
        return _decode(_plain(data, max_bytes), max_bytes)
    except DamagedFileError as error:
        raise DamagedFileError(f"{path}: {error}") from error


def _plain(data: bytes, max_bytes: int) -> bytes:
    """Decompress zstd, and refuse a file that becomes larger than a sound file can be."""
    if not data.startswith(_ZSTD):
        return data
    try:
        import zstandard
    except ImportError as error:
        raise DamagedFileError("packed with zstd; pip install zstandard to read it.") from error
    most = min(max_bytes, _MOST_EXPANSION * len(data))
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    parts: list[bytes] = []
    size = 0
    try:
        while data:
            frame = unpacker.decompressobj()
            for start in range(0, len(data), _STEP):
                parts.append(frame.decompress(data[start : start + _STEP]))
                size += len(parts[-1])
                if size > most:
                    raise DamagedFileError(f"unpacks into more than {most:,} bytes; refused.")
                if frame.eof:
                    break
            if not frame.eof:
                raise DamagedFileError("damaged: its last zstd frame is cut short.")
            data = data[min(start + _STEP, len(data)) - len(frame.unused_data) :]
    except (zstandard.ZstdError, MemoryError) as error:
        raise DamagedFileError(f"damaged: zstd cannot unpack it ({error}).") from error
    return b"".join(parts)


def _decode(data: bytes, max_bytes: int) -> CompactModel:
    try:
        stored = dict(deserialize(data))  # type: ignore[no-untyped-call]
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])["__metadata__"][HEADER]
        document = json.loads(header)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFileError(f"damaged, or no compact model file ({_brief(error)}).") from error
    if not isinstance(document, dict):
        raise DamagedFileError("damaged: its header is no JSON object.")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DamagedFileError(
            f"schema version {str(version)[:20]}; this reader knows {SCHEMA_VERSION}."
        )
    tensors = {name: _tensor(name, view) for name, view in stored.items()}
    recorded = document.pop("sha256", None)
    if recorded != digest(document, tensors):
        raise DamagedFileError(
            "changed since it was written: its SHA-256 is not the recorded one; fetch it again."
        )
    return _unpacked(document, tensors, max_bytes)


def digest(document: Mapping[str, Any], tensors: Mapping[str, Array]) -> str:
    """Return the SHA-256 of a header and its tensors, as hex.

    Args:
        document: the header's JSON object, without its `sha256`.
        tensors: all tensors of the file by name.
    """
    sha256 = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        sha256.update(f"|{name}|{array.dtype.str}|{array.shape}|".encode())
        sha256.update(array.tobytes())
    return sha256.hexdigest()


def _tensor(name: str, view: Mapping[str, Any]) -> Array:
    if view["dtype"] not in _TYPES:
        raise DamagedFileError(f"'{name[:80]}' has the unknown type {view['dtype']}.")
    try:
        array = np.frombuffer(view["data"], dtype=_TYPES[view["dtype"]])
        return array.reshape(view["shape"])
    except ValueError as error:
        raise DamagedFileError(f"'{name[:80]}': {error}.") from error


def _unpacked(
    document: dict[str, Any], tensors: Mapping[str, Array], max_bytes: int
) -> CompactModel:
    """Return the unpacked weights; errors here are the writer's, because the digest was right."""
    layout = document.pop("tensors", None)
    if not isinstance(layout, dict):
        raise DamagedFileError("damaged: its header does not say how tensors are stored.")
    weights: dict[str, Array] = {}
    masks: dict[str, Array] = {}
    total, left = 0, set(tensors)
    for name, how in layout.items():
        try:
            if "same_as" in how:
                weights[name] = weights[how["same_as"]]
                continue
            if how["values"] == "dense":
                left.remove(f"dense/{name}")
                weights[name] = tensors[f"dense/{name}"]
                continue
            shape = tuple(_size(s) for s in how["shape"])
            total += 5 * math.prod(shape)
            if total > max_bytes:
                raise DamagedFileError(f"its weights take more than {max_bytes:,} bytes; refused.")
            left -= {f"{part}/{name}" for part in ("gaps", "bits", "values", "scale")}
            weights[name], mask = _weight(name, shape, how["values"], tensors)
            if mask is not None:
                masks[name] = mask
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DamagedFileError):
                raise
            raise DamagedFileError(f"damaged at '{str(name)[:80]}': {_brief(error)}.") from error
    if left:
        raise DamagedFileError(f"damaged: nothing says what '{min(left)[:80]}' is.")
    return CompactModel(weights, masks, document)


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"a size of {str(value)[:20]}")
    return value


def _weight(
    name: str, shape: tuple[int, ...], kind: str, tensors: Mapping[str, Array]
) -> tuple[Array, Array | None]:
    size = math.prod(shape)
    gaps, bits = tensors.get(f"gaps/{name}"), tensors.get(f"bits/{name}")
    at = None
    if gaps is not None:
        at = positions_of(gaps, size, name)
    elif bits is not None:
        at = _set_bits(bits, size, name)
    count = size if at is None else len(at)
    stored = tensors[f"values/{name}"]
    if kind not in _STORED or stored.dtype != _STORED[kind] or stored.ndim != 1:
        raise DamagedFileError(f"'{name}': its values are {stored.dtype}, not {kind!r}.")
    values = _numbers(stored, kind, count, name)
    if at is None:
        flat, mask = values, None
    else:
        flat, exists = np.zeros(size, np.float32), np.zeros(size, np.bool_)
        flat[at], exists[at] = values, True
        mask = exists.reshape(shape)
    weight = flat.reshape(shape)
    if kind in {"int8", "int4"}:
        scale = tensors[f"scale/{name}"]
        sound = scale.dtype == np.float32 and scale.shape == shape[:1]
        if not sound or not (np.isfinite(scale) & (scale > 0)).all():
            raise DamagedFileError(
                f"'{name}': its scales are not {shape[:1]} positive float32 numbers."
            )
        weight = weight * scale.reshape(-1, *[1] * (len(shape) - 1))
    return weight, mask


def positions_of(gaps: Array, size: int, name: str) -> NDArray[np.int64]:
    """Return the positions of the weights that a stream of gaps encodes, int64 and ascending.

    Args:
        gaps: uint8 (m,), as in `gaps/NAME`.
        size: number of positions of the flattened tensor.
        name: the tensor's name, for messages.

    Raises:
        DamagedFileError: when the gaps are not a row of uint8, or reach beyond the tensor's end.
    """
    if gaps.dtype != np.uint8 or gaps.ndim != 1:
        raise DamagedFileError(f"'{name}': its gaps are {gaps.dtype}, not a row of uint8.")
    escapes = gaps == ESCAPE
    steps = gaps.astype(np.int64) + 1
    steps[escapes] = ESCAPE
    ends = np.cumsum(steps)
    if len(ends) and int(ends[-1]) > size:
        raise DamagedFileError(
            f"'{name}': its gaps reach position {int(ends[-1])} of {size}; they were shuffled, or "
            "belong to another tensor."
        )
    at: NDArray[np.int64] = ends[~escapes] - 1
    return at


def _set_bits(bits: Array, size: int, name: str) -> NDArray[np.int64]:
    if bits.dtype != np.uint8 or bits.shape != ((size + 7) // 8,):
        raise DamagedFileError(f"'{name}': its bits are not {(size + 7) // 8} bytes.")
    at: NDArray[np.int64] = np.flatnonzero(np.unpackbits(bits))
    if len(at) and at[-1] >= size:
        raise DamagedFileError(f"'{name}': a bit after the last of {size} places.")
    return at


def _numbers(stored: Array, kind: str, count: int, name: str) -> NDArray[np.float32]:
    """Return the weights' values as float32 (count,); int8 and int4 are not yet scaled."""
    if kind == "int4":
        if len(stored) != (count + 1) // 2:
            raise DamagedFileError(f"'{name}': {len(stored)} bytes of int4 for {count} weights.")
        halves = np.stack([stored & 15, stored >> 4], axis=1).reshape(-1).astype(np.int8) - 8
        if (halves == -8).any() or halves[count:].any():
            raise DamagedFileError(f"'{name}': int4 values outside -7 to 7, or after the last.")
        return halves[:count].astype(np.float32)
    if len(stored) != count:
        raise DamagedFileError(f"'{name}': {len(stored)} values for {count} weights.")
    if kind == "int8" and (stored == -128).any():
        raise DamagedFileError(f"'{name}': an int8 value outside -127 to 127.")
    values = stored.astype(np.float32)
    if not np.isfinite(values).all():
        raise DamagedFileError(f"'{name}': a value that is NaN or infinite.")
    return values


def _brief(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:160]
