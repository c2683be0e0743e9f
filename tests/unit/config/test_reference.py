"""The reference of all options: current, complete, and true of the configurations there are."""

from __future__ import annotations

import doctest
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pydantic
import pytest
import yaml
from pydantic import BaseModel
from scripts import write_reference
from scripts.write_reference import CONFIGS, reference

from safecompress.cli.init import starter
from safecompress.config import AuditConfig, parse_yaml
from safecompress.config.options import descriptions, option_groups
from tests.documents import ROOT

FILES = reference()
CONSTRAINTS = ROOT / "constraints.txt"
PAGE = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_the_reference_is_current(path: Path) -> None:
    if path.suffix == ".json" and f"pydantic=={pydantic.VERSION}\n" not in CONSTRAINTS.read_text():
        pytest.skip("another version of pydantic than that of constraints.txt writes other JSON")
    assert path.read_text(encoding="utf-8") == FILES[path], "run `make reference` and commit it"


def test_the_examples_of_types_and_ranges_hold() -> None:
    found = doctest.testmod(write_reference)
    assert found.attempted > 0
    assert found.failed == 0


def test_no_other_schema_lies_beside_those_of_the_reference() -> None:
    assert {*(ROOT / "docs" / "schemas").iterdir()} == {
        p for p in FILES if p.parent.name == "schemas"
    }


def sections(annotation: Any, path: str) -> Iterator[tuple[type[BaseModel], str]]:
    """Yield the sections in a type, by the classes and not by the schema made of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, path
        for name, field in annotation.model_fields.items():
            yield from sections(field.annotation, f"{path}.{name}".removeprefix("."))
    for argument in get_args(annotation):
        yield from sections(argument, path)


def rows(command: str) -> list[str]:
    """Return the options that the page's tables list under a command."""
    (part,) = re.findall(rf"^## `safecompress {command}`$(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    return re.findall(r"^\| `([^`]+)` \|", part, re.M)


@pytest.mark.parametrize("command", CONFIGS)
def test_every_option_is_in_the_page(command: str) -> None:
    listed = {row for other in CONFIGS for row in rows(other)}
    groups = [group for config in CONFIGS.values() for group in option_groups(config)]
    for section, path in sections(CONFIGS[command], ""):
        # Sections of one class share a table, which stands at one of their paths.
        tables = {group.path for group in groups if group.section == section.__name__}
        for name in section.model_fields:
            rows_of_it = {f"{table}.{name}".removeprefix(".") for table in tables}
            assert rows_of_it & listed, f"{path}.{name}"


@pytest.mark.parametrize("command", CONFIGS)
def test_a_section_is_found_at_every_path_that_leads_to_it(command: str) -> None:
    def plain(path: str) -> str:
        return re.sub(r"\[\]|\.NAME", "", path)

    found = {(g.section, plain(path)) for g in option_groups(CONFIGS[command]) for path in g.paths}
    assert found == {(s.__name__, path) for s, path in sections(CONFIGS[command], "")}


@cache
def validator(command: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((ROOT / "docs" / "schemas" / f"{command}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def complaints(command: str, settings: Any) -> list[str]:
    """Return what an editor that knows the committed schema marks as wrong."""
    found = validator(command).iter_errors(settings)
    return [f"{error.json_path}: {error.message}" for error in found]


RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def kind_of(settings: dict[str, Any]) -> str:
    """Return the command that a recipe is for: its class alone has all keys of the recipe."""
    keys = {command: config.model_fields.keys() for command, config in CONFIGS.items()}
    (command,) = (command for command in CONFIGS if settings.keys() <= keys[command])
    return command


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_an_editor_finds_nothing_wrong_with_a_recipe(path: Path) -> None:
    settings = parse_yaml(path.read_text(encoding="utf-8"), where=path.name)
    assert complaints(kind_of(settings), settings) == []


def test_an_editor_finds_nothing_wrong_with_the_documented_audit() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "audit.md").read_text(), re.S)
    assert complaints("audit", yaml.safe_load(block)) == []


@pytest.mark.parametrize(
    ("command", "settings", "marked"),
    [
        ("compress", {"sparse": {"density": 0}}, "$.sparse.density"),
        ("compress", {"sparse": {"density": 0.1, "densty": 0.1}}, "$.sparse"),
        ("compress", {}, "$: "),
        (
            "audit",
            {"target": "a", "data": {"source": {"source": "npz", "path": "a", "test_pth": "b"}}},
            "$.data",
        ),
        ("audit", {"target": "a", "time_budget": "soon"}, "$.time_budget"),
        ("audit", {"target": "a", "time_budget": 0}, "$.time_budget"),
        ("compare", {"data": {}, "methods": {"a": {}}}, "$.data"),
    ],
)
def test_an_editor_marks_a_mistake(command: str, settings: dict[str, Any], marked: str) -> None:
    (complaint,) = complaints(command, settings)
    assert complaint.startswith(marked)


@pytest.mark.parametrize("given", [60, 0.5, "90", "60s", " 2 m ", "1.5h"])
def test_an_editor_takes_the_lengths_of_time_that_the_program_takes(given: Any) -> None:
    assert AuditConfig.model_validate({"target": "a", "time_budget": given}).time_budget
    assert complaints("audit", {"target": "a", "time_budget": given}) == []


def test_an_editor_takes_a_published_source_with_options_of_its_own() -> None:
    source = {"source": "mine", "path": "a", "depth": 3}
    assert complaints("audit", {"target": "a", "data": {"source": source}}) == []


def test_the_starter_takes_its_descriptions_from_the_schema() -> None:
    text = starter()
    assert "#?" not in text
    assert max(map(len, text.splitlines())) <= 100
    said = " ".join(re.sub(r"^ *# ", "", text, flags=re.M).split())
    assert descriptions(CONFIGS["compress"])["data.split.membership"] in said
    assert complaints("compress", yaml.safe_load(text)) == []
