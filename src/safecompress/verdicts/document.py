"""`VerdictDocument` and the contents of `verdict.json`: `CompressVerdict` and `AuditVerdict`."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from safecompress.checks import Status
from safecompress.checks.similarity import Similarity
from safecompress.verdicts.part import Figure, Part, Text
from safecompress.verdicts.parts import (
    CheckEntry,
    ClassRecall,
    ComparedModel,
    ExposedMembers,
    Leak,
    NewlyExposedMembers,
    Power,
    Span,
)

Overall: TypeAlias = Literal[Status.PASS, Status.FAIL, Status.INCONCLUSIVE, Status.ERROR]
"""The possible statuses of a whole suite."""


class VerdictDocument(Part):
    """What every document of a verdict or a comparison begins with; `kind` tells which it is."""

    schema_version: Literal[1]
    """Version of this schema; raised when a field is removed, renamed or changes its type."""
    kind: Text
    """`compress`, `audit`, `joint`, `export`, `comparison` or `runs`."""


class ThreatModel(Part):
    """What the attacker is assumed to have."""

    kind: Literal["compressed", "outputs", "set"]
    """`compressed`: of a run's compressed model; `outputs`: of whatever was audited; `set`: of all
    files that are published together."""
    text: Text
    """The same in words, with what single attacks suppose beyond it."""


class TransformFacts(Part):
    """How the model reads its weights."""

    bits: int | None
    """Bits of every maskable weight, 8 or 4; null for fp32."""
    activations: bool
    """Whether inputs of layers are rounded to 8 bits."""
    channels: dict[Text, tuple[int, ...]]
    """By parameter with removed channels, how many entries of its first dimension are left, and of
    how many."""


class DenseFacts(Part):
    """The dense model in two numbers."""

    parameters: int
    """Its parameters."""
    accuracy: Figure
    """Its accuracy on the sealed non-members, in [0, 1]."""


class CompressedModel(Part):
    """The model that a run made."""

    name: Text
    """How the model was named, such as `mlp` or its class."""
    sha256: Text
    """SHA-256 of `model.safetensors`."""
    density: float
    """Share of the maskable weights that exist, in (0, 1]."""
    parameters: int
    """Parameters of the architecture."""
    maskable: int
    """Weights that a mask may remove."""
    nonzeros: int
    """Weights that exist."""
    accuracy: Figure
    """Accuracy on the sealed non-members, in [0, 1]."""
    lineage: tuple[Text, ...]
    """Names of the proposals that led to it, one a round."""
    transforms: TransformFacts
    """Rounding of its numbers and removed channels."""
    worth: Text = "accuracy"
    """The figure that stood for accuracy where candidates were ranked (`steer.worth`)."""
    dense: DenseFacts | None
    """The dense model it was made from; null where there is none."""


class AuditedModel(Part):
    """The model that was audited."""

    name: Text
    """How it was named: its class, or the name of its file."""
    accuracy: Figure
    """Accuracy on the non-members, in [0, 1]; null where it could not be measured."""
    outputs: Text
    """What it answers: `logits` or `probabilities` of one of several classes, `regression` for
    numbers, `multi-label` for several labels at once."""
    classes: int
    """Number of classes; 0 where it does not choose one of several classes."""
    references: int
    """Reference (shadow) models whose outputs on the same rows were there."""


class DifferentialPrivacy(Part):
    """What differentially private training promises of the model."""

    epsilon: Figure
    """ε of the whole training; null where the promise does not hold."""
    delta: Figure
    """δ that it holds at; null likewise."""
    text: Text
    """The same in words, or why it does not hold."""


class CanaryFigures(Part):
    """What guesses about canaries show of the ε of any differential privacy guarantee."""

    kind: Literal["mislabeled", "natural"]
    """Whether the canaries had wrong labels or their own."""
    count: int
    """Number of canaries."""
    included: int
    """Canaries that were trained on, each by the flip of a fair coin."""
    guesses: int
    """Canaries whose coin was guessed."""
    correct: int
    """Right guesses."""
    epsilon: float
    """Lower bound of ε: the training is not (ε, δ)-differentially private for any smaller ε."""
    reach: float
    """The bound that guesses without any error would have given."""
    delta: float
    """δ that the bound holds at."""
    level: float
    """One-sided confidence in the bound, in (0, 1), corrected for the number of looks."""
    text: Text
    """The same in words."""


class SimilarityFigures(Part):
    """How alike the audited model and the full one are on rows that neither was trained on."""

    agreement: Span
    """Share of rows that both put into the same class, in [0, 1]."""
    divergence: Span
    """Mean Jensen–Shannon divergence of their probabilities, in nats, in [0, log 2]."""
    features: Span | None
    """Linear CKA of their last features, in [0, 1]; null where one of them shows none."""
    gradients: Span | None
    """Mean cosine of their input gradients, in [−1, 1]; null where one of them gives none."""
    rows: int
    """Rows it rests on."""

    @classmethod
    def of(cls, similarity: Similarity) -> Self:
        """Return the figures of a measured pair.

        Args:
            similarity: how alike the two models are.
        """
        return cls(
            agreement=Span.of(similarity.agreement),
            divergence=Span.of(similarity.divergence),
            features=None if similarity.features is None else Span.of(similarity.features),
            gradients=None if similarity.gradients is None else Span.of(similarity.gradients),
            rows=similarity.rows,
        )


class Against(Part):
    """What the model gives away about the full model it was made from."""

    similarity: SimilarityFigures
    """How alike the two are."""
    not_measured: Text
    """What of the pair could not be measured, and why; empty where everything could."""


class JudgedDocument(VerdictDocument):
    """What the verdicts on runs and on audited models have in common."""

    verdict: Overall
    """PASS, FAIL, INCONCLUSIVE or ERROR."""
    sentence: Text
    """The verdict in plain words."""
    judged: Text
    """Name of the judged model in `comparison`."""
    power: Power
    """How small a leak these rows can tell from chance."""
    level: float
    """Confidence level of every interval, in (0, 1), corrected for the number of looks."""
    checks: tuple[CheckEntry, ...]
    """Every check, then every control, each in the order it ran; find them by name."""
    comparison: tuple[ComparedModel, ...]
    """The judged model and those it is compared with; find them by name."""
    threat_model: ThreatModel
    """What the attacker is assumed to have."""
    looks: int
    """Distinct models that were judged on these rows, this one included."""
    scope: Text
    """Which attacks ran and which did not, in words."""
    limits: tuple[Text, ...]
    """What the verdict does not say, one sentence or more each."""
    leak: Leak | None
    """Where attacks find members; null where no attack could be measured."""
    by_class: tuple[ClassRecall, ...] = ()
    """What each class is worth to the model: the at most 20 classes that lost most to compression,
    or without a dense model those with the lowest recall."""
    standard: Text | None = None
    """The published standard that the limits follow, what ran for it and what it asks beyond; only
    where one was asked for."""
    remarks: tuple[Text, ...] = ()
    """What was noticed about the model and its rows when they were read, one sentence each."""
    next_steps: tuple[Text, ...] = ()
    """What to do about the verdict, one sentence each; empty after a PASS."""
    newly_exposed: tuple[NewlyExposedMembers, ...] | None = None
    """Whom compression exposed, one entry for each attack compared; only with a dense model."""

    def model_named(self, name: str) -> ComparedModel | None:
        """Return one of the compared models, or None where there is none of this name.

        Args:
            name: the model's name in `comparison`.
        """
        return next((row for row in self.comparison if row.name == name), None)


class CompressVerdict(JudgedDocument):
    """`verdict.json` of a run: the verdict on the compressed model."""

    kind: Literal["compress"]
    """`compress`: the verdict on the model of a run."""
    model: CompressedModel
    """The compressed model."""
    differential_privacy: DifferentialPrivacy | None = None
    """What DP-SGD promises; only where a stage used it."""
    canaries: CanaryFigures | None = None
    """What the run's canaries show; only where it had any."""


class AuditVerdict(JudgedDocument):
    """`verdict.json` of an audit: the verdict on any model, or on its recorded outputs."""

    kind: Literal["audit"]
    """`audit`: the verdict on any model."""
    model: AuditedModel
    """The audited model."""
    exposed: ExposedMembers
    """The members that the strongest attack is surest of."""
    against: Against | None = None
    """What the model gives away about the full one; only where that was asked."""
