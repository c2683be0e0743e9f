"""The named ways to change a candidate, from which a configuration chooses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from safecompress.candidate import Candidate, SoftTarget
from safecompress.config import Request, SparseConfig
from safecompress.errors import ConfigError
from safecompress.proposals.drop_grow import Strategy
from safecompress.proposals.over_mask import OverMask
from safecompress.proposals.pattern import Pattern
from safecompress.proposals.quantize import Quantize
from safecompress.proposals.remove_channels import RemoveChannels
from safecompress.proposals.unpair import Unpair
from safecompress.protocols import Proposal, ProposalContext
from safecompress.registry import Registry
from safecompress.sparse.drop import DROP_RULES
from safecompress.sparse.grow import GROW_RULES
from safecompress.sparse.schedules import Schedule


@dataclass(frozen=True)
class Keep(Proposal):
    """Change nothing: the candidate that says whether any change was worth it."""

    @property
    def name(self) -> str:
        """`keep`."""
        return "keep"

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the parent with `keep` added to its lineage."""
        del context
        return parent.evolve(lineage=(*parent.lineage, self.name))


@final
@dataclass(frozen=True)
class SoftLabels(OverMask):
    """From now on train towards soft labels, after a change of the mask.

    The soft label of a member is what teachers say of it that were trained without it, so a
    candidate that fits it has nothing of that member's own label to memorize. `share` mixes it
    with the hard label: 1 leaves the hard label out, 0 goes back to it. Later proposals that
    change the mask alone keep the target.

    Args:
        target: share and temperature of the soft label.
        mask: the change of the mask that goes with it.

    Raises:
        ConfigError: on a share outside [0, 1], a temperature that is not above 0, or a `mask` that
            is itself soft labels.

    Reference: SELENA, Tang et al., USENIX Security 2022 (split ensemble and self-distillation);
    mixing with the hard label: Hinton et al., 2015.
    """

    target: SoftTarget

    def __post_init__(self) -> None:
        share, temperature = self.target.share, self.target.temperature
        if not 0 <= share <= 1:
            raise ConfigError(f"share is {share!r}; expected a number in [0, 1].")
        if not 0 < temperature < float("inf"):
            raise ConfigError(f"temperature is {temperature!r}; expected a finite number above 0.")
        if isinstance(self.mask, SoftLabels):
            raise ConfigError("mask is soft-labels again; expected a change of the mask.")
        super().__post_init__()

    def needs(self) -> frozenset[str]:
        """Return that the run trains teachers, where anything is learned from them."""
        return frozenset({"soft_labels"} if self.target.share else ())

    @property
    def name(self) -> str:
        """The mask's name, the share, and a temperature that is not 1, e.g. `rigl soft=1 T=2`."""
        share, temperature = self.target.share, self.target.temperature
        return f"{self.mask.name} soft={share:g}" + (
            f" T={temperature:g}" if temperature != 1 else ""
        )

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the candidate with its mask changed and its share of soft labels set."""
        changed = self.mask(parent, context)
        return changed.evolve(soft_target=self.target, lineage=(*parent.lineage, self.name))


@final
@dataclass(frozen=True)
class Student(OverMask):
    """Go on from a dense student of the teachers, cut to the density, and not from the parent.

    The student learned soft labels alone, from untrained weights, so nothing of the dense model and
    no member's own label is in it. A candidate that descends from it has its mask changed.

    Args:
        mask: the change of the mask from the second time on.

    Raises:
        ConfigError: on a `mask` that is itself a student or soft labels.
    """

    def __post_init__(self) -> None:
        if isinstance(self.mask, Student | SoftLabels):
            raise ConfigError(f"mask is {self.mask.name}; expected a change of the mask.")
        super().__post_init__()

    def needs(self) -> frozenset[str]:
        """Return that the context must have the student."""
        return frozenset({"student"})

    @property
    def name(self) -> str:
        """The mask's name and `student`."""
        return f"{self.mask.name} student"

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the student at the parent's step, or the parent with its mask changed."""
        lineage = (*parent.lineage, self.name)
        if any("student" in name.split() for name in parent.lineage):
            return self.mask(parent, context).evolve(lineage=lineage)
        if context.student is None:
            raise ConfigError(f"{self.name}: the context has no student; the run trains it.")
        return context.student.evolve(step=parent.step, lineage=lineage)


def with_defaults(proposal: Proposal, sparse: SparseConfig) -> Proposal:
    """Return the proposal with everything left open taken from `sparse`; its name stays."""
    if isinstance(proposal, Strategy):
        return proposal.with_defaults(sparse)
    if isinstance(proposal, OverMask):
        return replace(proposal, mask=with_defaults(proposal.mask, sparse))
    return proposal


def soft_labels(
    *, share: float = 1.0, temperature: float = 1.0, mask: Request = "keep"
) -> SoftLabels:
    """Return the proposal that trains on towards labels of teachers that never saw the row.

    Args:
        share: share of the target that comes from the soft label, in [0, 1].
        temperature: the soft label is raised to 1 / temperature and normalized.
        mask: the proposal that changes the mask at the same time, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal, or a number outside its range.

    >>> soft_labels(share=0.5, mask="rigl").name
    'rigl soft=0.5'
    """
    return SoftLabels(SoftTarget(share, temperature), mask=PROPOSALS.build(mask, where="mask"))


def student(*, mask: Request = "keep") -> Student:
    """Return the proposal that goes on from a dense student of the teachers.

    Args:
        mask: the proposal that changes the mask later, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal, or one that is no change of the mask.

    >>> student(mask="rigl").name
    'rigl student'
    """
    return Student(mask=PROPOSALS.build(mask, where="mask"))


def unpair(*, weight: float, mask: Request = "keep") -> Unpair:
    """Return the proposal that trains on away from the dense model's input gradients.

    Args:
        weight: λ, of the cosine of the two models' input gradients in the loss.
        mask: the proposal that changes the mask at the same time, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal, or a negative weight.

    >>> unpair(weight=0.5, mask="rigl").name
    'rigl unpair=0.5'
    """
    return Unpair(weight, mask=PROPOSALS.build(mask, where="mask"))


def quantize(*, bits: int = 8, activations: bool = True, mask: Request = "keep") -> Quantize:
    """Return the proposal that computes with few bits from now on.

    Args:
        bits: bits of a weight, 8 or 4.
        activations: whether inputs of linear and convolution layers are rounded to 8 bits.
        mask: the proposal that changes the mask at the same time, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal, or another number of bits.

    >>> quantize(bits=4, mask="rigl").name
    'rigl int4'
    """
    return Quantize(bits, activations, mask=PROPOSALS.build(mask, where="mask"))


def channels(*, share: float = 0.5, mask: Request = "keep") -> RemoveChannels:
    """Return the proposal that takes channels away for good.

    Args:
        share: share of each group's channels that are gone afterwards, in (0, 1).
        mask: the proposal that changes the mask at the same time, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal, or a share outside its range.
    """
    return RemoveChannels(share, mask=PROPOSALS.build(mask, where="mask"))


def pattern(*, form: str, mask: Request = "keep") -> Pattern:
    """Return the proposal that gives the mask a regular form.

    Args:
        form: `fan-in`, `N:M` as `2:4`, or blocks as `4x4`.
        mask: the proposal that changes the mask at the same time, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal or form.

    >>> pattern(form="2:4", mask="rigl").name
    'rigl 2:4'
    """
    return Pattern(form, mask=PROPOSALS.build(mask, where="mask"))


def update(
    *,
    drop: Request,
    grow: Request,
    fraction: float | None = None,
    fraction_end: float | None = None,
    schedule: Schedule | None = None,
    updates: int = 1,
) -> Strategy:
    """Return the strategy of any drop rule and any grow rule.

    Args:
        drop: name of a drop rule, or one name with its options.
        grow: name of a grow rule, or one name with its options.
        fraction: share of a layer's weights exchanged at the first update, in (0, 1).
        fraction_end: the share at the last update, in [0, 1).
        schedule: `cosine`, `linear` or `constant`.
        updates: how often it is applied while a candidate settles.

    Raises:
        ConfigError: on an unknown rule or schedule, or a share outside its range.

    >>> update(drop="magnitude", grow="random-unfired", fraction=0.1).name
    'magnitude+random-unfired f=0.1'
    """
    return Strategy(
        drop=DROP_RULES.build(drop, where="drop"),
        grow=GROW_RULES.build(grow, where="grow"),
        fraction=fraction,
        fraction_end=fraction_end,
        schedule=schedule,
        updates=updates,
    )


def set_(
    *,
    fraction: float | None = None,
    fraction_end: float | None = None,
    schedule: Schedule | None = None,
    updates: int = 1,
) -> Strategy:
    """Return SET: drop the weights of each sign nearest to zero, grow at random.

    Reference: Mocanu et al., Nature Communications 2018.
    """
    return update(
        drop="set",
        grow="random",
        fraction=fraction,
        fraction_end=fraction_end,
        schedule=schedule,
        updates=updates,
    )


def rigl(
    *,
    fraction: float | None = None,
    fraction_end: float | None = None,
    schedule: Schedule | None = None,
    updates: int = 1,
) -> Strategy:
    """Return RigL: drop the smallest weights, grow where the dense gradient is largest.

    Reference: Evci et al., "Rigging the Lottery", ICML 2020.
    """
    return update(
        drop="magnitude",
        grow="gradient",
        fraction=fraction,
        fraction_end=fraction_end,
        schedule=schedule,
        updates=updates,
    )


PROPOSALS: Registry[Proposal] = Registry("proposal", "safecompress.proposals")
PROPOSALS.add(
    "set",
    set_,
    summary="SET: drops the weights of each sign nearest to zero, grows at random",
    reference="Mocanu et al., Nature Communications 2018",
    cost="no data",
)
PROPOSALS.add(
    "rigl",
    rigl,
    summary="RigL: drops the smallest weights, grows where the dense gradient is largest",
    reference="Evci et al., ICML 2020",
    cost="a dense gradient per round",
)
PROPOSALS.add(
    "update",
    update,
    summary="any drop rule with any grow rule, e.g. {drop: taylor, grow: momentum}",
    reference="the rules' own",
    cost="the rules' own",
)
PROPOSALS.add(
    "soft-labels",
    soft_labels,
    summary="from now on learns from teachers that never saw the row: {share: 0.5, mask: rigl}",
    reference="SELENA, Tang et al., USENIX Security 2022",
    cost="the teachers, once a run",
)
PROPOSALS.add(
    "student",
    student,
    summary="goes on from a dense student of teachers that never saw the row: {mask: rigl}",
    reference="SELENA, Tang et al., USENIX Security 2022; Beyer et al., CVPR 2022",
    cost="the teachers and the student, once a run",
)
PROPOSALS.add(
    "unpair",
    unpair,
    summary="from now on trains away from the dense model's input gradients: {weight: 0.5}",
    reference="Hong, Carlini & Kurakin, SaTML 2023",
    cost="the dense model's gradient and a second backward pass a step",
)
PROPOSALS.add(
    "quantize",
    quantize,
    summary="computes with int8 or int4 weights and uint8 activations: {bits: 8, mask: rigl}",
    reference="Jacob et al., CVPR 2018",
    cost="rounds weights and activations at every step",
)
PROPOSALS.add(
    "channels",
    channels,
    summary="takes whole channels away, their weights move to the others: {share: 0.5, mask: rigl}",
    reference="Li et al., ICLR 2017; Fang et al., CVPR 2023",
    cost="the extra `channels`; the mask's own",
)
PROPOSALS.add(
    "pattern",
    pattern,
    summary="a mask of constant fan-in, N of M, or blocks: {form: '2:4', mask: rigl}",
    reference="Lasby et al., ICLR 2024; Zhou et al., ICLR 2021; Gray et al., 2017",
    cost="the mask's own",
)
PROPOSALS.add(
    "keep",
    Keep,
    summary="changes nothing: the control for the others",
    reference="static sparse training",
    cost="none",
)
