"""`Verbs`: a group of commands that are imported when they are called.

Most commands import torch, which takes seconds. The list of them needs their names and the first
lines of their help alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer

from safecompress.cli.completion import light
from safecompress.cli.endings import TellingGroup

VERBS: Mapping[str, tuple[str, str]] = {
    "compress": (
        "compress",
        "Compress a model under simulated attacks, judge it, and write its report.",
    ),
    "audit": (
        "audit",
        "Attack a model and say whether it keeps its limits; options win over a configuration.",
    ),
    "compare": (
        "compare",
        "Compare methods over cohorts of models, or finished runs, and write the table.",
    ),
    "export": (
        "export",
        "Write a run's model as a file, load it in its own runtime and test it on the sealed rows.",
    ),
    "release": (
        "release",
        "Export a run's model in several formats, test each file, and judge all of them together.",
    ),
    "validate": ("validate", "Check a configuration, its data and its model; train nothing."),
    "report": ("report", "Write the report of finished runs from their files."),
    "init": ("init", "Write a commented starter configuration; never overwrites a file."),
    "list": (
        "list_parts",
        "List models, proposals, attacks, defenses and every other kind of part, or show one of "
        "them.",
    ),
    "demo": ("demo", "Compress a small network on a synthetic data set and show the verdict."),
}
"""Of each command, its module in this package and the first line of its help."""


class Verbs(TellingGroup):
    """The commands of an app whose names, as listed, stand for modules of this package."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return a command that is called, imported, with its name and its arguments.

        Args:
            ctx: the context of the group.
            args: the words of the command line, the command's name first.
        """
        name, command, rest = super().resolve_command(ctx, args)
        if name and name in VERBS:
            # A shell that completes a line waits for it, so nothing that takes seconds is imported.
            command = light(name) if ctx.resilient_parsing else imported(name)
        return name, command, rest


def imported(verb: str) -> Any:
    """Return a command, whose module is imported.

    Args:
        verb: its name, of `VERBS`.
    """
    module, _ = VERBS[verb]
    alone = typer.Typer(
        add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    alone.command(name=verb)(import_module(f"safecompress.cli.{module}").command)
    return typer.main.get_command(alone)


def listed(app: typer.Typer) -> None:
    """Put every command into an app by its name and the first line of its help.

    Args:
        app: an app whose group is `Verbs`.
    """
    for verb, (_, first_line) in VERBS.items():
        app.command(name=verb, help=first_line)(_stands_for_a_module)


def _stands_for_a_module() -> None:
    """Do nothing; `Verbs` puts the command in the place of this function before it is called."""
