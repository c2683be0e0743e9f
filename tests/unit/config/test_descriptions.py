"""Every option of every configuration says what it is, in the JSON schema that editors read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from safecompress.config import AuditConfig, CompareConfig, CompressConfig, Section

CONFIGS = (CompressConfig, AuditConfig, CompareConfig)


def options(config: type[Section]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every property of a schema, nested sections included, as `Section.field`."""
    schema = config.model_json_schema()
    for section, part in {config.__name__: schema, **schema.get("$defs", {})}.items():
        for name, option in part.get("properties", {}).items():
            yield f"{section}.{name}", option


OPTIONS = {path: option for config in CONFIGS for path, option in options(config)}


def test_the_options_of_nested_sections_are_among_them() -> None:
    assert {"CompressConfig.seed", "TrainConfig.lr", "CsvSource.label", "LimitsConfig.max_auc"} <= (
        OPTIONS.keys()
    )


@pytest.mark.parametrize("path", OPTIONS)
def test_an_option_is_described_in_sentences(path: str) -> None:
    description = OPTIONS[path].get("description", "")
    words = re.findall(r"\w+", description)
    name = path.rpartition(".")[2]
    assert len(words) >= 3, f"{path}: '{description}' is no description"
    assert [word.lower() for word in words] != name.split("_")
    assert description == " ".join(description.split()), f"{path}: stray white space"
    assert description[0].isupper(), f"{path}: a sentence begins with a capital letter"
    assert description.endswith("."), f"{path}: a sentence ends with a full stop"
    assert description.count("`") % 2 == 0, f"{path}: a quotation does not end"


@pytest.mark.parametrize("path", OPTIONS)
def test_what_leaving_an_option_out_means_is_said_where_null_does_not_say_it(path: str) -> None:
    option = OPTIONS[path]
    if "default" in option and option["default"] is None:
        assert re.search(r"\b[Ll]eft out\b|[Mm]ay be left out", option["description"]), path


@pytest.mark.parametrize(
    "section", {p.rpartition(".")[0]: None for p in OPTIONS}, ids=lambda name: name
)
def test_a_section_does_not_describe_its_options_twice(section: str) -> None:
    definitions = {c.__name__: c.model_json_schema() for c in CONFIGS}
    for schema in list(definitions.values()):
        definitions |= schema.get("$defs", {})
    assert "Args:" not in definitions[section]["description"]
