"""What a run tells whoever watches it; the command line turns these into lines and bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Kind = Literal["stage", "progress", "candidate", "selected", "check", "note", "saved"]


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Args:
        kind: what sort of thing.
        text: one line for a person.
        data: the same for a program.
    """

    kind: Kind
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


Listener: TypeAlias = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""
    del event
