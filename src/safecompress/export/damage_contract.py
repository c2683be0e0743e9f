"""What an export format must do with files that were changed since they were written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from safecompress.errors import ModelError
from safecompress.export.format import Format
from safecompress.randomness import generator

_FLIPS = 24
"""Bits that are flipped, one at a time: a format that checks half of its bytes is seen."""


def refuses_damaged(
    form: Format, path: Path, content: bytes, *, at: Path, seed: int
) -> Iterator[str]:
    """Yield the damage that a format's `verify` does not answer with a `ModelError`.

    Args:
        form: the format.
        path: a sound file, its name as the format wants it.
        content: of the file at `at`.
        at: what is overwritten, the file or one of its companions.
        seed: of the bits that are flipped.
    """
    for what, left in _cut(content).items():
        at.write_bytes(left)
        if answer := _wrong_answer(form, path):
            yield f"verify of a file {what} {answer}"
    flipped = {}
    for byte, changed in _flipped(content, seed).items():
        at.write_bytes(changed)
        if answer := _wrong_answer(form, path):
            flipped[byte] = answer
    if flipped:
        byte, answer = next(iter(flipped.items()))
        yield (
            f"verify of a file with one flipped bit {answer} (byte {byte} of {len(content)}, and "
            f"{len(flipped)} of {_FLIPS} bits tried); write a checksum of all bytes into the file"
        )


def _wrong_answer(form: Format, path: Path) -> str:
    """Return what `verify` does instead of raising a `ModelError`; empty where it does that."""
    try:
        form.verify(path)
    except ModelError:
        return ""
    except Exception as error:
        return f"raised {type(error).__name__}; expected a ModelError that says what is wrong"
    return "finds nothing wrong; expected a ModelError"


def _cut(content: bytes) -> Mapping[str, bytes]:
    """Return what may be left of a file, by the words that say so."""
    return {
        "of which nothing is left": b"",
        "of which half is left": content[: len(content) // 2],
        "without its last byte": content[:-1],
        "with a byte too many": content + b"\0",
    }


def _flipped(content: bytes, seed: int) -> Mapping[int, bytes]:
    """Return a file with one flipped bit each, by the byte that the bit is in."""
    draw = generator(seed, "contract", "bits")
    bits = torch.randint(8, (_FLIPS,), generator=draw).tolist()
    places = torch.randint(len(content), (_FLIPS,), generator=draw).tolist()
    return {
        byte: content[:byte] + bytes([content[byte] ^ (1 << bit)]) + content[byte + 1 :]
        for byte, bit in zip(places, bits, strict=True)
    }
