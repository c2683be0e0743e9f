"""`ModelConfig`, `TrainConfig`, `DenseConfig`, `TeachersConfig`: models and their training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from safecompress.config.section import (
    Fraction,
    ImportPath,
    InputFile,
    Positive,
    Request,
    Section,
)
from safecompress.config.teacher_choice import TeacherChoiceConfig
from safecompress.config.transfer_set import TransferSetConfig

_OF_FOLDERS = frozenset({"hugging_face", "bert"})
"""Families whose options name folders."""


class ModelConfig(Section):
    """Which model: a family by name, or `package.module:callable`."""

    name: str = Field(
        description="Family of the model, such as `mlp`, `alexnet` or `vgg16` (`safecompress list "
        "models` names all), or the import path `package.module:callable` of a function that "
        "returns a torch module."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments of the family or the callable, such as `{hidden: [256, "
        "128]}` of `mlp`. Left out, the family's own defaults apply.",
    )
    weights: InputFile | None = Field(
        default=None,
        description="File of starting weights: `.safetensors`, or a state dict that `torch.load` "
        "reads with `weights_only=True`. Given weights count as trained, so `data.split.membership`"
        " must then be stated. Left out, training starts from random weights, or from those of a "
        "pretrained encoder with a new head.",
    )

    @field_validator("options")
    @classmethod
    def _folders_from_anywhere(
        cls, options: dict[str, Any], info: ValidationInfo
    ) -> dict[str, Any]:
        """Make the folders of text models absolute, so that a run goes on from another folder."""
        if info.data.get("name") not in _OF_FOLDERS:
            return options
        return {
            key: str(Path(value).expanduser().absolute())
            if key in {"folder", "tokenizer"} and isinstance(value, str)
            else value
            for key, value in options.items()
        }


class TrainConfig(Section):
    """One stage of training."""

    epochs: float = Field(
        default=60,
        ge=0,
        description="Length of the stage in epochs; fractions are allowed. 0 skips the stage. "
        "Raise it where accuracy still rises at the end.",
    )
    batch_size: int = Field(
        default=128,
        gt=0,
        description="Rows per optimizer step. Lower it where memory runs out; change `lr` with it "
        "in proportion.",
    )
    optimizer: Literal["sgd", "adamw"] = Field(
        default="sgd",
        description="Update rule: `sgd` with momentum, or `adamw` with decoupled weight decay, "
        "which needs a much smaller `lr`, such as 0.001.",
    )
    lr: Positive = Field(
        default=0.1,
        description="Peak learning rate, which the schedule then lowers. The default suits `sgd`; "
        "lower it where training diverges.",
    )
    momentum: float = Field(
        default=0.9,
        ge=0,
        lt=1,
        description="Share of the previous update that the next one keeps; `sgd` only. 0 is plain "
        "gradient descent and needs `nesterov: false`.",
    )
    nesterov: bool = Field(
        default=True,
        description="Whether momentum looks ahead (Nesterov's form); `sgd` only. It needs a "
        "momentum above 0.",
    )
    weight_decay: float = Field(
        default=5e-4,
        ge=0,
        description="Strength of the pull of all weights towards 0 in every step, as PyTorch's "
        "optimizers define it. Raise it against overfitting; 0 turns it off.",
    )
    decay: Literal["all", "weights"] = Field(
        default="all",
        description="What `weight_decay` pulls: `all` parameters, or `weights` without biases and "
        "normalization, as transformers are usually trained.",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor of the learning rate from each layer of a list of layers to the one "
        "before it, down to the embeddings; the last layer and the head have the whole rate. 1 "
        "gives all the same; 0.9 keeps more of what a pretrained encoder knows.",
    )
    schedule: Literal["multi-step", "cosine", "linear", "constant"] = Field(
        default="multi-step",
        description="How the learning rate falls: `multi-step` multiplies it by `gamma` at each "
        "milestone, `cosine` lowers it to 0 along half a cosine, `linear` along a line, `constant` "
        "keeps it.",
    )
    milestones: tuple[Fraction, ...] = Field(
        default=(0.5, 0.75),
        description="Points of the stage, as shares of its length in rising order, at which "
        "`multi-step` lowers the learning rate. Other schedules ignore them.",
    )
    gamma: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Factor that `multi-step` multiplies the learning rate by at each milestone. "
        "Other schedules ignore it.",
    )
    warmup: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the stage over which the learning rate rises linearly to its peak. "
        "0 starts at the peak; a few percent help where the first steps diverge.",
    )
    loss: ImportPath | None = Field(
        default=None,
        description="Function of your own, `package.module:function`, that is minimized instead of "
        "cross-entropy. It takes logits (n, classes) and targets, class numbers (n,) or, where "
        "teachers label, class probabilities (n, classes), and returns a scalar. Defenses add "
        "their penalties to it. Left out, it is cross-entropy.",
    )
    augment: Literal["none", "crop-flip", "drop-words", "mask-words", "swap-words"] | ImportPath = (
        Field(
            default="none",
            description="Random changes to training rows, drawn anew in each step: of images "
            "`crop-flip` pads by 4 pixels, crops at random and flips horizontally; of texts with a "
            "tokenizer `drop-words` takes words away, `mask-words` hides them and `swap-words` "
            "exchanges their places. `none` trains on the rows as they are. "
            "`package.module:function` is a function of your own, which takes a batch's inputs "
            "and a torch generator for its random numbers, and returns inputs of the same form.",
        )
    )
    augment_share: Fraction = Field(
        default=0.1,
        description="Share of a text's words that `drop-words`, `mask-words` or `swap-words` "
        "changes on average; words are pieces as the tokenizer cuts them.",
    )
    noise: float = Field(
        default=0.0,
        ge=0,
        description="Standard deviation of Gaussian noise that is added to every input anew in "
        "each step, in units of the inputs as the model gets them: of a standardized table, 0.5 is "
        "half of each feature's own spread. It regularizes; inputs that stand for words bear none.",
    )
    precision: Literal["auto", "fastest", "32-true", "bf16-mixed", "16-mixed"] = Field(
        default="auto",
        description="Number format of training. `auto` follows a rule that depends on the hardware "
        "and the model's shapes alone, so that a repeated run computes the same bits; `fastest` "
        "times a few steps, and on a busy machine two runs may choose differently; the others fix "
        "it, for runs that must agree between machines. Evaluation is always in 32 bits.",
    )
    memory_format: Literal["auto", "fastest", "contiguous", "channels_last"] = Field(
        default="auto",
        description="Layout of image tensors in memory. `auto` follows a rule, like that of "
        "`precision`; `fastest` times a few steps; the others fix it. It changes speed and "
        "rounding, not the method.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"milestones must rise, got {list(self.milestones)}")
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0; set nesterov: false or a momentum")
        return self


class DenseConfig(TrainConfig):
    """Training of the dense model."""

    defenses: tuple[Request, ...] = Field(
        default=(),
        description="Changes to training that hide the members in the dense model (`safecompress "
        "list defenses`). Empty trains without any; those of the candidates are "
        "`steer.defenses`.",
    )


class TeachersConfig(Section):
    """Teachers, whose labels of the members they never saw `soft-labels` and `student` use.

    The members are dealt into `folds`. Every teacher is the same model, trained anew on all but
    `held_out` folds, and labels the rows of those; a row's soft label is the mean over the
    teachers that never saw it. Teachers are trained once a run, and only where a proposal asks.
    """

    folds: int = Field(
        default=4,
        ge=2,
        description="Number of teachers, and of the parts that the members are dealt into. More "
        "teachers label more smoothly and cost one training each.",
    )
    held_out: int = Field(
        default=2,
        ge=1,
        description="Number of folds that each teacher never sees, fewer than `folds`; also how "
        "many teachers label each member. More hold out more: every teacher then learns less.",
    )
    train: TrainConfig | None = Field(
        default=None,
        description="Training of every teacher. Left out, the teachers are trained as the dense "
        "model is.",
    )
    equal: Literal["epochs", "steps"] = Field(
        default="epochs",
        description="What a teacher, which has fewer rows, shares with the same training on all "
        "members: `epochs` shows it each of its rows as often, in fewer steps; `steps` trains it "
        "for as many steps.",
    )
    choose: TeacherChoiceConfig | None = Field(
        default=None,
        description="Lets the run choose rate, steps, width and noise of the teachers' training by "
        "their accuracy on members they never saw; `{}` tries the default values. Lengths are then "
        "counted in steps, whatever `equal` says. Left out, nothing is tried.",
    )
    transfer_set: TransferSetConfig | None = Field(
        default=None,
        description="Rows that the student and the candidates train on beside the members, with "
        "labels of teachers that saw no part of them; `{}` takes the default values. Left out, "
        "they train on the members alone.",
    )

    judges: int = Field(
        default=0,
        ge=0,
        description="Number of further models, trained as the teachers are on another deal of the "
        "members, that label nothing: each leaves out half of the members, and what it says of "
        "them lets the attacks `calibrated` and `six-numbers` judge candidates by models they did "
        "not learn from. 0 for none, or at least 2; each costs one training.",
    )

    @field_validator("judges")
    @classmethod
    def _a_judge_for_every_row(cls, judges: int) -> int:
        if judges == 1:
            raise ValueError(
                "one judge never saw half of the members only; expected at least 2, or 0 for none"
            )
        return judges

    @model_validator(mode="after")
    def _somebody_is_taught(self) -> TeachersConfig:
        if self.held_out >= self.folds:
            raise ValueError(
                f"held_out {self.held_out} leaves the teachers of {self.folds} folds nothing to "
                "learn from; hold out fewer or make more folds"
            )
        return self
