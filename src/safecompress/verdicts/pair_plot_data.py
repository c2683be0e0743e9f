"""The numbers behind the report's pictures of a pair: who fooled the full model, and how soon."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from safecompress.attacks.transfer import TransferOutcome, success_curve
from safecompress.checks import Check, QuerySavingMeasure, Subject, TransferRate
from safecompress.checks.transfer import COPY, Pair
from safecompress.errors import SafeCompressError
from safecompress.protocols import Rows
from safecompress.stats import clopper_pearson
from safecompress.train.predict import predict

_EXAMPLES, _LARGEST = 4, 128
_IMAGE_DIMENSIONS, _CHANNELS = 4, (1, 3)
_MODEL = "the model"


def pair_figures(
    subject: Subject, checks: Sequence[Check], *, level: float
) -> dict[str, list[dict[str, Any]]]:
    """Return what a verdict's checks found of a pair, as JSON; empty lists where there is none.

    Args:
        subject: the judged model; its attacks were run by its checks and are not run again.
        checks: the verdict's, of which those of a pair count. Figures carry the measure's name, or
            the check's where measures that differ in their options share a name.
        level: confidence level of the intervals.
    """
    transfer, queries = [], []
    names = [check.measure.name for check in checks]
    for check in checks:
        measure = check.measure
        name = check.name if names.count(measure.name) > 1 else measure.name
        try:
            if isinstance(measure, TransferRate):
                attacked = measure.attacked(subject)
                transfer.append({"measure": name} | _transfer(*attacked, level=level))
            elif isinstance(measure, QuerySavingMeasure):
                queries.append({"measure": name} | _queries(measure, subject))
        except SafeCompressError:
            # Its check says why; there is nothing to draw.
            continue
    return {"transfer": transfer, "queries": queries}


def _transfer(pair: Pair, found: TransferOutcome, *, level: float) -> dict[str, Any]:
    rates = []
    for name, fooled in found.fooled.items():
        on_copy = name.endswith(f" on {COPY}")
        rate = clopper_pearson(int(fooled.sum()), len(fooled), level=level)
        rates.append(
            {
                "attacker": name.removesuffix(f" on {COPY}"),
                "on": COPY if on_copy else _MODEL,
                "strongest": name == found.worst,
                "value": rate.value,
                "low": rate.low,
                "high": rate.high,
            }
        )
    return {
        "radius": pair.radius,
        "unit": pair.unit,
        "rows": len(found.rows),
        "masked": found.masked,
        "white_box": found.white_box,
        "white_box_full": found.white_box_full,
        "questioned": found.questioned,
        "rates": rates,
        "examples": _examples(pair, found),
    }


def _queries(measure: QuerySavingMeasure, subject: Subject) -> dict[str, Any]:
    found = measure.hunted(subject)
    return {
        "budget": measure.budget,
        "attacks": [
            {
                "name": name,
                "guided": guided,
                "rows": len(hunted.solved),
                "asked": success_curve(hunted).tolist(),
            }
            for guided, kind in ((False, found.without), (True, found.guided))
            for name, hunted in kind.items()
        ],
    }


def _examples(pair: Pair, found: TransferOutcome) -> list[dict[str, Any]]:
    """Return the first rows on which the strongest attacker fooled the full model, as pictures."""
    x = pair.x[found.rows]
    shape = x.shape[1:]
    drawable = x.ndim == _IMAGE_DIMENSIONS and shape[0] in _CHANNELS
    if not drawable or max(shape[1:]) > _LARGEST:
        return []
    chosen = found.fooled[found.worst].nonzero().squeeze(1)[:_EXAMPLES]
    if not len(chosen):
        return []
    labels = pair.labels[found.rows][chosen]
    nothing = torch.zeros(len(chosen), dtype=torch.int64)
    said = predict(pair.full, Rows(found.points[chosen], nothing, nothing)).logits.argmax(1)
    return [
        {
            "label": int(label),
            "said": int(answer),
            "row": png(x[i]),
            "point": png(found.points[i]),
            "difference": png(_shown(found.points[i] - x[i])),
        }
        for i, label, answer in zip(chosen.tolist(), labels, said, strict=True)
    ]


def _shown(difference: Tensor) -> Tensor:
    """Return a difference around gray, its largest value at an end of the range."""
    return 0.5 + 0.5 * difference / difference.abs().max().clamp(min=1e-12)


def png(image: Tensor) -> str:
    """Return an image in units as a PNG file in base64.

    Args:
        image: (1 or 3, height, width), in [0, 1].

    Reference: PNG (W3C, third edition), section 5: signature, IHDR, IDAT, IEND.
    """
    levels = (image.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    channels, height, width = levels.shape
    lines = levels.permute(1, 2, 0).reshape(height, width * channels)
    # Each line begins with its filter: 0, none.
    raw = b"".join(b"\0" + line.numpy().tobytes() for line in lines)
    color = {1: 0, 3: 2}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    whole = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return base64.b64encode(whole).decode()
