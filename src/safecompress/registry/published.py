"""`Point`, `catalog` and `catalogs`: what installed packages publish in an entry-point group.

The catalog is read from the metadata of installed packages, so no package is imported for it. A
package whose metadata cannot be read is listed apart, so that the parts of all others stay usable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
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
        found: the entry point as `importlib.metadata` returns it.
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
            raise self.error(f"importing it raised {error_text(error)}", kind=kind) from error
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
    return catalogs([group])[group]


def catalogs(groups: Collection[str]) -> dict[str, Catalog]:
    """Return what installed packages publish in each of some groups; nothing is imported.

    Every package is looked at once. The entry points of most are not even parsed, because the name
    of none of the groups stands among them.

    Args:
        groups: the entry-point groups.
    """
    found = {group: _Publishers() for group in groups}
    for distribution in distributions():
        text = _entry_points_text(distribution)
        for group, publishers in found.items():
            if f"[{group}]" in text:
                publishers.add(distribution, group)
    return {
        group: Catalog({n: tuple(p.points[n]) for n in sorted(p.points)}, p.unreadable)
        for group, p in found.items()
    }


class _Publishers:
    """What the packages that were looked at publish in one group."""

    def __init__(self) -> None:
        self.points: dict[str, list[Point]] = {}
        self.unreadable: dict[str, str] = {}
        self._seen: set[str] = set()

    def add(self, distribution: Distribution, group: str) -> None:
        """Add what a package publishes, unless a copy of it came before on the path."""
        try:
            found = list(distribution.entry_points.select(group=group))
        except Exception as error:  # the file entry_points.txt of a package may be damaged
            self.unreadable[_package(distribution)] = error_text(error)
            return
        package = _package(distribution) if found else ""
        name = package.split(" ")[0].lower().replace("_", "-").replace(".", "-")
        if not found or name in self._seen:
            # Python imports the first of several copies on the path, so the others do not count.
            return
        self._seen.add(name)
        for entry_point in dict.fromkeys(found):
            point = Point(entry_point.name, entry_point.value, group, package, entry_point)
            self.points.setdefault(entry_point.name, []).append(point)


def error_text(error: BaseException) -> str:
    """Return an error's type and message in one line of bounded length.

    Args:
        error: any exception, also one whose `__str__` raises.
    """
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    kind = type(error).__name__
    return f"{kind}: {text[:_LONGEST]}" if text else kind


def _entry_points_text(distribution: Distribution) -> str:
    """Return the file in which a package says what it publishes; empty where it cannot be read."""
    try:
        return distribution.read_text("entry_points.txt") or ""
    except Exception:
        return ""


def _package(distribution: Distribution) -> str:
    """Return name and version, or where the distribution lies if it does not say its name."""
    try:
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
        if name:
            return f"{name} {version}" if version else str(name)
    except Exception as error:  # the metadata of a package may be damaged
        return f"at {distribution.locate_file('')} (its metadata: {error_text(error)})"
    return f"at {distribution.locate_file('')}"
