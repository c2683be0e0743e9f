"""`Registry`: named parts, built in or published by other packages through entry points.

A part is asked for in a configuration as `name` or `{name: {option: value}}` and built by calling
its factory with the options as keyword arguments. Of what other packages publish, only what is
asked for is loaded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from safecompress.errors import ConfigError, UsageError, did_you_mean
from safecompress.registry.options import own_doc
from safecompress.registry.published import Catalog, Point, catalog, error_text

T = TypeVar("T")

BUILT_IN = "safecompress"


@dataclass(frozen=True)
class Part(Generic[T]):
    """One entry: its factory, one line about it, where it comes from and what it costs.

    Args:
        name: what a configuration calls it.
        factory: a class or function; its keyword arguments are the options.
        summary: what it does, in one line.
        reference: the publication, or the entry point's value.
        cost: what it takes, in words.
        package: the package that it is from, with a version where it is not this one.
    """

    name: str
    factory: Callable[..., T]
    summary: str
    reference: str = ""
    cost: str = ""
    package: str = BUILT_IN


@dataclass(frozen=True)
class Survey(Generic[T]):
    """All parts of a kind, and what is wrong with others.

    Args:
        parts: those that can be used, by name; built-in ones first.
        broken: by name, or by package where no name can be read, why a part cannot be used.
        hidden: by built-in name the packages that publish another part of this name, which is
            never used.
    """

    parts: Mapping[str, Part[T]]
    broken: Mapping[str, str]
    hidden: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Registry(Generic[T]):
    """The parts of one kind.

    Args:
        kind: singular noun for messages, e.g. `attack`.
        group: entry-point group other packages publish in, e.g. `safecompress.attacks`; an entry
            point gives a factory, whose docstring's first line is its summary.
        base: what a factory must return an instance of.
        given: arguments that the run passes to every factory itself; they are not options.
        parts: the built-in parts by name, in the order in which they are listed.
    """

    kind: str
    group: str
    base: type[Any] = object
    given: tuple[str, ...] = ()
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
        """Add a built-in part; the call stands right below its class or factory.

        Args:
            name: what a configuration calls it.
            factory: a class or function; its keyword arguments are the options.
            summary: what it does, in one line.
            reference: the publication.
            cost: what it takes, in words.

        Raises:
            ConfigError: when the name is taken.
        """
        if name in self.parts:
            raise ConfigError(f"{self.kind} '{name}' is registered twice.")
        self.parts[name] = Part(name, factory, summary, reference, cost)

    def names(self) -> list[str]:
        """Return the names of all parts, built-in ones first; nothing is loaded."""
        return [*self.parts, *(n for n in catalog(self.group).points if n not in self.parts)]

    def part(self, name: str, *, where: str) -> Part[T]:
        """Return one part; a published one is loaded, and no other.

        Args:
            name: a built-in name, which no package can replace, or a published one.
            where: config path for messages, e.g. `steer.attacks[1]`.

        Raises:
            ConfigError: on an unknown name, on one that two packages publish, and on a part that
                cannot be loaded, naming its package.
        """
        # Built-in names come first, so that no installed package can replace or break them.
        if name in self.parts:
            return self.parts[name]
        published = catalog(self.group)
        if name not in published.points:
            known = [*self.parts, *published.points]
            raise ConfigError(
                f"{where}: no {self.kind} is called '{name}'"
                f"{did_you_mean(name, known)}{self._unread(published.unreadable)}"
            )
        try:
            return self._loaded(published.points[name])
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error.__cause__

    def survey(self, published: Catalog | None = None) -> Survey[T]:
        """Load every published part, and return all parts with what is wrong with the others.

        Args:
            published: what packages publish in this registry's group; None looks for it.
        """
        parts, hidden = dict(self.parts), {}
        published = catalog(self.group) if published is None else published
        broken = {
            package: f"the package {package} cannot be read: {problem}. Repair or uninstall it."
            for package, problem in published.unreadable.items()
        }
        for name, points in published.points.items():
            if name in self.parts:
                hidden[name] = tuple(point.package for point in points)
                continue
            try:
                parts[name] = self._loaded(points)
            except ConfigError as error:
                broken[name] = str(error)
        return Survey(parts, broken, hidden)

    def all(self) -> Mapping[str, Part[T]]:
        """Return built-in and published parts by name, without those that cannot be loaded."""
        return self.survey().parts

    def build(self, request: str | Mapping[str, Any], *, where: str) -> T:
        """Build the part that `request` asks for.

        Args:
            request: `name`, or a mapping of one name to its options.
            where: config path for messages, e.g. `steer.attacks[1]`.

        Raises:
            ConfigError: on an unknown name, unknown option or an option's bad value; for a part
                of another package on whatever it raises, naming the package.
        """
        name, options = split_request(request, where=where)
        part = self.part(name, where=where)
        accepted, takes_any = _accepted(part.factory)
        for option in options:
            if option not in accepted and not takes_any:
                raise ConfigError(
                    f"{where}.{name}: unknown option '{option}'{did_you_mean(option, accepted)}"
                )
        try:
            made = part.factory(**options)
        except UsageError as error:
            raise ConfigError(f"{where}.{name}: {error}") from error
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}.{name}: {options} was refused: {error}") from error
        except (Exception, SystemExit) as error:
            if part.package == BUILT_IN:
                raise
            raise ConfigError(
                f"{where}.{name}: the {self.kind} of the package {part.package} cannot be built "
                f"with {options}: it raised {error_text(error)}. Update, repair or uninstall that "
                f"package, or ask for another {self.kind}."
            ) from error
        if not isinstance(made, self.base):
            raise ConfigError(
                f"{where}.{name}: {part.reference or name} of the package {part.package} returned "
                f"an object of type {type(made).__name__}; expected an instance of "
                f"{self.base.__name__}."
            )
        _check_requirements(made, where=f"{where}.{name}")
        return made

    def _loaded(self, points: tuple[Point, ...]) -> Part[T]:
        """Load the one part that a name means.

        Raises:
            ConfigError: when several packages publish it, or it cannot be loaded.
        """
        point = points[0]
        if len(points) > 1:
            raise ConfigError(
                f"the {self.kind} '{point.name}' is published by several packages, "
                f"{' and '.join(p.package for p in points)}; uninstall all but one of them."
            )
        factory = point.load(kind=self.kind)
        try:
            summary = own_doc(factory).partition("\n")[0]
        except Exception as error:
            raise point.error(
                f"its docstring raised {error_text(error)}", kind=self.kind
            ) from error
        return Part(point.name, factory, summary, point.value, package=point.package)

    @staticmethod
    def _unread(unreadable: Mapping[str, str]) -> str:
        listed = ", ".join(f"{package} ({problem})" for package, problem in unreadable.items())
        return f" (the entry points of these packages cannot be read: {listed})" if listed else ""


def _check_requirements(part: Any, *, where: str) -> None:
    """Refuse what a part requires unless it is a set of names, before anybody reads it."""
    required: object = getattr(part, "requires", frozenset())
    if not isinstance(required, frozenset) or not all(isinstance(r, str) for r in required):
        raise ConfigError(
            f"{where}: `requires` of {type(part).__module__}:{type(part).__name__} is "
            f"{required!r}; expected a frozenset of names, e.g. frozenset({{'gradient'}})."
        )


def _accepted(factory: Callable[..., Any]) -> tuple[list[str], bool]:
    """Return the names of a factory's options, and whether it takes other options as well."""
    try:
        parameters = inspect.signature(factory).parameters
    except Exception:
        # Some callables, such as those written in C, have no signature. The call itself then
        # refuses options that they do not take.
        return [], True
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return list(parameters), takes_any


def split_request(request: str | Mapping[str, Any], *, where: str) -> tuple[str, dict[str, Any]]:
    """Return (name, options) of a request written as `name` or `{name: options}`.

    Args:
        request: the name of a part, or a mapping of one name to its options or None.
        where: config path for messages, e.g. `steer.attacks[1]`.

    Raises:
        ConfigError: when the request has another form.

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
