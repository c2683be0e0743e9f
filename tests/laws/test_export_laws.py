"""Files that were changed: a typed error or the model as it was, never anything else.

Every mutation is drawn anew: bits flipped, bytes overwritten, blocks removed, doubled, swapped or
taken from elsewhere in the file, the file cut short, numbers in its header made large.
"""

from __future__ import annotations

import time
import tracemalloc
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from safecompress.errors import ModelError
from safecompress.export import FORMATS, verify
from safecompress.export.compact_format import CompactFormat
from safecompress.export.signed_program import signed_program
from safecompress_reader import read_compact
from tests.export_models import context, written
from tests.support import count

pytest.importorskip("onnx")
KINDS = (
    "safetensors-int8",
    "safetensors-int4",
    "zst",
    "onnx-sparse-int8",
    "onnx-sparse-int8-dynamic",
    "executorch",
)
MOST_SECONDS, MOST_BYTES = 5.0, 256 << 20
_HEADER = 3000


@cache
def sound(kind: str) -> bytes:
    if kind == "executorch":
        # Its program is opaque to us: any bytes will do, and none of them may change.
        program = np.random.default_rng(1).bytes(5000)
        return signed_program(program, {"format": kind, "inputs": ["inputs"], "rows": 64})
    if kind == "zst":
        packed = {"safetensors-int8": {"packed": True}}
        return written(context("mlp"), packed, {"format": "safetensors-int8"})
    return written(context("mlp"), kind, {"format": kind})


def mutated(data: bytes, draw: np.random.Generator) -> bytes:
    """Return a changed copy; half of the changes are near the header, where sizes stand."""
    out = bytearray(data)
    for _ in range(int(draw.integers(1, 4))):
        reach = min(len(out), _HEADER) if draw.random() < 0.5 else len(out)
        at = int(draw.integers(0, max(reach, 1)))
        length = int(draw.integers(1, 64))
        match int(draw.integers(0, 7)):
            case 0:
                out[at] ^= 1 << int(draw.integers(0, 8))
            case 1:
                out[at : at + length] = draw.integers(0, 256, length, dtype=np.uint8).tobytes()
            case 2:
                del out[at : at + length]
            case 3:
                out[at:at] = out[at : at + length]
            case 4:
                start = int(draw.integers(0, len(out)))
                out[at : at + length] = out[start : start + length]
            case 5:
                digits = [i for i in range(at, min(at + 200, len(out))) if 48 <= out[i] < 58]
                for i in digits[:12]:
                    out[i] = 57
            case _:
                del out[at:]
        if not out:
            break
    return bytes(out)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_refused_or_reads_as_it_was(kind: str, tmp_path: Path) -> None:
    form = FORMATS.build("safetensors-int8" if kind == "zst" else kind, where="test")
    path = tmp_path / f"m{form.suffixes[0]}"
    path.write_bytes(sound(kind))
    facts = verify(path, form)
    weights = read_compact(path).weights if isinstance(form, CompactFormat) else None
    refused: list[str] = []
    slowest = 0.0
    tracemalloc.start()
    for seed in range(count(120, 3000)):
        data = mutated(sound(kind), np.random.default_rng(seed))
        if data == sound(kind):
            continue
        path.write_bytes(data)
        started = time.perf_counter()
        try:
            said = verify(path, form)
        except ModelError as error:
            refused.append(str(error))
            continue
        finally:
            slowest = max(slowest, time.perf_counter() - started)
        # What a change did not touch (zstd allows it) must still be the model as it was.
        assert weights is not None, f"seed {seed}: a changed file was taken"
        assert said == facts, seed
        for name, array in read_compact(path).weights.items():
            np.testing.assert_array_equal(array, weights[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(refused) > 0.9 * count(120, 3000)
    assert not [told for told in refused if "\n" in told or str(path) not in told]
    assert slowest < MOST_SECONDS
    assert peak < MOST_BYTES
