"""The model card of an exported file: what it is, what its tests said, and what they did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from safecompress.report.markdown import table_cell as plain


def model_card(document: Mapping[str, Any]) -> str:
    """Return a card as Markdown.

    Args:
        document: the JSON of an export.
    """
    file, model, run = document["file"], document["model"], document["run"]
    lines = [f"# {plain(file['name'])}", "", f"**{document['status']}**: {document['sentence']}"]
    lines += ["", "## Verdict", "", f"Of the model: **{run['verdict']}**. {plain(run['sentence'])}"]
    tested = document.get("retest")
    if tested:
        lines += [
            "",
            f"Of this file, on the same sealed rows ({tested['rows']['members']:,} members, "
            f"{tested['rows']['nonmembers']:,} non-members, look {tested['looks']} at them): "
            f"**{tested['verdict']}**. Accuracy {tested['accuracy']:.1%}, before export "
            f"{tested['accuracy_before']:.1%}.",
        ]
    lines += ["", *_table(("check", "status", "value", "interval", "condition"), _checks(document))]
    lines += ["", "## Intended use", "", document["use"], "", "## The model", ""]
    lines += _table(("", ""), [(name, plain(value)) for name, value in model.items()])
    lines += ["", "## Data", ""]
    lines += _table(("", ""), [(name, plain(value)) for name, value in document["data"].items()])
    lines += ["", "## Size and speed", "", *_size(document)]
    lines += ["", "## Limits", "", *(f"- {plain(limit)}" for limit in document["limits"])]
    lines += ["", "## Provenance", ""]
    lines += _table(
        ("what", "SHA-256"), [(plain(k), f"`{v}`") for k, v in document["sha256"].items()]
    )
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
    ]


def _checks(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            plain(check["name"]),
            check["status"],
            _number(check["value"]),
            f"{_number(check['low'])} to {_number(check['high'])}",
            plain(check["condition"]),
        )
        for check in document["checks"]
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _size(document: Mapping[str, Any]) -> list[str]:
    said = measured_lines(document.get("measured"))
    return said or [f"{document['file']['bytes']:,} bytes. Nothing else was measured."]


def measured_lines(measured: Mapping[str, Any] | None) -> list[str]:
    """Return what was measured as lines of Markdown; none where nothing was."""
    if measured is None:
        return []
    lines = _table(
        ("file", "bytes", "zipped", "zstd"),
        [
            (n, *(f"{s[k]:,}" for k in ("disk", "zip", "zstd")))
            for n, s in measured["bytes"].items()
        ],
    )
    loading = measured["loading"]
    if loading is None:
        lines += ["", "Loading was not measured: the format has no loader of its own."]
    else:
        took = f"{loading['seconds']:.3f} s", f"{loading['bytes'] / 2**20:.1f} MiB"
        lines += ["", f"Loads in {took[0]} and takes {took[1]} for it and one batch."]
    latency = measured.get("latency")
    if latency is None:
        return [*lines, "No runtime computes with this format as it is; no latency."]
    lines += [
        "",
        f"{latency['runtime']}, {latency['threads']} thread(s), {latency['machine']}:",
        "",
    ]
    rows = [
        (batch, name, f"{of['milliseconds'][name]:.3f}", *_interval(of["ratios"].get(name)))
        for batch, of in latency["batches"].items()
        for name in of["milliseconds"]
    ]
    head = ("rows at once", "file", "ms", "this file's time over that", "interval")
    return [*lines, *_table(head, rows)]


def _interval(ratio: Mapping[str, float] | None) -> tuple[str, str]:
    if ratio is None:
        return "1", ""
    return f"{ratio['value']:.3f}", f"{ratio['low']:.3f} to {ratio['high']:.3f}"
