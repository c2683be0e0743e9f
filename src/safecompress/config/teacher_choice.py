"""`TeacherChoiceConfig`: the settings among which a run chooses how its teachers train."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from safecompress.config.section import Positive, Section

AtLeastOne = Annotated[float, Field(ge=1.0)]
NotNegative = Annotated[float, Field(ge=0.0)]


class TeacherChoiceConfig(Section):
    """How teachers may train; the run keeps what is most often right on rows they never saw.

    Teacher 1 is trained with the first value of every list, then with each other value of
    `rates`, `steps`, `widths`, `options` and `noise`, in this order; a value stays where its
    teacher classifies more of its held-out members correctly. All teachers then train like it. The
    choice costs at most one training of a teacher for each value after a list's first.
    """

    rates: tuple[Positive, ...] = Field(
        default=(1.0, 3.0, 10.0),
        min_length=1,
        description="Peak learning rates to try, as multiples of the teachers' `lr`.",
    )
    steps: tuple[AtLeastOne, ...] = Field(
        default=(1.0, 2.0),
        min_length=1,
        description="Lengths to try, as multiples of the steps that the same training takes on all "
        "members. None is below 1, so that teachers never train shorter for having fewer rows.",
    )
    widths: tuple[Positive, ...] = Field(
        default=(1.0, 2.0),
        min_length=1,
        description="Widths to try, as multiples of the model's: of `hidden` where its family has "
        "that option, else of `width`. Models given as objects or by import path keep theirs.",
    )
    options: tuple[dict[str, Any], ...] = Field(
        default=(),
        description="Changes of `model.options` to try after the widths, such as `{hidden: [256]}` "
        "for a shallower teacher. Students need not look like their teachers.",
    )
    noise: tuple[NotNegative, ...] = Field(
        default=(0.0, 0.5),
        min_length=1,
        description="Noise on the inputs to try, as `train.noise`; `[0]` where inputs are numbers "
        "of words.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> TeacherChoiceConfig:
        for name in ("rates", "steps", "widths", "options", "noise"):
            values = list(getattr(self, name))
            if any(value in values[:index] for index, value in enumerate(values)):
                raise ValueError(f"{name} lists a value twice: {values}; list each once")
        return self

    @property
    def most_trainings(self) -> int:
        """Trainings of one teacher that the choice takes at most, the kept one included."""
        lists = (self.rates, self.steps, self.widths, self.noise)
        return 1 + sum(len(values) - 1 for values in lists) + len(self.options)
