"""`model_card`: the Markdown page beside an exported file, made from its verdict document.

It begins with metadata that the Hugging Face Hub reads, so it can be a repository's README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from safecompress.export.card_metadata import front_matter
from safecompress.report.markdown import table_cell as plain
from safecompress.report.safe import LONGEST_SENTENCE
from safecompress.verdicts.export_document import ExportVerdict, Measured, SteeringAgreement
from safecompress.verdicts.parts import CheckEntry, Span

_FAITHFUL = {True: "yes", False: "no", None: "undecided"}


def model_card(document: ExportVerdict) -> str:
    """Return the model card of an exported file as Markdown.

    Args:
        document: the verdict on the file, which holds every figure of the card.
    """
    run, tested = document.run, document.retest
    said = plain(run.sentence, longest=LONGEST_SENTENCE)
    sentence = plain(document.sentence, longest=LONGEST_SENTENCE)
    lines = front_matter(document).splitlines()
    lines += [f"# {plain(document.file.name)}", "", f"**{document.status}**: {sentence}"]
    lines += _bulleted("Next steps", document.next_steps)
    lines += ["", "## Verdict", "", f"Of the model: **{run.verdict}**. {said}"]
    lines += ["", f"Faithful to the model: {_FAITHFUL[document.faithful]}."]
    lines += [
        "",
        f"The run's checks on this file, on the same sealed rows ({tested.rows.members:,} members, "
        f"{tested.rows.nonmembers:,} non-members, look {tested.looks} at them): "
        f"**{tested.verdict}**. Accuracy {_share(tested.accuracy)}, before export "
        f"{_share(tested.accuracy_before)}.",
    ]
    lines += ["", *_checks(document.checks)]
    lines += _agreed(document.agreement)
    lines += _set(document)
    lines += ["", "## Intended use", "", document.use]
    if document.usage:
        lines += ["", "## How to use it", "", f"It takes {plain(document.model.inputs)}."]
        lines += ["", "```python", *document.usage.splitlines(), "```"]
    lines += ["", "## What was attacked", "", *_attacked(document), "", "## The model", ""]
    lines += _table(
        ("", ""),
        [(name, plain(v)) for name, v in document.model.to_json().items() if v is not None],
    )
    lines += ["", "## Data", ""]
    lines += _table(("", ""), [(name, plain(value)) for name, value in document.data.items()])
    lines += ["", "## Size and speed", "", *_size(document)]
    lines += _bulleted("What the verdict does not mean", document.limits)
    lines += ["", "## Provenance", ""]
    lines += _table(("what", "SHA-256"), [(plain(k), f"`{v}`") for k, v in document.sha256.items()])
    return "\n".join(lines) + "\n"


def _agreed(found: SteeringAgreement | None) -> list[str]:
    """Return the sentence on the rows that chose which layers are rounded."""
    if found is None:
        return []
    asked = f"{found.min_agreement:.4g} was asked for" if found.min_agreement else "none was asked"
    return [
        "",
        f"Of {found.rows:,} steering non-members, which chose the layers that are rounded less, "
        f"the file names the model's class for {_share(found.same_class)}, of all such rows for at "
        f"least {_share(found.low)} (one-sided 95 %); {asked}.",
    ]


def _set(document: ExportVerdict) -> list[str]:
    """Return the section on the files that this one was released with; nothing for a single one."""
    released = document.released_with
    if released is None:
        return []
    said = plain(released.sentence, longest=LONGEST_SENTENCE)
    names = ", ".join(plain(name) for name in released.files)
    return [
        "",
        "## The set",
        "",
        f"Released together, for an attacker who holds all of them: {names}.",
        "",
        f"**{released.verdict}**: {said}",
    ]


def _bulleted(heading: str, items: Sequence[str]) -> list[str]:
    return (
        ["", f"## {heading}", "", *(f"- {plain(item, longest=LONGEST_SENTENCE)}" for item in items)]
        if items
        else []
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
    ]


def _attacked(document: ExportVerdict) -> list[str]:
    """Return the run's checks, repeated on the file, and the names of those that were not."""
    tested = document.retest
    lines = _checks(tested.checks) if tested.checks else ["No check of the run was repeated."]
    if tested.not_repeated:
        names = ", ".join(map(plain, tested.not_repeated))
        lines += ["", f"Of the run's verdict alone, and not repeated on this file: {names}."]
    return lines


def _checks(checks: Sequence[CheckEntry]) -> list[str]:
    rows = [
        (
            plain(check.name),
            str(check.status),
            _number(check.value),
            f"{_number(check.low)} to {_number(check.high)}",
            plain(check.condition),
        )
        for check in checks
    ]
    return _table(("check", "status", "value", "interval", "condition"), rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _size(document: ExportVerdict) -> list[str]:
    lines = measured_lines(document.measured)
    return lines or [f"{document.file.bytes:,} bytes. Nothing else was measured."]


def measured_lines(measured: Measured | None) -> list[str]:
    """Return sizes, loading and latency as lines of Markdown.

    Args:
        measured: the figures; None, for a file that was not measured, gives no lines.
    """
    if measured is None:
        return []
    lines = _table(
        ("file", "bytes", "zipped", "zstd"),
        [
            (name, *(f"{size:,}" for size in (of.disk, of.zip, of.zstd)))
            for name, of in measured.bytes.items()
        ],
    )
    loading, latency = measured.loading, measured.latency
    if loading is None:
        lines += ["", "Loading was not measured: the format has no loader of its own."]
    else:
        spent = f"{loading.seconds:.3f} s", f"{loading.bytes / 2**20:.1f} MiB"
        lines += ["", f"Loads in {spent[0]} and takes {spent[1]} for it and one batch."]
    if latency is None:
        return [*lines, "No runtime computes with this format as it is; no latency."]
    lines += [
        "",
        f"{latency.runtime}, {latency.threads} thread(s), {latency.machine}:",
        "",
    ]
    rows = [
        (batch, name, f"{took:.3f}", *_interval(of.ratios.get(name)))
        for batch, of in latency.batches.items()
        for name, took in of.milliseconds.items()
    ]
    head = ("rows at once", "file", "ms", "this file's time over that", "interval")
    return [*lines, *_table(head, rows)]


def _interval(ratio: Span | None) -> tuple[str, str]:
    if ratio is None:
        return "1", ""
    value, low, high = (
        "-" if x is None else f"{x:.3f}" for x in (ratio.value, ratio.low, ratio.high)
    )
    return value, f"{low} to {high}"
