"""`with_files`: an imaginary model in several files, with references that were written alike."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from safecompress.attacks.lift import lifted
from safecompress.attacks.metric import true_class_log_odds
from safecompress.protocols import Evidence, Outputs, ReferenceLogits, References
from safecompress.randomness import generator

_FILES = 2
"""Number of files besides the first."""
_FILE_SPREAD = 0.05
"""Standard deviation of a file's log-odds around the model's, relative to that over rows."""


def with_files(evidence: Evidence, *, seed: int) -> Evidence:
    """Return the evidence with two more files, in which model and references say nearly the same.

    Args:
        evidence: outputs of a model, planted or not, and references with logits.
        seed: seed of the differences between files.
    """
    outputs = evidence.outputs
    references = cast(References, evidence.references)
    source = generator(seed, "control", "files")
    spread = _FILE_SPREAD * true_class_log_odds(outputs).std().nan_to_num(nan=1.0)
    family, beside = [], []
    for _ in range(_FILES):
        noise = torch.randn(len(outputs), generator=source, dtype=torch.float64)
        family.append(lifted(outputs, spread * noise))
        beside.append(_file_of(references, outputs, spread, source))
    return replace(
        evidence, family=tuple(family), references=replace(references, beside=tuple(beside))
    )


def _file_of(
    references: References, like: Outputs, spread: Tensor, source: torch.Generator
) -> References:
    """Return the references in one more file."""
    known = cast(ReferenceLogits, references.logits).block(slice(0, len(like)))
    noise = spread * torch.randn(known.shape[:2], generator=source, dtype=torch.float64)
    said = [Outputs(logits, like.labels, like.ids) for logits in known.float()]
    logits = [lifted(o, n).logits for o, n in zip(said, noise, strict=True)]
    return References.of(torch.stack(logits), like.labels, references.seen)
