"""`set_sentences`, `threat_of_set`, `surest_first`: a verdict on several files in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from safecompress.verdicts.joint_document import HeldTogether, SetExposure, SetFile

_DENSE = {
    "published": "The dense model is one of the files.",
    "secret": "The dense model stays secret: files are compared with it, and no attack reads it.",
    "not given": "",
}
_SHOWN = 4
"""Most names of files in one sentence."""


def threat_of_set(files: int, dense: Literal["published", "secret", "not given"]) -> str:
    """Return in words what the attacker of a set has.

    Args:
        files: number of files.
        dense: whether the dense model is one of them.
    """
    held, asked = (
        ("both files", "Each file is attacked alone, and both together. ")
        if files == 2
        else (
            f"all {files} files",
            "Every file is attacked alone, every two files and all of them together. ",
        )
    )
    text = (
        f"The attacker holds {held} of one model, sees the full outputs of each, and knows each "
        f"record's true label. {asked}"
    )
    return (text + _DENSE[dense]).strip()


def set_sentences(
    files: Sequence[SetFile],
    best: HeldTogether | None,
    family: HeldTogether,
    exposed: SetExposure | None,
) -> list[str]:
    """Return the sentences of a verdict that compare the set with its files.

    Args:
        files: every file by itself.
        best: the pair that was chosen; None where none could be measured.
        family: all files.
        exposed: whom the set exposes; None where that could not be measured.
    """
    known = [(file.auc.value, file.name) for file in files if file.auc and file.auc.value]
    sentences = []
    if known:
        value, name = max(known)
        parts = [f"one file alone tells at most {value:.3f} ({name})"]
        if best is not None and len(files) > 2:
            parts += _part("the best pair", best)
        parts += _part(f"all {len(files)} files" if len(files) > 2 else "both files", family)
        sentences.append(f"Of AUC, {', '.join(parts)}.")
    if exposed is not None:
        sentences.append(
            f"{len(exposed.rows)} of {exposed.members:,} members are exposed by several files "
            f"together and by no file alone, where {exposed.false_positive_rate:.0%} of the "
            "non-members are taken for members."
        )
    return sentences


def _part(who: str, held: HeldTogether) -> list[str]:
    if held.auc is None or held.auc.value is None:
        return []
    return [f"{who} {held.auc.value:.3f} ({names_of(held.files)})"]


def names_of(files: Sequence[str]) -> str:
    """Return the names of files joined by a plus, the first few of many.

    Args:
        files: names of files.

    >>> names_of(["a.onnx", "b.onnx"])
    'a.onnx + b.onnx'
    """
    more = f" + {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return " + ".join(files[:_SHOWN]) + more


def surest_first(held: HeldTogether) -> float:
    """Return the key that sorts the largest AUC first, and what was not measured last.

    Args:
        held: some files.
    """
    value = None if held.auc is None else held.auc.value
    return 1.0 if value is None else -value
