"""The sections of a configuration: frozen, no unknown keys, every default written down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

Request: TypeAlias = str | dict[str, Any]
"""A part that plugs in: `name` or `{name: {option: value}}`."""
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
# Made absolute once, so that a run can be resumed from another folder.
InputFile = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Section(BaseModel):
    """Base of every section: immutable, no unknown keys, no silent conversions of text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NpzSource(Section):
    """Arrays in an `.npz`: one pair, or a train and a test pair. Pickled arrays are refused."""

    source: Literal["npz"]
    path: InputFile
    x: str = "x"
    y: str = "y"
    test_x: str | None = None
    test_y: str | None = None


class CsvSource(Section):
    """A CSV with a header, or a train and a test file.

    Columns not listed are inferred: all numbers → numeric; few distinct values → categorical;
    otherwise text.
    """

    source: Literal["csv"]
    path: InputFile
    test_path: InputFile | None = None
    label: str = "label"
    numeric: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    text: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    delimiter: str = ","


class SklearnSource(Section):
    """A data set or generator of scikit-learn: `digits`, `breast_cancer`, and more."""

    source: Literal["sklearn"]
    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class TorchSource(Section):
    """A callable `package.module:function` that returns a torch Dataset or a (train, test) pair."""

    source: Literal["torch"]
    factory: str
    options: dict[str, Any] = Field(default_factory=dict)


Source: TypeAlias = Annotated[
    NpzSource | CsvSource | SklearnSource | TorchSource, Field(discriminator="source")
]


class SplitConfig(Section):
    """Who is a member, and which held-out rows steer and which judge.

    Args:
        membership: `fresh` (we train from nothing and draw the members), `pair` (the train part of
            a train/test source are the members), `index` (listed in `members_file`), `unseen`
            (the given weights saw none of this data). Must be stated when weights are given.
        members_file: `.npy`, `.txt` or `.csv` of row indices, one per line, for `index`.
        members: rows to draw as members, a count or a share of all rows; for `fresh` and `unseen`.
        steer: share of non-members, and of members, that steer the loop; the rest is sealed.
        reference: rows held out for defences that need non-members, a count or a share of the
            non-members; never judged.
        rows: use at most this many rows of the source, drawn with the seed.
        deduplicate: drop rows whose inputs are exact duplicates across groups instead of failing.
    """

    membership: Literal["fresh", "pair", "index", "unseen"] | None = None
    members_file: InputFile | None = None
    members: Annotated[int, Field(gt=1)] | Share = 0.5
    steer: Share = 0.5
    reference: Annotated[int, Field(ge=0)] | Share = 0
    rows: Annotated[int, Field(gt=3)] | None = None
    deduplicate: bool = True


class PreprocessingConfig(Section):
    """How raw rows become tensors; everything learnt is learnt on members only.

    Args:
        features: numeric features and columns: `auto` (leave 0/1 data alone, otherwise
            standardise; with given weights, `none`), `none`, `standardise`.
        layout: `auto` (4-D uint8 arrays are images), `table`, `image` (N×H×W×C or N×C×H×W).
        vocabulary: most words or word pairs to keep for a text column.
        ngrams: longest run of words that counts as one feature.
        weighting: `count`, `binary` or `tfidf`.
        max_words: a text is cut after this many words; duplicates are sought after the cut.
    """

    features: Literal["auto", "none", "standardise"] = "auto"
    layout: Literal["auto", "table", "image"] = "auto"
    vocabulary: Annotated[int, Field(gt=0)] = 5000
    ngrams: Annotated[int, Field(ge=1, le=3)] = 1
    weighting: Literal["count", "binary", "tfidf"] = "tfidf"
    max_words: Annotated[int, Field(gt=0)] | None = None


class DataConfig(Section):
    """Where rows come from, how they are split and made into tensors."""

    source: Source
    split: SplitConfig = SplitConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()

    @model_validator(mode="after")
    def _membership_fits_source(self) -> DataConfig:
        membership, split = self.split.membership, self.split
        paired = (
            (isinstance(self.source, NpzSource) and self.source.test_x is not None)
            or (isinstance(self.source, CsvSource) and self.source.test_path is not None)
            or isinstance(self.source, TorchSource)
        )
        if membership == "pair" and not paired:
            raise ValueError(
                "split.membership is 'pair' but the source has one part; name its test part "
                "(test_path, or test_x and test_y) or declare membership another way"
            )
        if (membership == "index") != (split.members_file is not None):
            raise ValueError("split.members_file goes with split.membership 'index', and only then")
        return self


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


class SparseConfig(Section):
    """The target and the rhythm of the loop.

    The sparse stage lasts `train.epochs`. Mask updates happen in its first `end` share, in
    `rounds` equal rounds: each trains, proposes, and lets every candidate settle for
    `settle_epochs` on the same batches before it is judged, by default the whole round: what looks
    best after a short settle is often not what is best in the end. The rest trains the chosen mask.

    Args:
        density: share of the maskable weights kept, in (0, 1].
        distribution: how the total is shared among layers: `uniform`, `er`, `erk`.
        initialise: `magnitude-global`, `magnitude-layer` (from the trained dense model), `scratch`.
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
    initialise: Literal["magnitude-global", "magnitude-layer", "scratch"] = "magnitude-global"
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
    """Teachers, whose labels of the members they never saw the proposal `soft-labels` uses.

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


class SteerConfig(Section):
    """What happens at every round on the steering rows.

    Args:
        proposals: ways to change a candidate; every one gives a candidate.
        search: `tournament`: each proposal starts a lineage in the first round and is repeated in
            every later one, and each round's tests let the better half of the lineages go on;
            `every-round`: all proposals start from each survivor in every round, as SafeCompress
            (ASE 2022) does.
        draw: how many of the proposals, drawn at random, give candidates: anew in every round, or
            once where it is a tournament; None takes all.
        replay: names of proposals, one a round, as a verdict's `lineage` lists them: the path is
            trained again, nothing is chosen, and rounds after the last name do not happen.
        defenses: changes to training that every candidate carries.
        attacks: attacks run on every candidate.
        objective: how candidates are ranked.
        population: candidates kept for the next round; in a tournament, the fewest kept, so that
            the last round's tests choose among them. None is 2 in a tournament and 1 otherwise.
    """

    proposals: tuple[Request, ...] = (
        "rigl",
        {"soft-labels": {"share": 0.3, "mask": "rigl"}},
        {"soft-labels": {"share": 0.6, "mask": "rigl"}},
        {"soft-labels": {"share": 1.0, "mask": "rigl"}},
        {"soft-labels": {"share": 1.0, "temperature": 2.0, "mask": "rigl"}},
    )
    search: Literal["tournament", "every-round"] = "tournament"
    draw: Annotated[int, Field(ge=1)] | None = None
    replay: tuple[str, ...] | None = None
    defenses: tuple[Request, ...] = ()
    attacks: tuple[Request, ...] = ("loss", "modified-entropy", "neural")
    # A dictionary cannot be a frozen section's default without being shared: a fresh one each time.
    objective: Request = Field(default_factory=lambda: {"tm": {"attack": "auc"}})
    population: Annotated[int, Field(ge=1)] | None = None

    @property
    def kept(self) -> int:
        """Fewest candidates that go on from a round."""
        return self.population or (2 if self.search == "tournament" else 1)


class CheckConfig(Section):
    """One test of the verdict.

    Args:
        name: unique name in the report; by default made from the measure.
        measure: `accuracy`, `density`, or `{attack: {attack: NAME, metric: auc}}`.
        condition: one of `{at_most: X}`, `{at_least: X}`, `{at_most_dense: X}` (at most the dense
            model's value plus X), `{at_least_dense: X}`.
        critical: whether a failure fails the verdict; otherwise it is a warning.
    """

    measure: Request
    condition: dict[Literal["at_most", "at_least", "at_most_dense", "at_least_dense"], float]
    name: str | None = None
    critical: bool = True

    @model_validator(mode="after")
    def _one_condition(self) -> CheckConfig:
        if len(self.condition) != 1:
            raise ValueError(f"condition needs exactly one entry, got {self.condition}")
        return self


class VerdictConfig(Section):
    """The final judgement on the sealed rows.

    Args:
        checks: the tests; empty means the default suite.
        level: confidence level of the intervals before correction for repeated looks.
    """

    checks: tuple[CheckConfig, ...] = ()
    level: Share = 0.95


class ShadowsConfig(Section):
    """Shadow models: the same recipe on other draws of the rows, so that attacks can compare.

    A shadow model repeats the dense training, the teachers and the path of proposals that the
    search chose, on a random draw of as many members from all rows. With them the verdict asks the
    likelihood-ratio attack and RMIA, too.

    Args:
        count: shadow models; 0 trains none, otherwise at least 4. 16 find most of what 64 find.
        workers: how many are trained at once, each in a process of its own; None is one for every
            core, at most eight, and one on a GPU.
        backend: `local`, or `ray`: the same on a Ray cluster, whose machines share the run folder.
    """

    count: Annotated[int, Field(ge=0)] = 0
    workers: Annotated[int, Field(gt=0)] | None = None
    backend: Literal["local", "ray"] = "local"

    @field_validator("count")
    @classmethod
    def _enough_of_both(cls, count: int) -> int:
        if 0 < count < 4:
            raise ValueError(
                f"{count} shadow models: a row needs some that saw it and some that did not; "
                "expected at least 4, or 0 for none"
            )
        return count


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


class CompressConfig(Section):
    """Everything `safecompress compress` needs.

    Args:
        seed: fixes every random decision.
        out: run folder; by default `runs/NAME-seedN`.
        data: the data; may be left out when splits are passed to `compress`.
        model: the model; may be left out when one is passed to `compress`.
        dense: training of the dense model before compression, or of a model given with weights
            (then 0 epochs by default).
        teachers: models that label the members they never saw, where a proposal uses such labels.
        shadows: models of the same recipe on other draws of the rows, for stronger attacks.
        baselines: other ways of the same density, trained for the same epochs and judged on the
            same sealed rows: `magnitude`.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    out: Path | None = None
    data: DataConfig | None = None
    model: ModelConfig | None = None
    dense: TrainConfig | None = None
    sparse: SparseConfig
    teachers: TeachersConfig = TeachersConfig()
    steer: SteerConfig = SteerConfig()
    verdict: VerdictConfig = VerdictConfig()
    shadows: ShadowsConfig = ShadowsConfig()
    baselines: tuple[Literal["magnitude"], ...] = ("magnitude",)
    engine: EngineConfig = EngineConfig()
