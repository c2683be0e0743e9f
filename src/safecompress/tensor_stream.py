"""`write_stream`: tensors written as safetensors one after the other, without a copy of them all.

The library's own writers make one object of all bytes first, which costs as much memory again as
everything that is stored: for a checkpoint of several candidates, several models.

Reference: the format of safetensors, https://github.com/huggingface/safetensors#format. The order
of the tensors, largest alignment first and then by name, is the one that the library writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import BinaryIO

import torch
from torch import Tensor

_NAMES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.float32: "F32",
    torch.complex64: "C64",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint64: "U64",
}
"""Names of the format, in the order in which the library sorts them."""
_RANK = {dtype: rank for rank, dtype in enumerate(_NAMES)}


def write_stream(
    target: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors in the format of safetensors.

    Args:
        target: a file that is open for writing.
        tensors: tensors by name, on any device and of any layout; each is written in full, also
            where several share storage.
        metadata: texts by name.

    Raises:
        OSError: when the disk is full.
        TypeError: when a tensor is of a type that the format lacks.
    """
    names = sorted(tensors, key=lambda name: (-_rank(tensors[name], name), name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    target.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        plain = tensors[name].detach().cpu().contiguous()
        if plain.numel():
            target.write(plain.reshape(-1).view(torch.uint8).numpy().data)


def _rank(tensor: Tensor, name: str) -> int:
    if tensor.dtype not in _RANK:
        raise TypeError(f"{name}: {tensor.dtype} cannot be stored in safetensors")
    return _RANK[tensor.dtype]
