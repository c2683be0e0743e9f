"""`safecompress list`: every named part with its cost and reference."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from safecompress.attacks import ATTACKS
from safecompress.checks import MEASURES, OBJECTIVES
from safecompress.defenses import DEFENSES
from safecompress.errors import ConfigError, did_you_mean
from safecompress.models import MODELS
from safecompress.registry import Registry
from safecompress.sparse import DROP_RULES, GROW_RULES, PROPOSALS

KINDS: dict[str, Registry[Any]] = {
    "models": MODELS,
    "proposals": PROPOSALS,
    "drop": DROP_RULES,
    "grow": GROW_RULES,
    "attacks": ATTACKS,
    "defenses": DEFENSES,
    "objectives": OBJECTIVES,
    "measures": MEASURES,
}


def command(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(KINDS)}.")] = None,
) -> None:
    """List models, proposals, attacks, defences, objectives and measures."""
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"list: no kind '{kind}'{did_you_mean(kind, KINDS)}")
    console = Console()
    for name in KINDS if kind is None else (kind,):
        table = Table(title=name, title_justify="left", box=None, title_style="bold")
        for column in ("name", "what", "cost", "reference"):
            table.add_column(column, overflow="fold")
        for part in KINDS[name].all().values():
            table.add_row(part.name, part.summary, part.cost, part.reference)
        console.print(table)
        console.print()
