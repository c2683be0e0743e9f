"""Tensors written one by one are the same file as the library writes, without its memory."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load, save

from safecompress.tensor_stream import _NAMES, write_stream


def known(dtype: torch.dtype) -> bool:
    """Return whether the installed library can write a type; older ones lack some."""
    try:
        return bool(save({"x": torch.zeros(1).to(dtype)}))
    except (KeyError, ValueError, SafetensorError):
        return False


KNOWN = [dtype for dtype in _NAMES if known(dtype)]
shapes = st.lists(st.integers(0, 3), max_size=3)
named = st.dictionaries(
    st.text(st.sampled_from('ab/|."ü\n'), min_size=1, max_size=6),
    st.tuples(st.sampled_from(KNOWN), shapes),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(named, st.booleans(), st.integers(0, 9))
def test_a_file_is_what_the_library_writes(parts, texts: bool, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, (dtype, shape) in parts.items():
        # Any bytes are a value of some type, but for booleans.
        values = torch.randint(0, 2, (*shape, dtype.itemsize), generator=draw, dtype=torch.uint8)
        tensors[name] = values.view(dtype).reshape(shape)
    metadata = {"note": "ü"} if texts else None
    written = io.BytesIO()
    write_stream(written, tensors, metadata)
    assert written.getvalue() == save(tensors, metadata=metadata)


def test_layout_and_shared_storage_do_not_matter() -> None:
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {"turned": base.T, "part": base[1:3, 2:4], "whole": base, "again": base}
    written = io.BytesIO()
    write_stream(written, tensors)
    found = load(written.getvalue())
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_other_types_are_named() -> None:
    with pytest.raises(TypeError, match=r"one: torch\.complex128"):
        write_stream(io.BytesIO(), {"one": torch.zeros(1, dtype=torch.complex128)})


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory from /proc")
def test_writing_takes_no_memory_for_another_copy() -> None:
    program = """
import io, re, torch
from pathlib import Path
from safecompress.tensor_stream import write_stream
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
tensors = {str(i): torch.ones(2_000_000) for i in range(30)}
with open("/dev/null", "wb") as target:
    before = peak()
    write_stream(target, tensors)
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 30, "240 MB were written"
