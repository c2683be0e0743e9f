"""The sections of an audit's configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from safecompress.config.data import DataConfig
from safecompress.config.judging import ShadowsConfig
from safecompress.config.section import InputFile, Section, Share

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(duration: str | float) -> float:
    """Return a length of time in seconds.

    Args:
        duration: `90`, `90s`, `2m` or `1h`.

    Raises:
        ValueError: on anything else, or on no time at all.

    >>> seconds_of("2m"), seconds_of(90)
    (120.0, 90.0)
    """
    found = _DURATION.fullmatch(str(duration).strip())
    if isinstance(duration, bool) or found is None or not float(found[1]):
        raise ValueError(f"'{duration}' is no length of time; expected for example 60s, 2m or 1h")
    return float(found[1]) * _UNITS[found[2]]


def _rate(text: str) -> str:
    tpr, separator, fpr = text.partition("@")
    try:
        if not separator:
            raise ValueError
        float(tpr), float(fpr)
    except ValueError:
        raise ValueError(
            f"'{text}' is no TPR@FPR; expected for example 0.01@0.001: at most 1 % of the members "
            "found where 0.1 % of the non-members are taken for members"
        ) from None
    return text


Duration = Annotated[float, BeforeValidator(seconds_of)]
Rate = Annotated[str, AfterValidator(_rate)]


class LimitsConfig(Section):
    """What the audited model must keep.

    Args:
        max_auc: most that any attack's AUC may be.
        max_advantage: most that any attack's true-positive minus false-positive rate may be.
        max_tpr: each `TPR@FPR`, the most a true-positive rate may be and the false-positive rate
            it is taken at.
        max_transfer: of a pair, most that the transfer rate may be.
        max_saving: of a pair, most that asking the full model may get cheaper; else a warning.
    """

    max_auc: Annotated[float, Field(ge=0.5, le=1)] = 0.60
    max_advantage: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tpr: tuple[Rate, ...] = ()
    max_transfer: Annotated[float, Field(ge=0, le=1)] = 0.2
    max_saving: Annotated[float, Field(ge=1)] = 2.0


class AuditConfig(Section):
    """Everything `safecompress audit` needs.

    Args:
        target: an `.npz` of recorded outputs, an `.onnx`, a folder of a Hugging Face classifier,
            or a run folder.
        baseline: the dense model, of the same kinds; for a run, `dense` or `magnitude`.
        against: the full model that the target was made from, attacked by who holds the target; an
            `.onnx`, a folder of a Hugging Face classifier, a run folder or a model file in one, or
            for a run `dense`.
        data: the rows; needed for an ONNX file and a Hugging Face folder, and for them alone.
        limits: what is asked.
        attacks: further attacks, by name; they keep the same limits.
        shadows: of a run: shadow models that repeat its recipe, and where they are trained.
        level: confidence level of the intervals.
        seed: fixes every random decision.
        time_budget: the attacks are those that fit into this time, such as `60s`; None runs the
            usual ones.
        out: folder of the results; by default `audits/NAME`.
    """

    target: InputFile
    baseline: str | None = None
    against: str | None = None
    data: DataConfig | None = None
    limits: LimitsConfig = LimitsConfig()
    attacks: tuple[str, ...] = ()
    shadows: ShadowsConfig = ShadowsConfig()
    level: Share = 0.95
    seed: Annotated[int, Field(ge=0)] = 0
    time_budget: Duration | None = None
    out: Path | None = None
