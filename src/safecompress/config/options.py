"""`Option`, `OptionGroup`, `option_groups`: all options of a configuration, from its schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from safecompress.config.section import Section


@dataclass(frozen=True)
class Option:
    """One option, as the JSON schema states it.

    Args:
        name: its key in the section.
        schema: its JSON schema: type, range and default.
        required: whether a configuration must set it, because it has no default.
    """

    name: str
    schema: Mapping[str, Any]
    required: bool

    @property
    def description(self) -> str:
        """The description of the option's field; empty where it has none."""
        return str(self.schema.get("description", ""))


@dataclass(frozen=True)
class OptionGroup:
    """The options of one section.

    Args:
        section: name of the section's class.
        paths: paths of the section in the configuration, in the order of the schema, such as
            `sparse.train`. The whole configuration has the empty path, an entry of a list a path
            such as `checks[]`, an entry of a mapping one such as `methods.NAME`.
        summary: what the section is, the first line of its class's docstring.
        options: its options, in the order of the class.
    """

    section: str
    paths: tuple[str, ...]
    summary: str
    options: tuple[Option, ...]

    @property
    def path(self) -> str:
        """The path with the fewest dots, which documents show; of several, the first."""
        return min(self.paths, key=lambda path: path.count("."))


def option_groups(config: type[Section]) -> tuple[OptionGroup, ...]:
    """Return every section of a configuration once, each before the sections inside it.

    Args:
        config: class of the whole configuration, such as `CompressConfig`.
    """
    whole = config.model_json_schema()
    schemas = {config.__name__: whole, **whole.get("$defs", {})}
    paths: dict[str, list[str]] = {}
    for section, path in _places(config.__name__, "", schemas):
        paths.setdefault(section, []).append(path)
    return tuple(
        OptionGroup(
            section,
            tuple(dict.fromkeys(places)),
            str(schemas[section].get("description", "")).split("\n", 1)[0],
            _options(schemas[section]),
        )
        for section, places in paths.items()
    )


def descriptions(config: type[Section]) -> dict[str, str]:
    """Return the description of every option of a configuration by its path.

    Args:
        config: class of the whole configuration, such as `CompressConfig`.

    >>> from safecompress.config import CompressConfig
    >>> descriptions(CompressConfig)["data.source.label"].split(".")[0]
    'Column to predict'
    """
    return {
        f"{path}.{option.name}".removeprefix("."): option.description
        for group in option_groups(config)
        for path in group.paths
        for option in group.options
    }


def _options(schema: Mapping[str, Any]) -> tuple[Option, ...]:
    required = set(schema.get("required", ()))
    return tuple(
        Option(name, option, name in required)
        for name, option in schema.get("properties", {}).items()
    )


def _places(
    section: str, path: str, schemas: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Yield the section and all inside it, each with the path it stands at."""
    yield section, path
    for name, option in schemas[section].get("properties", {}).items():
        inner = f"{path}.{name}".removeprefix(".")
        for suffix, reference in _references(option):
            yield from _places(reference, inner + suffix, schemas)


def _references(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the sections that an option's value may hold, with what follows the option's path."""
    if "$ref" in schema:
        yield "", schema["$ref"].rpartition("/")[2]
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _references(choice)
    for key, suffix in (("items", "[]"), ("additionalProperties", ".NAME")):
        if isinstance(inner := schema.get(key), Mapping):
            yield from ((suffix + rest, name) for rest, name in _references(inner))
