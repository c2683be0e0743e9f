"""`is_packed`, `repack_`: parameters that share no memory and leave no gaps in it.

Masked training reads and writes parameters in the order of their addresses. A parameter that is a
view with gaps would be read past its end, and one that overlaps another would change with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from torch import Tensor, nn


def is_packed(tensor: Tensor) -> bool:
    """Return whether a tensor's entries fill one stretch of memory, each at its own address.

    Args:
        tensor: any strided tensor, in any memory format.
    """
    axes = sorted(
        (stride, size)
        for stride, size in zip(tensor.stride(), tensor.shape, strict=True)
        if size != 1
    )
    expected = 1
    for stride, size in axes:
        if stride != expected:
            return False
        expected *= size
    return True


def repack_(module: nn.Module, remark: Callable[[str], None]) -> None:
    """Give every parameter memory of its own without gaps; parameters that are one view become one.

    Args:
        module: any module, changed in place; values stay the same.
        remark: called with a sentence about the parameters that were changed.
    """
    shared = _overlapping(module)
    first: dict[tuple[object, ...], str] = {}
    kept: dict[str, nn.Parameter] = {}
    tied, moved = [], []
    for name, parameter in module.named_parameters():
        data = parameter.data
        view = (data.data_ptr(), tuple(data.shape), data.stride(), data.dtype)
        if parameter.numel() and view in first:
            _replace_(module, parameter, kept[first[view]])
            tied.append(f"'{name}' with '{first[view]}'")
            continue
        whole = parameter
        if parameter.is_inference():
            whole = nn.Parameter(data.clone(), requires_grad=parameter.requires_grad)
            _replace_(module, parameter, whole)
        elif name in shared or not is_packed(data):
            parameter.data = data.contiguous().clone()
            moved.append(f"'{name}'")
        first[view], kept[name] = name, whole
    if tied:
        remark(f"model: parameters that share all their memory are one: {', '.join(tied)}")
    if moved:
        remark(
            f"model: parameters that are views of other memory got their own: {', '.join(moved)}"
        )


def _overlapping(module: nn.Module) -> set[str]:
    """Return parameters whose stretch of memory, first to last entry, another's begins within."""
    places = sorted(
        (str(p.device), _begin(p), _end(p), name)
        for name, p in module.named_parameters()
        if p.numel()
    )
    found: set[str] = set()
    for (device, _, end, name), (other, begin, _, following) in pairwise(_reaching(places)):
        if device == other and begin < end:
            found |= {name, following}
    return found


def _reaching(places: list[tuple[str, int, int, str]]) -> Iterator[tuple[str, int, int, str]]:
    """Yield places in order, each with the furthest end of those so far on its device."""
    reached: tuple[str, int] = ("", 0)
    for device, begin, end, name in places:
        reached = (device, max(end, reached[1]) if device == reached[0] else end)
        yield device, begin, reached[1], name


def _begin(tensor: Tensor) -> int:
    return int(tensor.data_ptr())


def _end(tensor: Tensor) -> int:
    steps = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return _begin(tensor) + (steps + 1) * tensor.element_size()


def _replace_(module: nn.Module, old: nn.Parameter, new: nn.Parameter) -> None:
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False, remove_duplicate=False)):
            if parameter is old:
                setattr(part, name, new)
