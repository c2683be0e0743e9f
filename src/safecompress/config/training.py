"""Sections of the training: the model, one stage, the sparse stage, teachers, where it runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from safecompress.config.section import Fraction, InputFile, Positive, Request, Section, Share


class ModelConfig(Section):
    """Which model: a family by name, or `package.module:callable`.

    Args:
        name: `mlp`, `alexnet`, `vgg16`, … (see `safecompress list models`) or an import path.
        options: keyword arguments of the family or the callable.
        weights: starting weights, `.safetensors` or a state dict for `torch.load` with
            `weights_only=True`; given weights count as trained.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    weights: InputFile | None = None


class TrainConfig(Section):
    """One stage of training.

    Args:
        epochs: length of the stage, in epochs; 0 skips it.
        batch_size: rows per step.
        optimizer: `sgd` (with momentum) or `adamw`.
        lr: peak learning rate.
        schedule: `multi-step` (×gamma at each milestone), `cosine` (to 0), `constant`.
        milestones: shares of the stage, in [0, 1].
        warmup: share of the stage over which the rate rises linearly from 0.
        augment: `none`, or `crop-flip` (random crop with 4 pixels of padding, horizontal flip).
        precision: `auto` probes; `32-true`, `bf16-mixed`, `16-mixed` fix it. Evaluation is fp32.
        memory_format: `auto` probes; `contiguous` or `channels_last`.
    """

    epochs: Annotated[float, Field(ge=0)] = 60
    batch_size: Annotated[int, Field(gt=0)] = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Positive = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["multi-step", "cosine", "constant"] = "multi-step"
    milestones: tuple[Fraction, ...] = (0.5, 0.75)
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: Literal["none", "crop-flip"] = "none"
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"milestones must rise, got {list(self.milestones)}")
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0; set nesterov: false or a momentum")
        return self


class DenseConfig(TrainConfig):
    """Training of the dense model.

    Args:
        defenses: changes to training that the dense model carries; those of the candidates are
            `steer.defenses`.
    """

    defenses: tuple[Request, ...] = ()


class AdmmConfig(Section):
    """Pruning by ADMM, where `sparse.initialize` is `admm-global` or `admm-layer`.

    Before the first mask is cut, the dense weights train on, drawn ever harder towards the largest
    of them; `steer.defenses` take part, so that `adversarial` makes it the joint problem of
    MIA-Pruning (Wang et al., IJCAI 2021).

    Args:
        rounds: how often the kept weights are chosen anew, at equal distances.
        rho: strength of the pull in the first round.
        growth: factor of the strength from a round to the next, at least 1.
        train: the training meanwhile; by default that of the sparse stage.
    """

    rounds: Annotated[int, Field(gt=0)] = 16
    rho: Positive = 1e-2
    growth: Annotated[float, Field(ge=1)] = 1.3
    train: TrainConfig | None = None


class GradualConfig(Section):
    """Gradual magnitude pruning, where `sparse.initialize` is `gradual-global` or `gradual-layer`.

    Args:
        cuts: how often the smallest weights go, at equal distances.
        train: the training meanwhile; by default that of the sparse stage.
    """

    cuts: Annotated[int, Field(gt=0)] = 16
    train: TrainConfig | None = None


class StudentConfig(Section):
    """A dense student, where `student` is a proposal or `sparse.initialize` names it.

    Before its mask is cut, untrained weights learn what teachers say that never saw the row;
    candidates go on towards the same soft labels until a proposal changes that.

    Args:
        temperature: the soft labels are raised to 1 / temperature and normalized, > 0.
        train: the student's training; by default that of the sparse stage.
    """

    temperature: Positive = 1.0
    train: TrainConfig | None = None


class SparseConfig(Section):
    """The target and the rhythm of the loop.

    The sparse stage lasts `train.epochs`. Mask updates happen in its first `end` share, in
    `rounds` equal rounds: each trains, proposes, and lets every candidate settle for
    `settle_epochs` on the same batches before it is judged, by default the whole round: what looks
    best after a short settle is often not what is best in the end. The rest trains the chosen mask.

    Args:
        density: share of the maskable weights kept, in (0, 1].
        distribution: how the total is shared among layers: `uniform`, `er`, `erk`.
        initialize: where the search begins. Of the trained dense model: `magnitude-global`,
            `magnitude-layer` (it loses its smallest weights, over all layers or in each),
            `admm-global`, `admm-layer` (the dense model is first trained towards its mask),
            `gradual-global`, `gradual-layer` (it first loses its smallest weights bit by bit),
            `lottery` (its largest weights, back at their untrained values). Of untrained weights:
            `scratch` (under a random mask, scaled to it), `snip` (those without which the loss
            would change most, scaled to the mask). Of a dense student of the teachers, which
            inherits nothing: `student-global`, `student-layer` (as for the dense model).
        admm: how it is trained towards its mask by ADMM.
        gradual: how it loses its weights.
        student: how the dense student learns.
        rounds: mask updates; 0 keeps the first mask.
        settle_epochs: epochs a candidate trains before it is judged, in (0, round length]; None
            is the whole round.
        end: share of the stage after which the mask stays, in (0, 1].
        fraction: share of a layer's weights dropped and grown at the first update, in (0, 1).
        fraction_schedule: `cosine`, `linear` (to `fraction_end`) or `constant`.
        fraction_end: the share at the last update.
        gradient_batches: batches averaged for gradient-based scores.
        patience: stop updating after this many rounds without a better objective; None never does.
    """

    density: Annotated[float, Field(gt=0, le=1)]
    distribution: Literal["uniform", "er", "erk"] = "erk"
    initialize: Literal[
        "magnitude-global",
        "magnitude-layer",
        "scratch",
        "admm-global",
        "admm-layer",
        "gradual-global",
        "gradual-layer",
        "lottery",
        "snip",
        "student-global",
        "student-layer",
    ] = "magnitude-global"
    admm: AdmmConfig = AdmmConfig()
    gradual: GradualConfig = GradualConfig()
    student: StudentConfig = StudentConfig()
    train: TrainConfig = TrainConfig()
    rounds: Annotated[int, Field(ge=0)] = 6
    settle_epochs: Positive | None = None
    end: Annotated[float, Field(gt=0, le=1)] = 0.75
    fraction: Share = 0.3
    fraction_schedule: Literal["cosine", "linear", "constant"] = "cosine"
    fraction_end: Annotated[float, Field(ge=0, lt=1)] = 0.005
    gradient_batches: Annotated[int, Field(gt=0)] = 4
    patience: Annotated[int, Field(gt=0)] | None = None

    @property
    def round_epochs(self) -> float:
        """Length of one round, in epochs."""
        return self.train.epochs * self.end / self.rounds if self.rounds else 0.0

    @model_validator(mode="after")
    def _rounds_have_room(self) -> SparseConfig:
        if self.rounds and (self.settle_epochs or 0.0) > self.round_epochs + 1e-9:
            raise ValueError(
                f"settle_epochs {self.settle_epochs:g} is longer than a round: "
                f"{self.train.epochs:g} epochs × end {self.end:g} / {self.rounds} rounds = "
                f"{self.round_epochs:g}; use fewer rounds, more epochs or a shorter settle"
            )
        return self


class TeachersConfig(Section):
    """Teachers, whose labels of the members they never saw `soft-labels` and `student` use.

    The members are dealt into `folds`. Every teacher is the same model, trained anew on all but
    `held_out` folds, and labels the rows of those; a row's soft label is the mean over the
    teachers that never saw it. Trained once a run, and only where a proposal asks.

    Args:
        folds: number of teachers, at least 2.
        held_out: folds each teacher leaves out, at least 1 and fewer than `folds`.
        train: their training; by default the dense model's.
    """

    folds: Annotated[int, Field(ge=2)] = 4
    held_out: Annotated[int, Field(ge=1)] = 2
    train: TrainConfig | None = None

    @model_validator(mode="after")
    def _somebody_is_taught(self) -> TeachersConfig:
        if self.held_out >= self.folds:
            raise ValueError(
                f"held_out {self.held_out} leaves the teachers of {self.folds} folds nothing to "
                "learn from; hold out fewer or make more folds"
            )
        return self


class EngineConfig(Section):
    """Where it runs.

    Args:
        accelerator: `auto`, `cpu`, `gpu`, `mps`: as Lightning Fabric names them.
        devices: number of devices, or `auto`.
        threads: torch threads; None leaves torch's default.
        loggers: training curves as `csv`, `tensorboard`, or both.
        checkpoint_seconds: shortest time between two checkpoints inside a stage.
    """

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: Annotated[int, Field(gt=0)] | Literal["auto"] = 1
    threads: Annotated[int, Field(gt=0)] | None = None
    loggers: tuple[Literal["csv", "tensorboard"], ...] = ()
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0
