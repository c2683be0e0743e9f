"""`compact_bytes`: a model as a compact file, which `safecompress_reader` reads without torch.

The file is a safetensors file: for each masked weight one stream of positions and one of values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor

from safecompress.errors import ConfigError, ModelError
from safecompress.export.format import NO_LAYERS
from safecompress.export.packing import GRIDS, gap_stream, pack_halves, quantize
from safecompress.topology import Topology
from safecompress.transforms import Quantization
from safecompress_reader import HEADER, SCHEMA_VERSION, digest

INSTALL_ZSTD = "pip install 'safecompress[export]'"
_LEVEL = 19
_LONG = 1024
"""Shortest stream, in bytes, that gets a zstd frame of its own; a frame costs some bytes."""
Array = NDArray[Any]


def compact_bytes(
    weights: Mapping[str, Tensor],
    topology: Topology,
    *,
    values: str,
    squeezed: bool = False,
    facts: Mapping[str, Any] | None = None,
    numbers: Quantization | None = None,
    kept: Mapping[str, str] = NO_LAYERS,
) -> bytes:
    """Return a compact file of a model.

    Of a masked weight the file holds the existing values and their positions, either as gaps or as
    one bit per entry, whichever is smaller (after zstd where `squeezed`). A weight that exists is
    written even where rounding makes it zero, so that the topology can be read back. Tied weights
    are written once.

    Args:
        weights: the module's state_dict.
        topology: which weights exist; tensors without a mask are written densely.
        values: `fp32`, `fp16`, `int8` or `int4`.
        squeezed: whether the caller packs the bytes with zstd; position streams are then chosen by
            their entropy instead of their length.
        facts: JSON values for the header: what the model is, its verdict.
        numbers: what quantization-aware training fixed. Its scales are used where the format has at
            least as many bits; its ranges of layers' inputs go into the header as `ranges`.

        kept: other number formats of masked weights, by name; the finer ones than `values`.

    Returns:
        The bytes of a safetensors file whose header holds `facts`, the layout and a SHA-256.

    Raises:
        ModelError: when a masked weight is not float32, not finite, or too large for fp16.
    """
    tensors: dict[str, Array] = {}
    layout: dict[str, dict[str, Any]] = {}
    first: dict[tuple[Any, ...], str] = {}
    # Held whole: an address only means something while the tensor is there.
    for name, tensor in dict(weights).items():
        place = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if tensor.numel() and place in first:
            layout[name] = {"same_as": first[place]}
            continue
        first[place] = name
        mask = topology.masks.get(name)
        plain = tensor.detach().cpu().contiguous()
        if mask is None:
            layout[name] = {"values": "dense"}
            tensors[f"dense/{name}"] = _plain(name, plain)
        else:
            scale, kind = None, kept.get(name, values)
            if numbers is not None and kind in GRIDS and numbers.bits <= int(kind[3:]):
                scale = numbers.scales[name].cpu().numpy()
            packed = _packed(name, plain, mask.cpu().numpy(), kind, scale)
            packed |= _places(mask.cpu().numpy(), squeezed=squeezed)
            layout[name] = {"shape": list(plain.shape), "values": kind}
            tensors |= {f"{part}/{name}": array for part, array in packed.items()}
    document = {"schema_version": SCHEMA_VERSION, "tensors": layout, **(facts or {})}
    if numbers is not None and numbers.ranges:
        document["ranges"] = {layer: b.tolist() for layer, b in numbers.ranges.items()}
    # The digest must be that of the document a reader parses, in which tuples have become lists.
    document = json.loads(json.dumps(document, allow_nan=False))
    signed = {"sha256": digest(document, tensors), **document}
    return bytes(save(tensors, metadata={HEADER: json.dumps(signed, separators=(",", ":"))}))


def zstd(data: bytes, *, cuts: Sequence[int] = ()) -> bytes:
    """Return `data` packed with zstd, level 19.

    Args:
        data: bytes to pack.
        cuts: offsets at which a new frame begins, ascending. Streams of different kinds compress
            better apart, because their byte frequencies differ; any zstd reads consecutive frames
            as one file.

    Raises:
        ConfigError: when the package `zstandard` is not installed.
    """
    try:
        import zstandard
    except ImportError as error:
        raise ConfigError(f"zstandard is not installed; {INSTALL_ZSTD}.") from error
    packer = zstandard.ZstdCompressor(level=_LEVEL)
    ends = [0, *cuts, len(data)]
    return b"".join(packer.compress(data[a:b]) for a, b in pairwise(ends) if a < b)


def stream_cuts(data: bytes) -> list[int]:
    """Return the offsets at which long streams of a compact file begin and end, ascending.

    Args:
        data: an unpacked compact file.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    at = sorted(how["data_offsets"] for name, how in header.items() if name != "__metadata__")
    long = {end for span in at if span[1] - span[0] >= _LONG for end in span}
    return sorted(8 + length + end for end in long)


def _plain(name: str, tensor: Tensor) -> Array:
    try:
        return np.asarray(tensor.numpy())
    except TypeError as error:
        raise ModelError(
            f"export: '{name}' is of {tensor.dtype}, which numpy does not know; convert the model "
            "with .float() first."
        ) from error


def _packed(
    name: str,
    tensor: Tensor,
    mask: NDArray[np.bool_],
    values: str,
    scale: NDArray[np.float32] | None,
) -> dict[str, Array]:
    weight = require_float32(name, tensor)
    parts: dict[str, Array] = {}
    numbers: Array = np.where(mask, weight, np.float32(0))
    if values in GRIDS:
        rounded = quantize(numbers, values, scale=scale)
        numbers, parts["scale"] = rounded.values, rounded.scale
    elif values == "fp16":
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float16)
        if not np.isfinite(numbers).all():
            raise ModelError(f"export: '{name}' holds values too large for fp16; use fp32 or int8.")
    kept = numbers[mask]
    return parts | {"values": pack_halves(kept) if values == "int4" else kept}


def _places(mask: NDArray[np.bool_], *, squeezed: bool) -> dict[str, Array]:
    """Return the positions of existing weights in the smaller encoding; empty where all exist."""
    if mask.all():
        return {}
    ways = {"gaps": gap_stream(mask), "bits": np.packbits(mask.reshape(-1))}
    cost = entropy_bytes if squeezed else len
    best = min(ways, key=lambda way: cost(ways[way]))
    return {best: ways[best]}


def entropy_bytes(stream: NDArray[np.uint8]) -> float:
    """Return the size in bytes of an ideal code for a stream of independent bytes (its entropy).

    Args:
        stream: uint8 (n,).
    """
    counts = np.bincount(stream, minlength=1)
    share = counts[counts > 0] / max(len(stream), 1)
    return float(-(share * np.log2(share)).sum() * len(stream) / 8)


def require_float32(name: str, tensor: Tensor) -> NDArray[np.float32]:
    """Return a weight as a numpy array of the same shape.

    Args:
        name: of the weight, for messages.
        tensor: the weight, on any device.

    Raises:
        ModelError: when it is not float32, or holds NaN or infinity.
    """
    if tensor.dtype != torch.float32:
        raise ModelError(
            f"export: '{name}' is of {tensor.dtype}; expected float32. Convert the model with "
            ".float() first."
        )
    if not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"export: '{name}' holds values that are NaN or infinite.")
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)
