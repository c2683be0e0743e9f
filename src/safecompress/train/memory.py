"""`kept_memory`: glibc keeps freed memory for the next training step.

Every training step allocates and frees activations and gradients of the same sizes. By default
glibc returns each large block to the system, which clears it page by page at the next allocation.
With feature maps of megabytes that takes up to a third of a step.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache

# Parameters of mallopt(3), as <malloc.h> numbers them.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20}
# Setting any of them switches off glibc's own adaptation, so the limits it can reach are restored
# rather than its starting values.
_RETURN = {
    _MMAP_MAX: 65536,
    _MMAP_THRESHOLD: 32 << 20,
    _TRIM_THRESHOLD: 64 << 20,
    _TOP_PAD: 128 << 10,
}


@contextmanager
def kept_memory() -> Iterator[None]:
    """Run a block in which freed memory stays with the process; results are the same bit for bit.

    The block keeps as much memory as its largest step; afterwards glibc returns freed memory to the
    system again. Under another C library this does nothing.
    """
    _set(_KEEP)
    try:
        yield
    finally:
        _set(_RETURN)


def _set(values: Mapping[int, int]) -> None:
    mallopt = _mallopt()
    if mallopt is not None:
        for parameter, value in values.items():
            mallopt(parameter, value)


@cache
def _mallopt() -> Callable[[int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return None
    function: Callable[[int, int], int] = library.mallopt
    return function
