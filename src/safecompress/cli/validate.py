"""`safecompress validate`: check a configuration before training, and the power of its checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from safecompress.checks import AttackMeasure, Check, Suite, TprAtFpr
from safecompress.checks.overall import unasked
from safecompress.cli.compress import Assign, Seed, settings
from safecompress.compression.prepare import PreparedRun, prepare
from safecompress.compression.schedule import Schedule, round_sizes, rounds_in_words
from safecompress.config import load_config
from safecompress.data import Splits
from safecompress.display.console import say
from safecompress.sparse.starved import starved_layers
from safecompress.stats import power, tpr_at_fpr_interval
from safecompress.topology import Topology, embedding_tables
from safecompress.verdicts.sentence import listed
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
    lines += [f"note      {remark}" for remark in prepared.remarks]
    lines += _starved(prepared)
    lines += _warnings(suite, n_members, n_nonmembers, level=level)
    lines += [f"warning   no verdict can pass: {d.message}. {d.advice}" for d in unasked(suite)]
    return [*lines, "valid"]


def _starved(prepared: PreparedRun) -> list[str]:
    """Return a warning for every layer that a mask by magnitude would leave without signal.

    The weights are those before training, which tell the scales of layers.
    """
    topology, tables = prepared.mask_by_magnitude(), embedding_tables(prepared.module)
    return [f"warning   {s}; raise sparse.density" for s in starved_layers(topology, tables)]


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
    """Return the columns of a table with their kinds, a line each, or what texts become.

    Empty for other data.
    """
    if (tokens := splits.tokens) is not None:
        return (
            f"\n          {' and '.join(tokens.columns)}: text, {tokens.length} of "
            f"{tokens.vocabulary:,} tokens a row, by the tokenizer in {tokens.tokenizer}"
        )
    encoders = () if splits.preprocessor is None else splits.preprocessor.columns
    return "".join(f"\n          {e.name}: {e.kind}, {e.width} inputs" for e in encoders)


def _open(check: Check, n_members: int, n_nonmembers: int, *, level: float) -> str:
    """Return why these rows cannot settle a check even where nothing leaks; empty if they can."""
    measure, condition = check.measure, check.condition
    if not isinstance(measure, AttackMeasure):
        return ""
    if condition.relative or condition.relation != "at_most":
        return ""
    if measure.attack.learns:
        n_members, n_nonmembers = n_members // 2, n_nonmembers // 2
    if isinstance(measure.metric, TprAtFpr):
        # Scores of members and of others alternate, as they do where nothing leaks.
        groups = np.arange(n_members) / n_members, (np.arange(n_nonmembers) + 0.5) / n_nonmembers
        reached = tpr_at_fpr_interval(*groups, fpr=measure.metric.fpr, level=level).high
    elif measure.metric.name == "auc":
        reached = 0.5 + power.auc_half_width(0.5, n_members, n_nonmembers, level=level)
    else:
        return ""
    return f"the interval reaches {reached:.3f}" if reached > condition.bound else ""


def _warnings(suite: Suite, n_members: int, n_nonmembers: int, *, level: float) -> list[str]:
    """Return a warning for every check that these rows are too few for, others in one line."""
    checks = {c: _open(c, n_members, n_nonmembers, level=level) for c in suite.checks}
    lines = [
        f"warning   '{check.name}' cannot pass: even at chance {why}; seal more rows or relax the "
        "bound."
        for check, why in checks.items()
        if why and check.decisive
    ]
    left = [check.name for check, why in checks.items() if why and not check.decisive]
    if left:
        lines.append(
            f"note      {len(left)} checks can fail but are too rarely settled by so few rows to "
            f"pass: {listed(left)}; they only warn."
        )
    return lines
