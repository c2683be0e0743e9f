"""`load_config` and its siblings: a checked configuration from YAML, a mapping or an object.

An error names all problems of a configuration at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError

from safecompress.config.audit import AuditConfig
from safecompress.config.compare import CompareConfig
from safecompress.config.references import References, as_written, expanded
from safecompress.config.schema import CompressConfig
from safecompress.config.section import Section
from safecompress.config.sources import SOURCE_TAGS
from safecompress.config.trackers import without_login
from safecompress.config.yaml_loader import dump_text, load_yaml
from safecompress.errors import ConfigError, did_you_mean

S = TypeVar("S", bound=Section)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: the file, in UTF-8.

    Raises:
        ConfigError: when it is missing, not UTF-8, not YAML, or its top level is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as UTF-8 text ({error}).") from error
    return parse_yaml(text, where=str(path))


def parse_yaml(text: str, *, where: str) -> dict[str, Any]:
    """Parse YAML text whose top level is a mapping.

    Args:
        text: the YAML.
        where: names the text in messages, such as a path.

    Raises:
        ConfigError: when it is not YAML, gives a key twice, or its top level is no mapping.
    """
    try:
        value = load_yaml(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise ConfigError(
            f"{where}: expected a mapping of settings at the top level, got "
            f"{type(value).__name__}; start from `safecompress init`."
        )
    return value


def override(settings: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return a copy of settings with assignments applied.

    Args:
        settings: nested settings; they are not changed.
        assignments: texts `a.b=value`, applied in order; a value is read as YAML, and missing
            sections are created.

    Raises:
        ConfigError: on an assignment without `=`, or a path through a value that is no mapping.

    >>> override({"sparse": {"density": 0.1}}, ["sparse.density=0.05", "seed=3"])
    {'sparse': {'density': 0.05}, 'seed': 3}
    """
    result: dict[str, Any] = _copied(settings)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        keys = path.split(".")
        if not separator or not all(keys):
            raise ConfigError(
                f"--set {assignment}: expected key=value, e.g. --set sparse.density=0.1"
            )
        value = parse_yaml(f"value: {text}", where=f"--set {assignment}")["value"]
        node = result
        for key in keys[:-1]:
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                raise ConfigError(f"--set {assignment}: '{key}' holds a value, not settings.")
            node = child
        node[keys[-1]] = value
    return result


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copied(v) for k, v in value.items()}
    return value


def load_config(
    source: CompressConfig | Mapping[str, Any] | str | Path,
    *,
    assignments: Sequence[str] = (),
    unset_in: Collection[str] = (),
) -> CompressConfig:
    """Return a checked configuration.

    Args:
        source: a configuration, a mapping of settings, or the path of a YAML file.
        assignments: texts `a.b=value` as of `override`, applied before checking.
        unset_in: top-level keys whose environment variables need not be set.

    Raises:
        ConfigError: with every problem at once, each with its place and its remedy.
    """
    return _loaded(CompressConfig, source, assignments, unset_in)


def load_audit_config(
    source: AuditConfig | Mapping[str, Any] | str | Path, *, assignments: Sequence[str] = ()
) -> AuditConfig:
    """Return the checked configuration of an audit.

    Args:
        source: see `load_config`.
        assignments: see `load_config`.

    Raises:
        ConfigError: with every problem at once.
    """
    return _loaded(AuditConfig, source, assignments)


def load_compare_config(
    source: CompareConfig | Mapping[str, Any] | str | Path, *, assignments: Sequence[str] = ()
) -> CompareConfig:
    """Return the checked configuration of a comparison.

    Args:
        source: see `load_config`.
        assignments: see `load_config`.

    Raises:
        ConfigError: with every problem at once.
    """
    return _loaded(CompareConfig, source, assignments)


def _loaded(
    section: type[S],
    source: S | Mapping[str, Any] | str | Path,
    assignments: Sequence[str],
    unset_in: Collection[str] = (),
) -> S:
    if isinstance(source, section):
        if not assignments:
            return source
        changed = source.model_dump(mode="json", exclude_unset=True)
        source = as_written(changed, source.references_)
    where = "config"
    if isinstance(source, str | Path):
        where = str(source)
        source = read_yaml(Path(source))
    given = override(cast(Mapping[str, Any], source), assignments)
    settings, found = expanded(given, unset_in=unset_in)
    loaded = load_section(section, cast(Mapping[str, Any], settings), where=where)
    if found:
        loaded.set_references_(References.of(found, loaded.model_dump(mode="json")))
    return loaded


def load_section(section: type[S], settings: S | Mapping[str, Any] | None, *, where: str) -> S:
    """Return one checked section.

    Args:
        section: class of the section.
        settings: the section itself, a mapping of settings, or None for its defaults.
        where: names the settings in messages.

    Raises:
        ConfigError: with every problem at once.
    """
    if isinstance(settings, section):
        return settings
    try:
        return section.model_validate({} if settings is None else settings)
    except ValidationError as error:
        raise ConfigError(_explain(error, section, where)) from error


def _explain(error: ValidationError, section: type[BaseModel], where: str) -> str:
    lines = []
    for item in error.errors():
        path = ".".join(str(p) for p in item["loc"] if not _is_tag(p))
        if item["type"] == "extra_forbidden":
            near = did_you_mean(str(item["loc"][-1]), _known_keys(section, item["loc"][:-1]))
            lines.append(f"{path}: unknown key{near}")
        elif item["type"] == "missing":
            lines.append(f"{path}: missing; this key is required")
        else:
            message = item["msg"].removeprefix("Value error, ")
            given = item["input"]
            plain = isinstance(given, str | int | float | bool)
            shown = f" (given: {without_login(repr(given))})" if plain else ""
            lines.append(f"{path or 'config'}: {message}{shown}")
    if len(lines) == 1:
        return f"{where}: {lines[0]}"
    return f"{where}: {len(lines)} problems\n" + "\n".join(f"  {line}" for line in lines)


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and (
        part in SOURCE_TAGS or part.startswith(("constrained-", "str", "dict["))
    )


def _known_keys(root: type[BaseModel], path: Sequence[str | int]) -> set[str]:
    """Return the keys that the section at the path of an error knows."""
    sections: set[type[BaseModel]] = {root}
    for part in path:
        if not isinstance(part, str) or part in SOURCE_TAGS:
            if part in SOURCE_TAGS:
                sections = {s for s in sections if _tag_of(s) == part}
            continue
        children: set[type[BaseModel]] = set()
        for section in sections:
            if part in section.model_fields:
                children |= _sections_in(section.model_fields[part].annotation)
        sections = children or sections
    return {key for section in sections for key in section.model_fields}


def _tag_of(section: type[BaseModel]) -> str | None:
    field = section.model_fields.get("source")
    literal = get_args(field.annotation) if field else ()
    return literal[0] if literal and isinstance(literal[0], str) else None


def _sections_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {s for argument in get_args(annotation) for s in _sections_in(argument)}


def dump_yaml(config: CompressConfig, *, values: bool = False) -> str:
    """Return a configuration as YAML, with every default written out.

    Args:
        config: the configuration of a compression.
        values: whether environment variables are replaced by their values, for a digest of what
            the configuration means. Otherwise their names stand there, as they were written.
    """
    document = config.model_dump(mode="json")
    return dump_text(document if values else as_written(document, config.references_))
