"""Named parts: built in, or published by other packages through entry points.

A part is asked for in a configuration as `name` or `{name: {option: value}}` and built by calling
its factory with the options as keyword arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from safecompress.errors import ConfigError, UsageError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True)
class Part(Generic[T]):
    """One entry: its factory, one line about it, where it comes from and what it costs."""

    name: str
    factory: Callable[..., T]
    summary: str
    reference: str = ""
    cost: str = ""


@dataclass(frozen=True)
class Registry(Generic[T]):
    """The parts of one kind.

    Args:
        kind: singular noun for messages, e.g. `attack`.
        group: entry-point group other packages publish in, e.g. `safecompress.attacks`; an entry
            point gives a factory, whose docstring's first line is its summary.
    """

    kind: str
    group: str
    parts: dict[str, Part[T]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        factory: Callable[..., T],
        *,
        summary: str,
        reference: str = "",
        cost: str = "",
    ) -> None:
        """Add a built-in part.

        Raises:
            ConfigError: when the name is taken.
        """
        if name in self.parts:
            raise ConfigError(f"{self.kind} '{name}' is registered twice.")
        self.parts[name] = Part(name, factory, summary, reference, cost)

    def all(self) -> dict[str, Part[T]]:
        """Return built-in and published parts by name; a built-in name is never replaced."""
        found = dict(self.parts)
        for point in entry_points(group=self.group):
            if point.name not in found:
                factory = point.load()
                summary = (inspect.getdoc(factory) or "").split("\n", 1)[0]
                found[point.name] = Part(point.name, factory, summary, reference=point.value)
        return found

    def build(self, request: str | Mapping[str, Any], *, where: str) -> T:
        """Build the part that `request` asks for.

        Args:
            request: `name`, or a mapping of one name to its options.
            where: config path for messages, e.g. `steer.attacks[1]`.

        Raises:
            ConfigError: on an unknown name, unknown option or an option's bad value.
        """
        name, options = split_request(request, where=where)
        # A built-in part needs no look at what is installed, and no plug-in can break it.
        parts = self.parts if name in self.parts else self.all()
        if name not in parts:
            raise ConfigError(
                f"{where}: no {self.kind} is called '{name}'{did_you_mean(name, parts)}"
            )
        factory = parts[name].factory
        accepted = inspect.signature(factory).parameters
        takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
        for option in options:
            if option not in accepted and not takes_any:
                raise ConfigError(
                    f"{where}.{name}: unknown option '{option}'{did_you_mean(option, accepted)}"
                )
        try:
            return factory(**options)
        except UsageError as error:
            raise ConfigError(f"{where}.{name}: {error}") from error
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}.{name}: {options} was refused: {error}") from error


def split_request(request: str | Mapping[str, Any], *, where: str) -> tuple[str, dict[str, Any]]:
    """Return (name, options) of a request written as `name` or `{name: options}`.

    >>> split_request({"neural": {"epochs": 5}}, where="steer.attacks[0]")
    ('neural', {'epochs': 5})
    """
    if isinstance(request, str):
        return request, {}
    if isinstance(request, Mapping) and len(request) == 1:
        ((name, options),) = request.items()
        if options is None:
            return str(name), {}
        if isinstance(options, Mapping):
            return str(name), {str(k): v for k, v in options.items()}
    raise ConfigError(
        f"{where}: expected a name or one name with its options (name: {{option: value}}), "
        f"got {request!r}."
    )
