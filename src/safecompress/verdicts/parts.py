"""Parts that verdict documents share: checks, intervals, compared models, exposed members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

from pydantic import Field

from safecompress.checks import CheckResult, GroupFinding, Status
from safecompress.stats import surely_below_chance
from safecompress.verdicts.part import Figure, Part, Text


class _Interval(Protocol):
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class Span(Part):
    """A figure with its interval."""

    value: Figure
    """The figure; null where it is not finite."""
    low: Figure
    """Lower end of the two-sided interval at the document's `level`."""
    high: Figure
    """Upper end of the interval."""

    @classmethod
    def of(cls, interval: _Interval) -> Self:
        """Return the numbers of an estimate or an interval.

        Args:
            interval: an object with `value`, `low` and `high`.
        """
        return cls(value=interval.value, low=interval.low, high=interval.high)


class CheckEntry(Part):
    """How one check or control ended."""

    name: Text
    """Unique name; names of controls begin with `control:`."""
    status: Status
    """PASS, FAIL, WARN (a failure that is not critical), INCONCLUSIVE, ERROR or NOT_RUN."""
    critical: bool
    """Whether the verdict depends on it."""
    value: Figure
    """The figure; null where nothing was measured or it is not finite."""
    low: Figure
    """Lower end of its interval at the document's `level`; null likewise."""
    high: Figure
    """Upper end of its interval; null likewise."""
    n_members: int
    """Members that the figure rests on; 0 where there is no figure or it needs none."""
    n_nonmembers: int
    """Non-members that the figure rests on; 0 likewise."""
    knowledge: Text
    """Who set an attack's thresholds: `auditor`, `shadow`, or `none` where no attacker has any."""
    condition: Text
    """What was asked, such as `≤ 0.6` or `≤ dense`; text for people, which may be reworded."""
    seconds: float
    """Time it took."""
    message: Text
    """What has to be known to read the figure, or why there is none; may be empty."""
    decided: bool = True
    """False where these rows could not settle the condition."""
    attack: Text = ""
    """Name of the attack that it measures or controls; empty where there is none."""
    advice: Text = ""
    """What to do about a result other than PASS; may be empty."""
    leak: bool = False
    """Whether a failure means that the model is not safe, and not only not good enough."""
    rates: dict[Text, float] = Field(default_factory=dict)
    """Of a measure for which the strongest of several attackers counts, the rate of each by its
    name, those of an attacker without the model included; empty for others."""

    @classmethod
    def of(cls, result: CheckResult) -> Self:
        """Return the entry of a finished check.

        Args:
            result: how the check ended.
        """
        e = result.estimate
        return cls(
            name=result.name,
            status=result.status,
            critical=result.critical,
            value=e.value if e else None,
            low=e.low if e else None,
            high=e.high if e else None,
            n_members=e.n_members if e else 0,
            n_nonmembers=e.n_nonmembers if e else 0,
            knowledge=e.knowledge if e else "none",
            condition=result.condition,
            seconds=round(result.seconds, 4),
            message=result.message,
            decided=result.decided,
            attack=result.attack,
            advice=result.advice,
            leak=result.leak,
            rates=dict(e.rates) if e else {},
        )


class ComparedModel(Part):
    """One of the models that were measured side by side on the same rows."""

    name: Text
    """`dense`, `magnitude`, `compressed`, or `model` for the model of an audit."""
    density: float | None
    """Share of the maskable weights that exist, in (0, 1]; null where it is not known."""
    accuracy: Span | None
    """Accuracy on the non-members, in [0, 1]; null where it could not be measured."""
    attacks: dict[Text, Span]
    """By `attack.metric`, such as `loss.auc`; what an attack could not say is left out."""
    difference_to_dense: dict[Text, Span] | None
    """By `accuracy` and `attack.metric`, this model minus the dense one, row by row; null of the
    dense model itself and where there is none."""

    def strongest(self) -> tuple[str, Span] | None:
        """Return the attack with the largest AUC and that AUC; None where none is known.

        An AUC that lies below 0.5 by twice its interval counts as far above it: such scores tell
        members as well, turned round.
        """
        aucs = aucs_of(self.attacks)
        known = {
            name: 1 - span.value if surely_below_chance(span.value, span.high) else span.value
            for name, span in aucs.items()
            if span.value is not None and span.high is not None
        }
        if not known:
            return None
        name = max(known, key=lambda attack: known[attack])
        return name, aucs[name]


def aucs_of(attacks: Mapping[str, Span]) -> dict[str, Span]:
    """Return the AUCs among figures named `attack.metric`, by attack.

    Args:
        attacks: figures by name.
    """
    return {
        name.removesuffix(".auc"): span for name, span in attacks.items() if name.endswith(".auc")
    }


class Power(Part):
    """How small a leak these rows can tell from chance."""

    smallest_detectable_auc: Figure
    """Smallest AUC that is told from chance with 80 % power; null where the rows are too few."""
    half_width_at_chance: Figure
    """Half the width of the interval of an AUC of 0.5."""
    n_members: int
    """Members that the model is judged on."""
    n_nonmembers: int
    """Non-members that the model is judged on."""
    text: Text
    """The same in words."""


class ExposedMember(Part):
    """A member that the strongest attack is surest of."""

    row: int
    """Its number in the source the rows are from; its place among the members, from 0, where they
    were given as members and non-members."""
    score: Figure
    """The attack's score; larger means more surely a member. Null where it is infinite."""
    false_positive_rate: float
    """Share of the non-members that score as high or higher, in [0, 1]."""


class ExposedMembers(Part):
    """The members that the strongest attack is surest of."""

    attack: Text
    """The attack; empty where none could be measured."""
    members: tuple[ExposedMember, ...]
    """Surest first."""


class NewlyExposedMembers(Part):
    """The members that an attack exposes on the judged model and another does not on the dense."""

    attack: Text
    """The attack on the judged model."""
    dense_attack: Text
    """The attack on the dense model; the same, or the strongest where that needs both models."""
    false_positive_rate: float
    """Share of the non-members that may be taken for members, in (0, 1)."""
    members: int
    """Members that were scored."""
    rate: float
    """Share of them that is newly exposed, in [0, 1]; chance alone reaches about
    `false_positive_rate`."""
    dense_only_rate: float
    """Share that the dense model exposes and the judged one does not, in [0, 1]."""
    rows: tuple[int, ...]
    """The newly exposed members, numbered as in `exposed`."""


class ClassLeak(Part):
    """How well attacks do on the rows of one class, by the one whose leak is surest there."""

    label: int
    """The class, from 0."""
    members: int
    """Its members that were scored."""
    nonmembers: int
    """Its non-members that were scored."""
    auc: Figure
    """The attack's two-sided AUC on these rows, max(AUC, 1 − AUC)."""
    low: Figure
    """Lower end of its interval, corrected for the number of classes and attacks measured."""
    high: Figure
    """Upper end of its interval."""
    name: Text
    """The class's name; its number where names are not known."""
    attack: Text = ""
    """The attack; empty in documents of earlier versions, where it is the strongest attack."""


class GroupEntry(Part):
    """How well attacks do within one group of rows, by the one whose leak is surest there."""

    by: Text
    """The attribute: `class`, or the name of a column such as `region`."""
    name: Text
    """The group's name."""
    attack: Text
    """The attack."""
    auc: Figure
    """Its two-sided AUC on the group's rows, max(AUC, 1 − AUC)."""
    low: Figure
    """Lower end of its interval, corrected for the number of groups and attacks measured."""
    high: Figure
    """Upper end of its interval."""
    members: int
    """The group's members that were scored."""
    nonmembers: int
    """The group's non-members that were scored."""

    @classmethod
    def of(cls, found: GroupFinding) -> Self:
        """Return the entry of a finding.

        Args:
            found: how well an attack does within a group.
        """
        return cls(
            by=found.by,
            name=found.name,
            attack=found.attack,
            auc=found.auc,
            low=found.low,
            high=found.high,
            members=found.members,
            nonmembers=found.nonmembers,
        )


class ClassRecall(Part):
    """What share of one class's non-members the model classifies correctly."""

    label: int
    """The class, from 0."""
    name: Text
    """The class's name; its number where names are not known."""
    rows: int
    """Its non-members."""
    recall: Span
    """The model's recall, in [0, 1]; the intervals of all classes hold together."""
    dense: Span | None
    """The dense model's recall; null where there is none."""
    difference: Span | None
    """This model's recall minus the dense one's, row by row; null likewise."""


class Accusation(Part):
    """What it is worth when an attacker calls a row a member."""

    prior: float
    """Share of the rows asked about that are members, in (0, 1)."""
    fpr: float
    """Share of the non-members that are accused, in [0, 1]."""
    tpr: float
    """Share of the members that are found then, in [0, 1]."""
    precision: Figure
    """Share of the accused that are members, in [0, 1]."""


class SignalEntry(Part):
    """What the strongest attack of one kind of signal finds."""

    signals: Text
    """The kind: `label`, `vector`, `neighbors`, `boundary`, `inside` or `versions`; empty for
    attacks that declare none."""
    attack: Text
    """The strongest attack of this kind."""
    auc: Span
    """Its AUC, in the direction in which it tells members."""
    steered: bool
    """Whether attacks of this kind had a part in choosing the model."""


class Leak(Part):
    """Where attacks find members, and what the accusations of the strongest are worth."""

    attack: Text
    """The attack with the largest AUC."""
    accusations: tuple[Accusation, ...]
    """One entry for each prior; none where the rows do not carry so small a rate."""
    classes: tuple[ClassLeak, ...]
    """The classes with the surest leak, at most 20, surest first."""
    classes_measured: int
    """Classes with enough rows to be measured."""
    classes_without_rows: int
    """Classes with too few rows to be measured."""
    groups: tuple[GroupEntry, ...] = ()
    """The groups of columns with the surest leak, at most 20 of each column, surest first."""
    worst_group: GroupEntry | None = None
    """The class or group with the surest leak; only where a check judges groups."""
    limit: Figure = None
    """Most that the AUC within a class may be; only where a check asks."""
    by_signals: tuple[SignalEntry, ...] = ()
    """What the strongest attack of each kind of signal finds, the kind that finds most first."""
