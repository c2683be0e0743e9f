"""`TeacherSetting`, `Trial`, `choose`: how teachers train, and which setting a run keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from safecompress.config import ModelConfig, TeacherChoiceConfig, TeachersConfig, TrainConfig
from safecompress.errors import NonFiniteError
from safecompress.models import MODELS
from safecompress.registry import options_of
from safecompress.train import steps_per_epoch

_LISTS = {
    "rate": "rates",
    "steps": "steps",
    "width": "widths",
    "options": "options",
    "noise": "noise",
}
"""What a setting consists of, in the order in which it is tried, and the list with its values."""


@dataclass(frozen=True)
class TeacherSetting:
    """How teachers train, compared with the training that the configuration states.

    Args:
        rate: multiple of the peak learning rate.
        steps: multiple of the steps that the training takes on all members; None trains for as
            many epochs as on all members, so for fewer steps.
        width: multiple of the model's width.
        options: changes of the model's options.
        noise: standard deviation of noise on the inputs; None keeps the training's own.
    """

    rate: float = 1.0
    steps: float | None = None
    width: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    noise: float | None = None

    @classmethod
    def of(cls, config: TeachersConfig) -> TeacherSetting:
        """Return the setting that a configuration begins with: the only one where none is chosen.

        Args:
            config: the section of the teachers.
        """
        choice = config.choose
        if choice is None:
            return cls(steps=1.0 if config.equal == "steps" else None)
        return cls(choice.rates[0], choice.steps[0], choice.widths[0], {}, choice.noise[0])

    def train(self, train: TrainConfig, *, members: int, rows: int) -> TrainConfig:
        """Return the training of one teacher.

        Args:
            train: the training that the configuration states.
            members: number of all members.
            rows: number of those that the teacher is trained on.
        """
        changes: dict[str, float] = {}
        if self.rate != 1.0:
            changes["lr"] = train.lr * self.rate
        if self.noise is not None and self.noise != train.noise:
            changes["noise"] = self.noise
        if self.steps is not None:
            whole = round(train.epochs * steps_per_epoch(members, train))
            changes["epochs"] = round(self.steps * whole) / steps_per_epoch(rows, train)
        return train.model_copy(update=changes)

    def model(self, model: ModelConfig) -> ModelConfig:
        """Return the configuration of the teachers' model, without weights.

        Args:
            model: the configuration of the run's model, of a family that `can_widen`.
        """
        options = dict(model.options)
        if self.width != 1.0:
            own = {
                o.name: o.default for o in options_of(MODELS.parts[model.name].factory)
            } | options
            if "hidden" in own:
                options["hidden"] = [max(1, round(size * self.width)) for size in own["hidden"]]
            else:
                options["width"] = own["width"] * self.width
        return model.model_copy(update={"options": options | dict(self.options), "weights": None})

    def words(self) -> str:
        """Return the setting in one line, e.g. `rate 3, steps 1, width 1, noise 0`."""
        options = f", options {dict(self.options)}" if self.options else ""
        steps = "" if self.steps is None else f", steps {self.steps:g}"
        noise = "" if self.noise is None else f", noise {self.noise:g}"
        return f"rate {self.rate:g}{steps}, width {self.width:g}{options}{noise}"


def can_widen(model: ModelConfig | None) -> bool:
    """Return whether teachers can have another width than the run's model.

    Args:
        model: the configuration of the run's model; None where the model was given.
    """
    if model is None or model.name not in MODELS.parts:
        return False
    return bool(
        {"hidden", "width"} & {o.name for o in options_of(MODELS.parts[model.name].factory)}
    )


@dataclass(frozen=True)
class Trial:
    """A setting, and how a teacher trained by it did.

    Args:
        setting: the setting.
        accuracy: share of the members it never saw that it classifies correctly, in [0, 1]; None
            where its training diverged.
        steps: optimizer steps that its training took.
    """

    setting: TeacherSetting
    accuracy: float | None
    steps: int

    def to_json(self) -> dict[str, Any]:
        """Return the trial as JSON values."""
        return asdict(self.setting) | {"accuracy": self.accuracy, "optimizer_steps": self.steps}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Trial:
        """Return the trial that `to_json` wrote.

        Args:
            stored: the JSON values.
        """
        setting = TeacherSetting(**{name: stored[name] for name in _LISTS})
        return cls(setting, stored["accuracy"], stored["optimizer_steps"])


def choose(
    config: TeacherChoiceConfig,
    attempt: Callable[[TeacherSetting], Trial],
    *,
    fixed: Sequence[str] = (),
) -> tuple[Trial, tuple[Trial, ...]]:
    """Return the best trial, and all of them in the order in which they were made.

    One part of the setting is chosen after the other; each keeps its earlier value unless another
    gives a higher accuracy.

    Args:
        config: the values to try.
        attempt: trains a teacher by a setting.
        fixed: parts of the setting that stay as they are first, e.g. `width`.

    Raises:
        NonFiniteError: when the training diverges with every setting.
    """
    best = attempt(
        TeacherSetting(config.rates[0], config.steps[0], config.widths[0], {}, config.noise[0])
    )
    made = [best]
    for part, name in _LISTS.items():
        if part in fixed:
            continue
        start, values = best.setting, getattr(config, name)
        for value in values if part == "options" else values[1:]:
            made.append(attempt(replace(start, **{part: value})))
            if _accuracy(made[-1]) > _accuracy(best):
                best = made[-1]
    if best.accuracy is None:
        raise NonFiniteError(
            f"teachers.choose: all {len(made)} trainings of a teacher diverged; lower the rates."
        )
    return best, tuple(made)


def _accuracy(trial: Trial) -> float:
    return -1.0 if trial.accuracy is None else trial.accuracy
