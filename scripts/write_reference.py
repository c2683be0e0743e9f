"""Write docs/options.md, a JSON schema of every configuration, and what commands read.

    python scripts/write_reference.py

Everything is read off the classes of `safecompress.config`; `make reference` runs this, and a test
fails where the committed files are not what it writes.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safecompress.cli
from safecompress.cli import completion, init, parts_file
from safecompress.config import AuditConfig, CompareConfig, CompressConfig, Section
from safecompress.config.options import Option, OptionGroup, descriptions, option_groups

DOCS = Path(__file__).resolve().parent.parent / "docs"
CONFIGS: Mapping[str, type[Section]] = {
    "compress": CompressConfig,
    "audit": AuditConfig,
    "compare": CompareConfig,
}
"""Per command the class of its configuration."""
COMMANDS = Path(safecompress.cli.__file__).parent
"""Where files lie that commands read in place of importing what they tell of."""

_HEAD = """\
# All options

<!-- Written by `make reference` from src/safecompress/config; change the classes, not this. -->

This page lists every option of every configuration; [the configuration](configuration.md) explains
how they work together. An option without a default must be given, and – stands for one that is left
out by default. `NAME` in a path is a name of your choice, `[]` an entry of a list.

The same text reaches you in an editor: with [a schema of each configuration](schemas) an editor
for YAML completes options, shows their descriptions and marks mistakes. Most read a comment in the
first line of the file, with the schema's path or address:

```yaml
# yaml-language-server: $schema=docs/schemas/compress.json
```
"""
_BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
_COLUMNS = ("option", "type", "default", "range", "description")


def reference() -> dict[Path, str]:
    """Return the contents of every file of the reference by its path."""
    files = {DOCS / "options.md": options_page()}
    for command, config in CONFIGS.items():
        files[DOCS / "schemas" / f"{command}.json"] = schema_file(config)
    files[COMMANDS / completion.FILE] = completion.completions_file()
    files[COMMANDS / init.FILE] = starter_file()
    files[COMMANDS / parts_file.FILE] = parts_file.parts_file()
    return files


def starter_file() -> str:
    """Return the starter configuration of `safecompress init`.

    Each line `#? OPTION` of scripts/starter.yaml becomes the option's description in the schema, so
    that the two cannot differ.
    """
    described = descriptions(CompressConfig)

    def comment(place: re.Match[str]) -> str:
        margin = f"{place[1]}# "
        return textwrap.fill(
            described[place[2]],
            100,
            initial_indent=margin,
            subsequent_indent=margin,
            break_on_hyphens=False,
            break_long_words=False,
        )

    template = (Path(__file__).parent / "starter.yaml").read_text(encoding="utf-8")
    return re.sub(r"^( *)#\? (\S+)$", comment, template, flags=re.MULTILINE)


def schema_file(config: type[Section]) -> str:
    """Return the JSON schema of a configuration as a file for editors.

    Args:
        config: class of the configuration.
    """
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | config.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def options_page() -> str:
    """Return the page of all options, in Markdown."""
    lines = [_HEAD]
    shown: dict[str, str] = {}
    for command, config in CONFIGS.items():
        groups = option_groups(config)
        new = [group for group in groups if group.section not in shown]
        lines += [f"## `safecompress {command}`", ""]
        for group in new:
            lines += [*_heading(group), "", *_table(group), ""]
        known = [f"`{g.path}` as {shown[g.section]}" for g in groups if g.section in shown]
        if known:
            lines += ["Sections with the same options as others:", ""]
            lines += [f"- {words}" for words in dict.fromkeys(known)]
            lines.append("")
        shown |= {group.section: f"`{group.path}` of `safecompress {command}`" for group in new}
    return "\n".join(lines).rstrip() + "\n"


def _heading(group: OptionGroup) -> Iterator[str]:
    if group.path:
        kind = next((_kind(o.schema) for o in group.options if o.name == "source"), None)
        yield f"### `{group.path}`" + (f" with `source: {kind}`" if kind else "")
        yield ""
    yield group.summary
    if others := [f"`{path}`" for path in group.paths if path != group.path]:
        yield f"{', '.join(others)} take{'s' * (len(others) == 1)} the same options."


def _kind(schema: Mapping[str, Any]) -> str | None:
    """Return the name a section is for; `NAME` where it takes any but those of other sections."""
    return "NAME" if "not" in schema else schema.get("const")


def _table(group: OptionGroup) -> Iterator[str]:
    yield _row(_COLUMNS)
    yield _row(["---"] * len(_COLUMNS))
    for option in group.options:
        path = f"{group.path}.{option.name}".removeprefix(".")
        yield _row(
            [
                f"`{path}`",
                type_words(option.schema),
                _default(option),
                range_words(option.schema),
                option.description,
            ]
        )


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def type_words(schema: Mapping[str, Any]) -> str:
    """Return the type that a JSON schema states, in words.

    Args:
        schema: of one option.

    >>> type_words({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]})
    'list of text'
    """
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            choices = dict.fromkeys(type_words(choice) for choice in schema[key])
            return " or ".join(choice for choice in choices if choice)
    if "$ref" in schema:
        return "section"
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    if values:
        return "one of " * (len(values) > 1) + ", ".join(f"`{value}`" for value in values)
    return _plain_type(schema)


def _plain_type(schema: Mapping[str, Any]) -> str:
    """Return the words for a type that is neither a choice nor a section."""
    kind = schema.get("type", "any")
    if kind == "array":
        entry = type_words(schema.get("items", {}))
        return "list of " + ("sections" if entry == "section" else entry)
    if kind == "object":
        inner = schema.get("additionalProperties")
        return "sections by name" if isinstance(inner, dict) and "$ref" in inner else "mapping"
    if kind == "string":
        return "path" if schema.get("format") == "path" else "text"
    return {"null": "", "boolean": "true or false"}.get(kind, str(kind))


def range_words(schema: Mapping[str, Any]) -> str:
    """Return the range that a JSON schema states, in signs.

    Args:
        schema: of one option.

    >>> range_words({"type": "number", "exclusiveMinimum": 0, "maximum": 1})
    '> 0 and ≤ 1'
    >>> range_words({"type": "array", "items": {"minimum": 0}, "minItems": 1})
    'each ≥ 0; at least 1'
    """
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return ", or ".join(filter(None, map(range_words, schema[key])))
    if "items" in schema:
        each = range_words(schema["items"])
        fewest = f"at least {schema['minItems']}" if "minItems" in schema else ""
        return "; ".join(filter(None, [each and f"each {each}", fewest]))
    bounds = [f"{sign} {schema[key]:g}" for key, sign in _BOUNDS.items() if key in schema]
    return " and ".join(bounds)


def _default(option: Option) -> str:
    if option.required:
        return ""
    value = option.schema.get("default")
    if value is None or "$ref" in option.schema:
        return "–"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def main() -> None:
    """Write the files."""
    for path, text in reference().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
