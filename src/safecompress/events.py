"""`Event`: what a run reports while it works; the command line prints it as lines and bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Kind = Literal["stage", "progress", "candidate", "selected", "check", "note", "saved"]


@dataclass(frozen=True)
class Event:
    """One event of a run.

    Args:
        kind: the kind of event.
        text: one line for a reader.
        data: the same for a program.
    """

    kind: Kind
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


Listener: TypeAlias = Callable[[Event], None]
"""Receives the events of a run."""


def silent(event: Event) -> None:
    """Ignore an event; the listener of runs that print nothing.

    Args:
        event: any event.
    """
    del event
