"""`Place`: in which layer of a module an error was raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class Place:
    """The layer that was entered last and not left."""

    def __init__(self) -> None:
        self._entered: list[str] = []

    def __str__(self) -> str:
        """Return the layer in words, or an empty string outside the module."""
        return self._entered[-1] if self._entered else ""


@contextmanager
def watching_place(module: nn.Module) -> Iterator[Place]:
    """Run a block, and know which layer of a module its code is in.

    Args:
        module: the module, which gets hooks meanwhile.
    """
    place = Place()
    handles = []

    def enter(name: str) -> Any:
        def hook(part: nn.Module, given: Any) -> None:
            del given
            place._entered.append(f"layer '{name}' ({type(part).__name__})" if name else "")

        return hook

    def leave(part: nn.Module, given: Any, returned: Any) -> None:
        del part, given, returned
        place._entered.pop()

    for name, part in module.named_modules():
        handles += [
            part.register_forward_pre_hook(enter(name), prepend=True),
            part.register_forward_hook(leave),
        ]
    try:
        yield place
    finally:
        for handle in handles:
            handle.remove()
