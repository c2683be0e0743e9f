"""Rules of advice: each makes one sentence of all results of one kind, with this run's figures.

`safecompress.verdicts.advice` decides which rule a result falls under.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from safecompress.checks import rows_to_settle
from safecompress.config import CompressConfig, Request
from safecompress.registry import split_request
from safecompress.verdicts.case import Case
from safecompress.verdicts.sentence import about_rows, listed

_CHANGE = 2.0
"""Factor by which training and density are changed in an example."""


def _figures(cases: Sequence[Case]) -> str:
    return listed([case.figure for case in cases])


def control_step(cases: Sequence[Case], config: CompressConfig | None) -> str:
    """Return what to do about controls that failed.

    Args:
        cases: controls that failed, at least one.
        config: the configuration of the run; None in an audit.
    """
    del config
    first = cases[0].result
    why = first.advice or first.message or "it failed"
    return f"Mend the tests first: {first.name}: {_closed(why)}{_others(cases)}"


def broken_step(cases: Sequence[Case], config: CompressConfig | None) -> str:
    """Return what to do about critical checks that broke or could not run.

    Args:
        cases: such checks, at least one.
        config: the configuration of the run; None in an audit.
    """
    del config
    first = cases[0].result
    return (
        f"Give '{first.name}' what it lacks, or leave it out: "
        f"{_closed(first.message or 'it gave no reason')}{_others(cases)}"
    )


def leak_step(cases: Sequence[Case], config: CompressConfig | None) -> str:
    """Return what to do about a model that leaks.

    Args:
        cases: checks of attacks that failed, at least one.
        config: the configuration of the run; None in an audit.
    """
    failed = f"It leaks too much in {_figures(cases)}."
    if config is None:
        step = "Train the model for fewer epochs or with a defense (docs/defenses.md)"
        if all(case.classifies for case in cases):
            step += ", or compress it with teachers' soft labels (`safecompress compress`)"
        return f"{step}, and audit it again. {failed}"
    sparse, steer = config.sparse, config.steer
    epochs, fewer = sparse.train.epochs, sparse.train.epochs / _CHANGE
    ways = [
        f"lower sparse.density from {sparse.density:g} (e.g. to {sparse.density / _CHANGE:.2g})",
        f"train for fewer epochs (sparse.train.epochs: {epochs:g} → {fewer:g})",
    ]
    proposed = _names(steer.proposals)
    if missing := [name for name in ("soft-labels", "student") if name not in proposed]:
        proposals = ", ".join([*proposed, *missing])
        ways.append(f"let teachers label the members (steer.proposals: [{proposals}])")
    defended = _names(steer.defenses)
    ways.append(
        f"strengthen the defense (steer.defenses: {', '.join(defended)})"
        if defended
        else "train with a defense (e.g. steer.defenses: [relax-loss])"
    )
    return f"To leak less, {_either(ways)}. {failed}"


def parent_step(cases: Sequence[Case], config: CompressConfig | None) -> str:
    """Return what to do about a model that is a key to the full one.

    Args:
        cases: checks of such attacks that failed, at least one.
        config: the configuration of the run; None in an audit.
    """
    how = (
        "Train the small model away from the gradients of the full one (docs/unpairing.md)"
        if config is None
        else "Propose unpairing (steer.proposals: [unpair]; docs/unpairing.md)"
    )
    return f"{how}. It gives away too much of the full model in {_figures(cases)}."


def column_step(cases: Sequence[Case], config: CompressConfig | None) -> str:
    """Return what to do about a model that gives away a column.

    Args:
        cases: checks of it that failed, at least one.
        config: the configuration of the run; None in an audit.
    """
    del config
    return (
        "Train without that column, or for fewer epochs, or with a defense (docs/defenses.md). It "
        f"is given away in {_figures(cases)}."
    )


def worth_step(cases: Sequence[Case], config: CompressConfig | None) -> str:
    """Return what to do about a model that is right too seldom.

    Args:
        cases: checks of its worth that failed, at least one.
        config: the configuration of the run; None in an audit.
    """
    failed = f"It is right too seldom in {_figures(cases)}."
    if config is None:
        return (
            "Check that both models got the rows prepared as in training and number their classes "
            f"alike; if so, train the model longer or keep more of its weights. {failed}"
        )
    sparse = config.sparse
    ways = []
    if sparse.density < 1:
        denser = min(1.0, sparse.density * _CHANGE)
        ways.append(f"raise sparse.density from {sparse.density:g} (e.g. to {denser:.2g})")
    ways.append(
        f"train longer (sparse.train.epochs: {sparse.train.epochs:g} → "
        f"{ceil(sparse.train.epochs * _CHANGE):g})"
    )
    if _names([config.steer.objective]) != ["bounded"] and sparse.rounds:
        ways.append(
            "let the search keep accuracy first (steer.objective: {bounded: {tolerance: 0.01}})"
        )
    return f"To be right more often, {_either(ways)}. {failed}"


def size_step(cases: Sequence[Case], config: CompressConfig | None) -> str:
    """Return what to do about a model that keeps too many weights.

    Args:
        cases: checks of its density that failed, at least one.
        config: the configuration of the run; None in an audit.
    """
    check = cases[0].check
    bound = "its limit" if check is None else f"{check.condition.bound:g}"
    if config is None:
        return f"Compress the model to {bound} of its weights or fewer ({_figures(cases)})."
    return (
        f"Set sparse.density to {bound} or less in place of {config.sparse.density:g} "
        f"({_figures(cases)})."
    )


def other_step(cases: Sequence[Case], config: CompressConfig | None) -> str:
    """Return what to do about a failed check of a measure of another package.

    Args:
        cases: such checks, at least one.
        config: the configuration of the run; None in an audit.
    """
    del config
    first = cases[0].result
    return (
        f"Change the model until it keeps '{first.condition or first.name}', or set another limit: "
        f"{_figures(cases)}."
    )


def rows_step(cases: Sequence[Case], config: CompressConfig | None) -> str:
    """Return what to do about checks that more rows would settle.

    Args:
        cases: undecided checks, at least one.
        config: the configuration of the run; None in an audit.
    """
    needed = [
        (rows_to_settle(e, c.check.condition) or 0, e.group, e.n_members + e.n_nonmembers)
        for c in cases
        if (e := c.result.estimate) is not None and c.check is not None
    ]
    rows, group, now = max(needed)
    wanted = about_rows(rows, group)
    how = (
        f"Audit {wanted} in place of {now:,}"
        if config is None
        else f"Seal {wanted} in place of {now:,} (more data, or a smaller share of steering rows)"
    )
    return f"{how}, if the figures stay as they are, to settle {_figures(cases)}."


def limit_step(cases: Sequence[Case], config: CompressConfig | None) -> str:
    """Return what to do about checks whose figure lies at its limit.

    Args:
        cases: undecided checks, at least one.
        config: the configuration of the run; None in an audit.
    """
    relative = any(c.check is not None and c.check.condition.relative for c in cases)
    where = "its limits" if config is None else "verdict.checks"
    margin = "a margin to the dense model" if relative else "another limit"
    return (
        f"More rows will not settle {_figures(cases)}: decide whether a figure at the limit is "
        f"acceptable. If it is, allow {margin} in {where} before the next look; if not, treat it "
        "as failed."
    )


def unmeasured_step(cases: Sequence[Case], config: CompressConfig | None) -> str:
    """Return what to do about checks whose figure could not be measured.

    Args:
        cases: undecided checks, at least one.
        config: the configuration of the run; None in an audit.
    """
    del config
    first = cases[0].result
    why = _closed(first.message or "the rows did not suffice")
    return f"'{first.name}' could not be measured: {why}{_others(cases)}"


def _others(cases: Sequence[Case]) -> str:
    """Return the end of a step that tells of the first case alone: the names of the others."""
    names = [case.result.name for case in cases[1:]]
    return f" The same may hold for {listed(names)}." if names else ""


def _names(requests: Sequence[Request]) -> list[str]:
    return [split_request(request, where="advice")[0] for request in requests]


def _either(ways: Sequence[str]) -> str:
    return ways[0] if len(ways) == 1 else f"{', '.join(ways[:-1])}, or {ways[-1]}"


def _closed(text: str) -> str:
    """Return text that ends as a sentence does."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
