"""The contents of `table.json`: `CohortTable` of methods, `RunTable` of finished runs."""

from __future__ import annotations

from typing import Literal

from safecompress.report import table_card
from safecompress.verdicts.document import VerdictDocument
from safecompress.verdicts.part import Figure, Part, Text
from safecompress.verdicts.parts import Span


class Mean(Part):
    """A mean with its interval."""

    mean: float
    """The mean."""
    low: float
    """Lower end of its interval at the document's `level`."""
    high: float
    """Upper end of its interval."""


class Spread(Part):
    """A figure of the models of a cohort: mean, deviation and the t interval of the mean."""

    mean: float
    """Mean over the models."""
    deviation: float
    """Standard deviation between the models."""
    low: float
    """Lower end of the interval of the mean at the document's `level`."""
    high: float
    """Upper end of the interval."""


class AttackSpread(Part):
    """The figure of one attack over the models of a cohort."""

    attack: Text
    """Name of the attack."""
    mean: float
    """Mean over the models."""
    deviation: float
    """Standard deviation between the models."""
    low: float
    """Lower end of the interval of the mean."""
    high: float
    """Upper end of the interval."""


class PairedTest(Part):
    """The reference's value minus this method's, target by target."""

    mean: float
    """Mean difference."""
    deviation: float
    """Standard deviation of the differences."""
    low: float
    """Lower end of the interval of the mean difference."""
    high: float
    """Upper end of the interval."""
    p: Figure
    """Of the two-sided paired t-test, in [0, 1]."""
    p_corrected: Figure
    """The same, Holm-corrected over the methods of this data set and density."""


class CohortRow(Part):
    """One method on one data set at one density."""

    data: Text
    """The data set."""
    density: float
    """Density of the method's models, in (0, 1]."""
    method: Text
    """The method."""
    says: Text
    """What the method is, in words."""
    models: int
    """Models of its cohort, each once the target."""
    paths: int
    """Different paths of proposals among them."""
    accuracy: Spread
    """Accuracy, in [0, 1]."""
    attacks: dict[Text, Spread]
    """By attack, its AUC."""
    strongest: AttackSpread
    """AUC of the attack whose mean AUC is largest."""
    tpr: dict[Text, AttackSpread | None]
    """By rate, such as `tpr@0.01`, the attack with the largest mean; null where none carries it."""
    value: Spread
    """Accuracy × (1 − AUC of the strongest attack)."""
    seconds: float
    """Training time for each model."""
    pareto: bool
    """Whether no other method of this data set and density beats it in accuracy and AUC."""
    against: PairedTest | None
    """The reference compared with it; null of the reference itself and without one."""


class Hypervolume(Mean):
    """The mean `value` of a method over all data sets of a density."""

    density: float
    """The density."""
    method: Text
    """The method."""
    sets: int
    """Number of data sets."""


class CohortTable(VerdictDocument):
    """`table.json` of a comparison of methods."""

    kind: Literal["comparison"]
    """`comparison`: methods over cohorts of models."""
    level: float
    """Confidence level of every interval, in (0, 1)."""
    reference: Text | None
    """The method that all others are compared with; null where nothing is tested."""
    rows: tuple[CohortRow, ...]
    """One for each cell, ordered by data, density and falling `value`."""
    hypervolume: tuple[Hypervolume, ...]
    """Means over data sets of the methods that have all of them."""

    def _repr_html_(self) -> str:
        return table_card(self.to_json())


class AttackSpan(Span):
    """The figure of one attack with its interval."""

    attack: Text
    """Name of the attack."""


class Value(Part):
    """A figure without an interval."""

    value: float
    """The figure."""


class RunRow(Part):
    """One judged model of a finished run or audit."""

    data: Text
    """The rows it was judged on, by the beginning of their digest."""
    density: float | None
    """Share of the maskable weights that exist, in (0, 1]; null where it is not known."""
    method: Text
    """Names of the run and of the model in it."""
    says: Text
    """The verdict, where this is the model that was judged; otherwise empty."""
    models: int
    """Always 1."""
    accuracy: Span
    """Accuracy, in [0, 1]."""
    attacks: dict[Text, Span]
    """By attack, its AUC."""
    strongest: AttackSpan
    """AUC of the strongest attack."""
    value: Value
    """Accuracy × (1 − AUC of the strongest attack)."""
    pareto: bool
    """Whether no other model judged on the same rows beats it in accuracy and AUC."""
    against: None
    """Always null: single models are not tested against each other."""


class RunTable(VerdictDocument):
    """`table.json` of finished runs and audits side by side."""

    kind: Literal["runs"]
    """`runs`: finished runs and audits, each judged as it was."""
    reference: None
    """Always null."""
    rows: tuple[RunRow, ...]
    """One for each model, by the rows they were judged on and falling `value`."""

    def _repr_html_(self) -> str:
        return table_card(self.to_json())
