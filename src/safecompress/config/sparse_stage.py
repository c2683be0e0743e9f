"""`SparseConfig` and its sections: the density, the first mask and the rounds of mask updates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from safecompress.config.section import Positive, Request, Section, Share
from safecompress.config.training import TrainConfig


class AdmmConfig(Section):
    """Pruning by ADMM, where `sparse.initialize` is `admm-global` or `admm-layer`.

    Before the first mask is cut, the dense weights train on, drawn ever harder towards the largest
    of them; `steer.defenses` take part, so that `adversarial` makes it the joint problem of
    MIA-Pruning (Wang et al., IJCAI 2021).
    """

    rounds: int = Field(
        default=16,
        gt=0,
        description="How often the weights to keep are chosen anew, at equal distances in the "
        "training; at most its number of steps.",
    )
    rho: Positive = Field(
        default=1e-2,
        description="Strength of the pull towards the kept weights in the first round (the ρ of "
        "ADMM's penalty ρ/2 ‖W − Z + U‖²). Raise it where cutting the mask costs accuracy.",
    )
    growth: float = Field(
        default=1.3,
        ge=1,
        description="Factor by which the pull grows from one round to the next. 1 keeps it "
        "constant.",
    )
    train: TrainConfig | None = Field(
        default=None,
        description="Training while the weights are pulled. Left out, it is that of the sparse "
        "stage.",
    )


class GradualConfig(Section):
    """Gradual magnitude pruning, where `sparse.initialize` is `gradual-global` or `gradual-layer`.

    The smallest weights go bit by bit while the dense weights train on.
    """

    cuts: int = Field(
        default=16,
        gt=0,
        description="How often the smallest weights go, at equal distances in the training; at "
        "most its number of steps. More cuts remove less at a time.",
    )
    train: TrainConfig | None = Field(
        default=None,
        description="Training between the cuts. Left out, it is that of the sparse stage.",
    )


class StudentConfig(Section):
    """A dense student, where `student` is a proposal or `sparse.initialize` names it.

    Before its mask is cut, untrained weights learn what teachers say that never saw the row;
    candidates go on towards the same soft labels until a proposal changes that.
    """

    temperature: Positive = Field(
        default=1.0,
        description="Temperature of the teachers' labels: they are raised to the power of 1 / "
        "temperature and normalized. 1 keeps them, less sharpens and more flattens them.",
    )
    train: TrainConfig | None = Field(
        default=None,
        description="Training of the dense student. Left out, it is that of the sparse stage.",
    )


class SparseConfig(Section):
    """The target density and the rhythm of the loop.

    The sparse stage lasts `train.epochs`. Mask updates happen in its first `end` share, in
    `rounds` equal rounds: each trains, proposes, and lets every candidate settle for
    `settle_epochs` on the same batches before it is judged, by default the whole round: what looks
    best after a short settle is often not what is best in the end. The rest trains the chosen mask.
    """

    density: float = Field(
        gt=0,
        le=1,
        description="Share of the maskable weights that the compressed model keeps. 0.05 keeps "
        "one in twenty; 1 keeps all.",
    )
    include: tuple[str, ...] = Field(
        default=(),
        description="Parameters to prune beside the weights of linear, convolution, recurrent, "
        "attention and embedding layers: names, names of layers or types of layers, with the "
        "wildcards `*` and `?`, such as `pos_embed`, `blocks.*.gamma` or `LayerNorm`.",
    )
    exclude: tuple[str, ...] = Field(
        default=(),
        description="Parameters that stay dense and are not counted in the density, named as in "
        "`include`, such as `Embedding` or `head`. What both name stays dense.",
    )
    distribution: Literal["uniform", "er", "erk"] = Field(
        default="erk",
        description="How the kept weights are shared among the layers: `uniform` gives every "
        "layer the same density; `er` (Erdős–Rényi) and `erk`, which also counts the size of "
        "convolution kernels, leave small layers denser.",
    )
    initialize: Request = Field(
        default="magnitude-global",
        description="First mask, where the search begins (`safecompress list first-masks`). "
        "`magnitude-global` and `magnitude-layer` remove the smallest weights of the trained dense "
        "model, over all layers or in each; `admm-global` and `admm-layer` first train it towards "
        "its mask; `gradual-global` and `gradual-layer` first remove its smallest weights bit by "
        "bit; `lottery` keeps its largest weights, back at their untrained values. Of untrained "
        "weights, `scratch` draws a random mask, and `snip` keeps those without which the loss "
        "would change most; both scale the weights to the mask. `snip-soft` does it towards "
        "labels of teachers. `student-global` and "
        "`student-layer` prune a dense student of the teachers, which inherits nothing from the "
        "dense model.",
    )
    admm: AdmmConfig = Field(
        default=AdmmConfig(),
        description="How ADMM trains the dense model towards its mask; used by `admm-global` and "
        "`admm-layer`.",
    )
    gradual: GradualConfig = Field(
        default=GradualConfig(),
        description="How the dense model loses its weights bit by bit; used by `gradual-global` "
        "and `gradual-layer`.",
    )
    student: StudentConfig = Field(
        default=StudentConfig(),
        description="How the dense student learns from the teachers; used by `student-global`, "
        "`student-layer` and the proposal `student`.",
    )
    train: TrainConfig = Field(
        default=TrainConfig(),
        description="Training of the sparse stage, mask updates included; every candidate is "
        "trained by it.",
    )
    rounds: int = Field(
        default=6,
        ge=0,
        description="Number of mask updates, each of which proposes, settles, attacks and selects. "
        "0 keeps the first mask and does not search.",
    )
    settle_epochs: Positive | None = Field(
        default=None,
        description="Epochs that every candidate trains before it is judged, at most the length "
        "of a round. Left out, it is the whole round; fewer are cheaper, but judge candidates "
        "before they have settled.",
    )
    end: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="Share of the sparse stage after which the mask stays as it is. The rest "
        "trains the chosen candidate alone.",
    )
    fraction: Share = Field(
        default=0.3,
        description="Share of each layer's weights that a mask proposal drops and grows at the "
        "first update. Raise it to explore more, lower it where candidates do not recover.",
    )
    fraction_schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine",
        description="How that share falls from `fraction` to `fraction_end` over the updates: "
        "along half a `cosine`, on a line (`linear`), or not at all (`constant`).",
    )
    fraction_end: float = Field(
        default=0.005,
        ge=0,
        lt=1,
        description="Share of each layer's weights that is dropped and grown at the last update. "
        "`constant` ignores it.",
    )
    gradient_batches: int = Field(
        default=4,
        gt=0,
        description="Number of batches whose gradients are averaged for scores that look at "
        "gradients, such as those of `rigl` and `snip`. More make the scores less noisy.",
    )
    patience: Annotated[int, Field(gt=0)] | None = Field(
        default=None,
        description="Number of rounds without a better objective after which the mask is no "
        "longer updated. Left out, every round happens.",
    )

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
