"""Every command, option and argument of the command line says what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
import typer

from safecompress.cli import app


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all below it, by the words that call them."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app), "safecompress"))
PARAMETERS = {
    f"{path} {parameter.name}": parameter
    for path, command in COMMANDS.items()
    for parameter in command.params
}


def test_the_tree_holds_the_commands_and_their_options() -> None:
    assert {"safecompress audit", "safecompress compress"} <= COMMANDS.keys()
    assert {"safecompress audit target", "safecompress audit max_auc"} <= PARAMETERS.keys()


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_has_help(path: str) -> None:
    assert len(re.findall(r"\w+", COMMANDS[path].help or "")) >= 3


@pytest.mark.parametrize("path", PARAMETERS)
def test_a_parameter_has_help(path: str) -> None:
    words = re.findall(r"\w+", getattr(PARAMETERS[path], "help", None) or "")
    assert len(words) >= 3, f"{path}: '{' '.join(words)}' is no help"
    assert [word.lower() for word in words] != (PARAMETERS[path].name or "").split("_")
