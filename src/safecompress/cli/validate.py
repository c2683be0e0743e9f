"""`safecompress validate`: check a configuration before training, and the power of its checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safecompress.checks import AttackMeasure, Check, TprAtFpr
from safecompress.cli.compress import Assign, Seed, settings
from safecompress.cli.console import say
from safecompress.compression.prepare import PreparedRun, prepare
from safecompress.compression.schedule import Schedule, round_sizes, rounds_in_words
from safecompress.config import load_config
from safecompress.data import Splits
from safecompress.stats import power
from safecompress.topology import Topology
from safecompress.verdicts.verdict import power_statement


def command(
    config: Annotated[Path, typer.Argument(help="Configuration to check (.yaml).")],
    seed: Seed = None,
    assign: Assign = None,
) -> None:
    """Check a configuration, its data and its model; train nothing."""
    prepared = prepare(load_config(config, assignments=settings(assign, seed)))
    for line in describe(prepared):
        say(line)


def _settle(clock: Schedule) -> str:
    return "a whole round" if clock.settle is None else f"{clock.settle} steps"


def describe(prepared: PreparedRun) -> list[str]:
    """Return what would run, and what its checks can and cannot decide, in lines of text.

    Args:
        prepared: the run, checked and loaded.
    """
    config, splits = prepared.config, prepared.splits
    n_members, n_nonmembers = splits.sealed_sizes
    level = config.verdict.level
    steps = max(1, len(splits.members) // config.sparse.train.batch_size)
    clock = Schedule.of(
        config.sparse,
        steps_per_epoch=steps,
        total=round(config.sparse.train.epochs * steps),
    )
    topology = Topology.dense(prepared.module)
    suite = prepared.suite()
    lines = [
        f"model     {prepared.name}: {topology.total:,} maskable weights, "
        f"{round(topology.total * config.sparse.density):,} kept{_given(prepared)}",
        f"data      {_groups(splits)}",
        f"inputs    shape {splits.input_shape}, {splits.classes} classes{_columns(splits)}",
        f"search    {rounds_in_words(config)}, settling {_settle(clock)} each; "
        f"{clock.training_steps(round_sizes(config)):,} steps in all",
        f"verdict   {len(suite.checks)} checks; "
        + power_statement(n_members, n_nonmembers, level=level).text,
    ]
    for check in suite.checks:
        lines += _warnings(check, n_members, n_nonmembers, level=level)
    return [*lines, "valid"]


def _given(prepared: PreparedRun) -> str:
    """Return how good given weights are, on a line of its own; empty for a model to be trained."""
    if prepared.accuracy is None:
        return ""
    return f"\n          weights given: right on {prepared.accuracy:.1%} of the members"


def _groups(splits: Splits) -> str:
    sizes = ", ".join(f"{n:,} {name}" for name, n in splits.report.sizes.items())
    dropped = f"; {len(splits.report.dropped)} duplicates dropped" if splits.report.dropped else ""
    return f"membership {splits.report.membership}: {sizes}{dropped}"


def _columns(splits: Splits) -> str:
    """Return the columns of a table with their kinds, a line each; empty for other data."""
    encoders = () if splits.preprocessor is None else splits.preprocessor.columns
    return "".join(f"\n          {e.name}: {e.kind}, {e.width} inputs" for e in encoders)


def _warnings(check: Check, n_members: int, n_nonmembers: int, *, level: float) -> list[str]:
    """Return a warning if these rows are too few for a check to pass."""
    measure, condition = check.measure, check.condition
    if not isinstance(measure, AttackMeasure):
        return []
    if isinstance(measure.metric, TprAtFpr):
        if n_nonmembers * measure.metric.fpr < 10:
            need = round(10 / measure.metric.fpr)
            return [
                f"warning   '{check.name}' can only end inconclusive: {n_nonmembers} sealed "
                f"non-members, {need} needed."
            ]
        return []
    if measure.metric.name != "auc" or condition.relative or condition.relation != "at_most":
        return []
    if measure.attack.learns:
        n_members, n_nonmembers = n_members // 2, n_nonmembers // 2
    half = power.auc_half_width(0.5, n_members, n_nonmembers, level=level)
    if 0.5 + half > condition.bound:
        return [
            f"warning   '{check.name}' cannot pass: even at chance the interval is ±{half:.3f}; "
            "seal more rows or relax the bound."
        ]
    return []
