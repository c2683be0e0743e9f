"""`Point` and `catalog`: what installed packages publish in an entry-point group.

Looking at what is published imports nothing of it. A package that cannot be read is set aside, so
it harms nobody who asks for something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

from safecompress.errors import ConfigError

_LONGEST = 300


@dataclass(frozen=True)
class Point:
    """One entry point.

    Args:
        name: what a configuration calls the part.
        value: where its factory is, `module:attribute`.
        group: the entry-point group.
        package: the distribution that publishes it, with its version.
        found: the entry point as Python found it.
    """

    name: str
    value: str
    group: str
    package: str
    found: EntryPoint = field(repr=False, compare=False)

    def load(self, *, kind: str) -> Callable[..., Any]:
        """Import and return the factory.

        Args:
            kind: singular noun for the message, e.g. `attack`.

        Raises:
            ConfigError: whatever the import raised, naming package, entry point and what to do.
        """
        try:
            factory = self.found.load()
        except (Exception, SystemExit) as error:
            raise self.error(f"importing it raised {told(error)}", kind=kind) from error
        if not callable(factory):
            raise self.error(
                f"expected a class or a function that returns one {kind}, got an object of type "
                f"{type(factory).__name__}",
                kind=kind,
            )
        return factory  # type: ignore[no-any-return]

    def error(self, problem: str, *, kind: str) -> ConfigError:
        """Return the error of a part that cannot be used.

        Args:
            problem: what is wrong, as a clause.
            kind: singular noun, e.g. `attack`.
        """
        return ConfigError(
            f"the {kind} '{self.name}' of the package {self.package} cannot be used: {problem} "
            f"(entry point '{self.name} = {self.value}' in '{self.group}'). Update, repair or "
            f"uninstall that package, or ask for another {kind}."
        )


@dataclass(frozen=True)
class Catalog:
    """What is published in one group.

    Args:
        points: by name all entry points of it, one for each package.
        unreadable: by package why its entry points cannot be read.
    """

    points: dict[str, tuple[Point, ...]]
    unreadable: dict[str, str]


def catalog(group: str) -> Catalog:
    """Return what installed packages publish in a group; nothing is imported.

    Args:
        group: the entry-point group, e.g. `safecompress.attacks`.
    """
    points: dict[str, list[Point]] = {}
    unreadable: dict[str, str] = {}
    seen: set[str] = set()
    for distribution in distributions():
        try:
            found = list(distribution.entry_points.select(group=group))
        except Exception as error:  # a damaged file of somebody's package
            if _mentions(distribution, group):
                unreadable[_package(distribution)] = told(error)
            continue
        package = _package(distribution) if found else ""
        name = package.split(" ")[0].lower().replace("_", "-").replace(".", "-")
        if not found or name in seen:
            # Of several copies on the path, Python imports the first.
            continue
        seen.add(name)
        for one in dict.fromkeys(found):
            point = Point(one.name, one.value, group, package, one)
            points.setdefault(one.name, []).append(point)
    return Catalog({name: tuple(points[name]) for name in sorted(points)}, unreadable)


def told(error: BaseException) -> str:
    """Return an error's type and what it says, in one line of bounded length."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    kind = type(error).__name__
    return f"{kind}: {text[:_LONGEST]}" if text else kind


def _mentions(distribution: Distribution, group: str) -> bool:
    """Return whether a distribution whose entry points cannot be read publishes in the group."""
    try:
        return f"[{group}]" in (distribution.read_text("entry_points.txt") or "")
    except Exception:
        return False


def _package(distribution: Distribution) -> str:
    """Return name and version, or where the distribution lies if it does not say its name."""
    try:
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
        if name:
            return f"{name} {version}" if version else str(name)
    except Exception as error:  # damaged metadata of somebody's package
        return f"at {distribution.locate_file('')} (its metadata: {told(error)})"
    return f"at {distribution.locate_file('')}"
