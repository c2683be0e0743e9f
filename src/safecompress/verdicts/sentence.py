"""`sentence_of`: a verdict in plain words, made from the results of its checks.

"Not safe to ship" is said only of a leak. A model that only answers too badly or is too large is
"not good enough to ship", because its safety may well have improved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safecompress.checks import CheckResult, Condition, Status, rows_to_settle
from safecompress.verdicts.parts import ComparedModel, Span, aucs_of

_SHOWN = 3
"""Names of checks in one list; further ones are counted."""
_BROKEN = frozenset({Status.ERROR, Status.NOT_RUN})


@dataclass(frozen=True)
class Undecided:
    """Undecided checks, by what would decide them.

    Args:
        by_rows: by check, about how many rows would settle it, and of which group; '' for all.
        at_the_limit: checks that no number of rows settles, because the figure lies at its limit.
        unmeasured: checks without a figure; their messages give the reason.
    """

    by_rows: Mapping[str, tuple[int, str]]
    at_the_limit: tuple[str, ...]
    unmeasured: tuple[str, ...]

    @classmethod
    def among(
        cls, results: Sequence[CheckResult], conditions: Mapping[str, Condition]
    ) -> Undecided:
        """Sort the undecided ones among some results.

        Args:
            results: results of checks; decided ones are left out.
            conditions: by name of a check, its condition; those without one count as unmeasured.
        """
        needed: dict[str, tuple[int, str]] = {}
        limit, unmeasured = [], []
        for result in results:
            if not is_undecided(result):
                continue
            if result.estimate is None or result.name not in conditions:
                unmeasured.append(result.name)
            elif (rows := rows_to_settle(result.estimate, conditions[result.name])) is None:
                limit.append(result.name)
            else:
                needed[result.name] = rows, result.estimate.group
        return cls(needed, tuple(limit), tuple(unmeasured))


def sentence_of(
    status: Status,
    results: Sequence[CheckResult],
    row: ComparedModel,
    *,
    conditions: Mapping[str, Condition],
    rows: int,
    more: Sequence[str] = (),
) -> str:
    """Return a verdict in plain words.

    Args:
        status: PASS, FAIL, INCONCLUSIVE or ERROR, as the results add up to.
        results: the results of all checks, controls included.
        row: the figures of the judged model.
        conditions: by name of a check, its condition.
        rows: members and non-members that the model was judged on.
        more: further sentences, such as one on the group of rows that leaks most.
    """
    parts = [
        _headline(status, results, conditions),
        _leak(results, row),
        *more,
        _left_undecided(status, results),
        "" if status is Status.ERROR else _distrusted(results),
        _without_controls(results, rows),
    ]
    return " ".join(part for part in parts if part)


def is_control(result: CheckResult) -> bool:
    """Return whether a result is that of a control, which tests the tests.

    Args:
        result: a result of a verdict.
    """
    return result.name.startswith("control:")


def is_undecided(result: CheckResult) -> bool:
    """Return whether the rows could not settle a check; one without a trusted figure broke instead.

    Args:
        result: a result of a verdict.
    """
    if result.status is Status.WARN:
        return not result.decided
    return result.status is Status.INCONCLUSIVE


def broken_of(results: Sequence[CheckResult]) -> list[CheckResult]:
    """Return the critical results that have no answer: errors, and checks that did not run.

    Args:
        results: the results of all checks, controls included.
    """
    return [r for r in results if r.critical and r.status in _BROKEN]


def about(rows: int) -> str:
    """Return a number of rows in words, rounded up to two digits, for it is an estimate.

    Args:
        rows: the number, at least 0.

    >>> about(3572), about(86)
    ('3,600', '86')
    """
    unit = 10 ** max(0, len(str(rows)) - 2)
    return f"{-(-rows // unit) * unit:,}"


def about_rows(rows: int, group: str = "") -> str:
    """Return how many rows are needed, in words.

    Args:
        rows: an estimate of their number.
        group: the group that they must be of, such as `class 1`; empty where any count.
    """
    return f"about {about(rows)} rows{f' of {group}' if group else ''}"


def listed(names: Sequence[str]) -> str:
    """Return names separated by commas, the first few of many.

    Args:
        names: names of checks.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    first = ", ".join(names[:_SHOWN])
    return first + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _headline(
    status: Status, results: Sequence[CheckResult], conditions: Mapping[str, Condition]
) -> str:
    critical = [r for r in results if r.critical and not is_control(r)]
    if status is Status.PASS:
        passed = sum(r.status is Status.PASS for r in critical)
        share = "all" if passed == len(critical) else f"{passed} of"
        return (
            f"Safe to ship by the tests that were asked for: {share} {len(critical)} critical "
            "checks passed, and none failed."
        )
    if status is Status.FAIL:
        return _failed([r for r in critical if r.status is Status.FAIL], len(critical))
    if status is Status.INCONCLUSIVE:
        named = [r for r in critical if r.status is Status.INCONCLUSIVE]
        return " ".join([*_doubts(results), *_not_decided(named, len(critical), conditions)])
    return _no_verdict(results)


def _failed(failed: Sequence[CheckResult], of: int) -> str:
    leaks = [r.name for r in failed if r.leak]
    others = [r.name for r in failed if not r.leak]
    sentences = [
        f"{words} to ship: {len(names)} of {of} critical checks failed: {listed(names)}."
        for words, names in (("Not safe", leaks), ("Not good enough", others))
        if names
    ]
    return " ".join(sentences) or "Not good enough to ship: a critical check failed."


def _doubts(results: Sequence[CheckResult]) -> list[str]:
    """Return the sentences on critical controls that are undecided."""
    names = [
        r.name.removeprefix("control: ")
        for r in results
        if is_control(r) and r.critical and r.status is Status.INCONCLUSIVE
    ]
    return [f"Not decided, because a control is in doubt: {listed(names)}."] if names else []


def _not_decided(
    named: Sequence[CheckResult], of: int, conditions: Mapping[str, Condition]
) -> list[str]:
    undecided = Undecided.among(named, conditions)
    sentences = [f"Not decided: {len(named)} of {of} critical checks."] if named else []
    if undecided.by_rows:
        rows, names = about_rows(*max(undecided.by_rows.values())), listed(list(undecided.by_rows))
        sentences.append(
            f"{rows[0].upper()}{rows[1:]} would settle {names}, if the figures stay as they are."
        )
    if undecided.at_the_limit:
        lies = "the figure lies" if len(undecided.at_the_limit) == 1 else "the figures lie"
        sentences.append(
            f"No number of rows will settle {listed(undecided.at_the_limit)}: {lies} at the limit."
        )
    if undecided.unmeasured:
        sentences.append(f"Not measured: {listed(undecided.unmeasured)}.")
    return sentences


def _no_verdict(results: Sequence[CheckResult]) -> str:
    broken = broken_of(results)
    parts = [
        f"{words}: {listed(names)}"
        for words, names in (
            ("tests cannot be trusted", [r.name for r in broken if r.status is Status.ERROR]),
            ("tests did not run", [r.name for r in broken if r.status is Status.NOT_RUN]),
        )
        if names
    ]
    return f"No verdict: {'; '.join(parts) or 'no critical check was asked for'}."


def _leak(results: Sequence[CheckResult], row: ComparedModel) -> str:
    """Return the sentence on the strongest attack; attacks whose controls failed do not count."""
    distrusted = {r.attack for r in results if is_control(r) and r.status is Status.ERROR}
    known: dict[str, Span] = {
        name: span
        for name, span in aucs_of(row.attacks).items()
        if span.value is not None and name not in distrusted
    }
    if not known:
        return ""
    strongest = max(span.value for span in known.values() if span.value is not None)
    return (
        "Its strongest attack tells members from non-members with AUC "
        f"{strongest:.3f} (0.5 is guessing, 1 is certainty)."
    )


def _left_undecided(status: Status, results: Sequence[CheckResult]) -> str:
    """Return the sentence on undecided checks that the headline does not name."""
    names = [
        r.name
        for r in results
        if is_undecided(r)
        and not (status is Status.INCONCLUSIVE and r.critical and r.status is status)
    ]
    return f"Left undecided: {listed(names)}." if names else ""


def _distrusted(results: Sequence[CheckResult]) -> str:
    names = [r.name for r in broken_of(results)]
    return f"Not to be trusted: {listed(names)}." if names else ""


def _without_controls(results: Sequence[CheckResult], rows: int) -> str:
    controls = [r for r in results if is_control(r)]
    silent = [r for r in controls if r.status is Status.NOT_RUN]
    if not silent:
        return ""
    if len(silent) == len(controls):
        return f"None of its controls could run on {rows:,} rows."
    return (
        f"{len(silent)} of its {len(controls)} controls could not run: "
        f"{listed([r.name.removeprefix('control: ') for r in silent])}."
    )
