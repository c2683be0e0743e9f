"""`AuditConfig`, `LimitsConfig`: the configuration of an audit and the limits that it checks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from safecompress.config.data import DataConfig
from safecompress.config.judging import MARGIN, ShadowsConfig
from safecompress.config.section import InputFile, Request, Section, Share
from safecompress.config.standards import STANDARD_HELP, StandardName
from safecompress.config.trackers import TRACKERS_HELP, Trackers

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(duration: str | float) -> float:
    """Return a length of time in seconds.

    Args:
        duration: a number of seconds, or text such as `90s`, `2m` or `1h`.

    Raises:
        ValueError: on any other text, and on a duration of zero.

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


# Editors check a file by the JSON schema. The validator also converts text such as `2m`, which
# pydantic's own schema of a float does not allow.
Duration = Annotated[
    float,
    BeforeValidator(seconds_of),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": rf"^\s*(?:{_DURATION.pattern})\s*$"},
            ]
        }
    ),
]
Rate = Annotated[str, AfterValidator(_rate)]


class LimitsConfig(Section):
    """What the audited model must keep."""

    standard: StandardName | None = Field(default=None, description=STANDARD_HELP)
    max_auc: float = Field(
        default=0.60,
        ge=0.5,
        le=1,
        description="Most that any attack's AUC may be. 0.5 is guessing and 1 finds every member.",
    )
    max_group_auc: Annotated[float, Field(ge=0.5, le=1)] | None = Field(
        default=None,
        description="Most that any attack's AUC may be within each class, and within each group of "
        "`group_by`, whichever way its ranking points. Left out, it is `max_auc`, and groups too "
        "small to settle it are a warning; where it is set, they leave the verdict undecided.",
    )
    max_advantage: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Most that any attack's advantage may be: its true-positive minus its "
        "false-positive rate. Left out, it is not asked.",
    )
    max_tpr: tuple[Rate, ...] = Field(
        default=(),
        description="Limits `TPR@FPR`: the most a true-positive rate may be, and the "
        "false-positive rate it is taken at, both in (0, 1), such as `0.01@0.001`. Left out, "
        "`0.05@0.01` and `0.005@0.001` are asked, and rows too few for them only warn.",
    )
    margin: float = Field(
        default=MARGIN,
        ge=0,
        le=0.5,
        description="Where there is a `baseline`: AUC that any attack may gain on it. With 0 a "
        "target that leaks just as little can never be shown to.",
    )
    max_transfer: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Where `against` is given: most that the share of rows may be on which inputs "
        "crafted on the target fool the full model.",
    )
    max_transfer_gain: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Where `against` is given: most that holding the target may add to that share, "
        "compared with the same attacker without it. More is a warning and not a failure.",
    )
    max_saving: float = Field(
        default=2.0,
        ge=1,
        description="Where `against` is given: most that the target may lower the number of "
        "questions it takes to fool the full model, as a factor. More is a warning and not a "
        "failure.",
    )


class AuditConfig(Section):
    """Everything `safecompress audit` needs."""

    target: InputFile = Field(
        description="What is audited: an `.npz` of recorded outputs, an `.onnx`, the folder of a "
        "Hugging Face classifier, or a run folder."
    )
    jointly: tuple[InputFile, ...] = Field(
        default=(),
        description="Further files of the same model that are published with `target`, of the same "
        "kinds: one attacker holds all of them, and they are judged as one set. If `baseline` is "
        "among them the dense model is published, too; otherwise it is secret.",
    )
    baseline: str | None = Field(
        default=None,
        description="The dense model to compare with, of the same kinds as `target`; for a run, "
        "`dense` or `magnitude`. Left out, nothing is compared.",
    )
    against: str | None = Field(
        default=None,
        description="The full model that the target was made from, attacked by somebody who holds "
        "the target: an `.onnx`, the folder of a Hugging Face classifier, a run folder or a model "
        "file in one, or for a run `dense`. Left out, no crafted inputs are tried.",
    )
    data: DataConfig | None = Field(
        default=None,
        description="The rows: needed for an ONNX file and a Hugging Face folder. Left out for a "
        "run and for recorded outputs, which bring their own.",
    )
    classes: tuple[str, ...] = Field(
        default=(),
        description="Names of the classes, in the order of the model's columns. Labels that are "
        "texts need them for an `.onnx` and an `.npz`; left out, labels are column numbers, or the "
        "names that the model itself has.",
    )
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="The target's accuracy on rows it was not trained on, as you know it. The "
        "non-members must bear it out, which shows that the model got the inputs it knows. Left "
        "out, a model that a simple classifier beats by far is not decided.",
    )
    limits: LimitsConfig = Field(
        default=LimitsConfig(),
        description="What the target must keep; a limit that is broken fails the verdict.",
    )
    group_by: tuple[str, ...] = Field(
        default=(),
        description="Columns, such as `region`, within whose groups the leak is judged, too: of a "
        "table's rows, or arrays `member_group_NAME` and `nonmember_group_NAME` of recorded "
        "outputs. Classes are always judged.",
    )
    attacks: tuple[Request, ...] = Field(
        default=(),
        description="Attacks that run besides the usual ones, such as `augmentation` or "
        "`{augmentation: {copies: 4}}`, whatever the time; they keep the same limits.",
    )
    shadows: ShadowsConfig = Field(
        default=ShadowsConfig(),
        description="For a run: shadow models that repeat its recipe, and where they are trained.",
    )
    level: Share = Field(
        default=0.95,
        description="Confidence level of the intervals. Raise it for fewer false alarms and more "
        "inconclusive verdicts.",
    )
    outputs: Literal["auto", "logits", "probabilities"] = Field(
        default="auto",
        description="What the target's outputs are. `auto` reads it off the numbers and refuses "
        "those that leave it open, because probabilities that are taken for logits hide what a "
        "model leaks. It also settles what references, `baseline` and `against` return, unless "
        "their numbers contradict it.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Seed of every random decision, such as which rows learning attacks learn on.",
    )
    time_budget: Duration | None = Field(
        default=None,
        description="Time within which the audit ends, such as `60s`, `2m` or `1h` (a number is "
        "seconds): the attacks are those that fit. Left out, the usual ones run.",
    )
    out: Path | None = Field(
        default=None, description="Folder of the results. Left out, it is `audits/NAME`."
    )
    trackers: Trackers = Field(default=(), description=TRACKERS_HELP)
