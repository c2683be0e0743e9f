"""`pair_figures`: the numbers behind the report's pictures of attacks on a pair of models."""

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
from safecompress.checks.on_parent import Pair
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
    """Return the results of transfer and query attacks as JSON; empty lists without such checks.

    Args:
        subject: the judged model; results of attacks that its checks ran are taken from its cache.
        checks: the checks of the verdict; only those of a pair are used. Figures have the name of
            the measure, or that of the check where measures with other options share a name.
        level: confidence level of the intervals, in (0, 1).
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
            # The check reports the error; there is nothing to draw.
            continue
    return {"transfer": transfer, "queries": queries}


def _transfer(pair: Pair, outcome: TransferOutcome, *, level: float) -> dict[str, Any]:
    rates = []
    for name, fooled in [*outcome.fooled.items(), *outcome.without.items()]:
        on = outcome.crafted_on.get(name, "")
        rate = clopper_pearson(int(fooled.sum()), len(fooled), level=level)
        rates.append(
            {
                "attacker": name.removesuffix(f" on {on}"),
                "on": on or _MODEL,
                "held": name in outcome.fooled,
                "strongest": name == outcome.worst,
                "value": rate.value,
                "low": rate.low,
                "high": rate.high,
            }
        )
    return {
        "radius": pair.radius,
        "unit": pair.unit,
        "rows": len(outcome.rows),
        "masked": outcome.masked,
        "masks": list(outcome.masks),
        "white_box": outcome.white_box,
        "white_box_full": outcome.white_box_full,
        "questioned": outcome.questioned,
        "rates": rates,
        "examples": _examples(pair, outcome),
    }


def _queries(measure: QuerySavingMeasure, subject: Subject) -> dict[str, Any]:
    saving = measure.hunted(subject)
    return {
        "budget": measure.budget,
        "attacks": [
            {
                "name": name,
                "guided": guided,
                "rows": len(search.solved),
                "asked": success_curve(search).tolist(),
            }
            for guided, kind in ((False, saving.without), (True, saving.guided))
            for name, search in kind.items()
        ],
    }


def _examples(pair: Pair, outcome: TransferOutcome) -> list[dict[str, Any]]:
    """Return the first rows on which the strongest attacker fooled the full model, as pictures."""
    x = pair.x[outcome.rows]
    shape = x.shape[1:]
    drawable = x.ndim == _IMAGE_DIMENSIONS and shape[0] in _CHANNELS
    if not drawable or max(shape[1:]) > _LARGEST:
        return []
    chosen = outcome.fooled[outcome.worst].nonzero().squeeze(1)[:_EXAMPLES]
    if not len(chosen):
        return []
    labels = pair.labels[outcome.rows][chosen]
    unused = torch.zeros(len(chosen), dtype=torch.int64)
    answers = predict(pair.full, Rows(outcome.points[chosen], unused, unused)).logits.argmax(1)
    return [
        {
            "label": int(label),
            "said": int(answer),
            "row": png(x[i]),
            "point": png(outcome.points[i]),
            "difference": png(_around_gray(outcome.points[i] - x[i])),
        }
        for i, label, answer in zip(chosen.tolist(), labels, answers, strict=True)
    ]


def _around_gray(difference: Tensor) -> Tensor:
    """Return a difference as an image around gray, scaled to reach an end of [0, 1]."""
    return 0.5 + 0.5 * difference / difference.abs().max().clamp(min=1e-12)


def png(image: Tensor) -> str:
    """Return an image as a PNG file in base64.

    Args:
        image: float (1 or 3, height, width), in [0, 1].

    Reference: PNG (W3C, third edition), section 5: signature, IHDR, IDAT, IEND.
    """
    levels = (image.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    channels, height, width = levels.shape
    lines = levels.permute(1, 2, 0).reshape(height, width * channels)
    # PNG demands that each line begins with the number of its filter; 0 is no filter.
    raw = b"".join(b"\0" + line.numpy().tobytes() for line in lines)
    color = {1: 0, 3: 2}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    whole = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return base64.b64encode(whole).decode()
