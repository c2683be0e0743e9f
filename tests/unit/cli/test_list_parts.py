"""`safecompress list`: tables, one part in full, and both for programs."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from safecompress.cli import list_parts
from safecompress.cli.app import app
from safecompress.cli.kinds import KINDS
from safecompress.cli.part import needs_of, part_document, print_part
from safecompress.errors import ConfigError
from safecompress.protocols import Attack
from safecompress.registry import Part, options_of, text_of

PARTS = [(kind, name) for kind, registry in KINDS.items() for name in registry.parts]


def listed(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["list", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_option_of_every_part_has_a_type_and_a_description(kind: str, name: str) -> None:
    registry = KINDS[kind]
    factory = registry.parts[name].factory
    options = options_of(factory, given=registry.given)
    taken = set(inspect.signature(factory).parameters) - set(registry.given)
    assert {o.name for o in options} == taken
    for option in options:
        assert option.type
        assert option.description, f"{name}.{option.name}: say what it is in the section Args"


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_part_is_shown_with_all_that_is_known_of_it(kind: str, name: str) -> None:
    part = KINDS[kind].parts[name]
    document = json.loads(listed(kind, name, "--json"))
    assert (document["kind"], document["name"]) == (kind, name)
    assert document["package"] == "safecompress"
    assert document["text"]
    assert "Args:" not in document["text"]
    shown = " ".join(listed(kind, name).split())
    for text in (part.summary, part.cost, part.reference, *document["needs"]):
        assert " ".join(text.split()) in shown
    for option in document["options"]:
        assert " ".join(option["description"].split()) in shown
        assert option["name"] in shown


def test_the_list_for_programs_has_every_part_of_every_kind() -> None:
    whole = json.loads(listed("--json"))
    assert list(whole) == list(KINDS)
    for kind, registry in KINDS.items():
        names = [part["name"] for part in whole[kind]["parts"]]
        assert names[: len(registry.parts)] == list(registry.parts)
        assert whole[kind]["broken"] == whole[kind]["not_used"] == {}
        assert json.loads(listed(kind, "--json")) == {kind: whole[kind]}


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_name_with_a_slip_is_asked_back(kind: str, name: str) -> None:
    with pytest.raises(ConfigError, match=r"did you mean|known:") as error:
        list_parts.command(kind, f"{name}x")
    assert str(error.value).startswith(f"list {kind}: no {KINDS[kind].kind} is called '{name}x'")
    with pytest.raises(ConfigError, match="no kind"):
        list_parts.command(f"{kind}x", name)


def test_what_a_part_needs_is_what_it_requires_when_built_without_options() -> None:
    for kind, registry in KINDS.items():
        for part in registry.parts.values():
            if registry.given or any(o.required for o in options_of(part.factory)):
                continue
            built = part.factory()
            needed = set(needs_of(part, given=registry.given))
            assert set(getattr(built, "requires", ())) <= needed, (kind, part.name)


@dataclass(frozen=True)
class Base:
    """A base.

    Args:
        first: what the base says,
            on two lines: with a colon.
        both, third: said of two.
    """

    first: int = 1
    both: tuple[int, ...] = ()
    third: list[int] = field(default_factory=lambda: [3])


@dataclass(frozen=True)
class Derived(Base):
    """A derived class.

    Args:
        both: what the derived class says.

    Raises:
        ValueError: never: `first: x` is no option.

    Reference: none.
    """

    unsaid: "NoSuchType" = None  # type: ignore[name-defined]  # noqa: F821, UP037


def test_descriptions_come_from_the_nearest_docstring_that_has_them() -> None:
    options = {o.name: o for o in options_of(Derived)}
    assert options["first"].description == "what the base says, on two lines: with a colon."
    assert options["both"].description == "what the derived class says."
    assert options["third"].description == "said of two."
    assert options["third"].default == [3]
    assert options["unsaid"].description == ""
    assert options["first"].type == "int"
    assert text_of(Derived) == (
        "A derived class.\n\nRaises:\n    ValueError: never: `first: x` is no option.\n\n"
        "Reference: none."
    )


def test_defaults_are_those_that_a_part_is_built_with() -> None:
    for name, part in KINDS["sources"].parts.items():
        options = options_of(part.factory, given=("source",))
        needed = {o.name: "x" for o in options if o.required}
        built: Any = part.factory(**needed)
        for option in options:
            if not option.required:
                assert option.default == getattr(built, option.name), f"{name}.{option.name}"


class Hostile:
    """A factory that answers no question."""

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        raise OSError("doc")

    @property
    def __signature__(self) -> Any:
        raise OSError("signature")

    @property
    def requires(self) -> Any:
        raise OSError("requires")

    def __call__(self, **options: Any) -> Any:
        raise SystemExit("call")


def test_nothing_that_a_published_factory_does_stops_the_list() -> None:
    made: Part[Any] = Part("h", Hostile(), "hostile")
    assert options_of(made.factory) == ()
    assert text_of(made.factory) == ""
    assert needs_of(made, given=()) == []


class Undocumented(Attack):
    def __init__(self, *, rank=2, path=None):
        pass

    def score(self, fitted, evidence):
        raise NotImplementedError


@dataclass(frozen=True)
class Bare(Base):
    other: int = 0


def test_a_part_does_not_show_the_words_that_its_interface_has_for_authors() -> None:
    assert text_of(Undocumented) == ""
    assert text_of(Bare) == "A base."


def test_the_type_of_an_option_without_annotation_is_that_of_its_default() -> None:
    assert [(o.name, o.type) for o in options_of(Undocumented)] == [("rank", "int"), ("path", "")]


def test_the_docstring_of_a_published_part_is_shown_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    part = Part("base", Base, "A base.", "mine:Base", package="mine 1.0")
    print_part(part_document(part, kind="attacks", given=()), Console(width=200))
    shown = capsys.readouterr().out
    assert shown.count("A base.") == 1
    assert "entry point  mine:Base" in shown
