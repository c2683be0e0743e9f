"""`JointVerdict`: `verdict.json` of files that are published together, judged as one attacker's."""

from __future__ import annotations

from typing import Literal

from safecompress.verdicts.document import AuditedModel, JudgedDocument, Overall
from safecompress.verdicts.part import Figure, Part, Text
from safecompress.verdicts.parts import ExposedMembers, Span


class SetFile(Part):
    """One file of the set, by itself."""

    name: Text
    """How the file is called in this document."""
    verdict: Overall
    """What its own checks add up to, at the level that the whole set shares."""
    accuracy: Figure
    """Its accuracy on the non-members, in [0, 1]."""
    outputs: Text
    """What it answers: `logits` or `probabilities`."""
    references: int
    """Reference (shadow) models whose outputs in this file's format were there."""
    attack: Text
    """Its strongest attack; empty where none could be measured."""
    auc: Span | None
    """The AUC of this attack; null likewise."""
    exposed: int | None
    """Members that this attack exposes at the rate of `newly_exposed_by_set`; null where there are
    too few non-members."""


class HeldTogether(Part):
    """What an attacker finds who holds several files of the set."""

    files: tuple[Text, ...]
    """The files."""
    attack: Text
    """The strongest attack that reads all of them; empty where none could be measured."""
    auc: Span | None
    """The AUC of this attack; null likewise."""


class SetExposure(Part):
    """The members that the set exposes and no file of it exposes by itself."""

    attack: Text
    """The strongest attack that reads several files."""
    files: tuple[Text, ...]
    """The files it reads."""
    false_positive_rate: float
    """Share of the non-members that may be taken for members, in (0, 1)."""
    members: int
    """Members that the attacks on all files scored."""
    rate: float
    """Share of them that the set exposes and no file does, in [0, 1]; chance alone reaches about
    `false_positive_rate`."""
    single_only_rate: float
    """Share that a file exposes by its strongest attack and the set's does not, in [0, 1]."""
    rows: tuple[int, ...]
    """The members that the set exposes newly, numbered as in `exposed`."""


class JointVerdict(JudgedDocument):
    """`verdict.json` of files that are published together: one attacker holds all of them."""

    kind: Literal["joint"]
    """`joint`: the verdict on several files of one model."""
    model: AuditedModel
    """The set: names of its files, and of accuracy and references the least of any file."""
    files: tuple[SetFile, ...]
    """Every file by itself, in the order given."""
    pairs: tuple[HeldTogether, ...]
    """Every two files, the strongest attack first."""
    best_pair: HeldTogether | None
    """The two files that were chosen as those which tell most, on rows that judge nothing; null
    where no pair could be measured."""
    family: HeldTogether
    """All files."""
    newly_exposed_by_set: SetExposure | None
    """Whom the set exposes; null where no attack on several files could be measured, or there are
    too few non-members."""
    exposed: ExposedMembers
    """The members that the strongest attack on several files is surest of."""
    dense: Literal["published", "secret", "not given"]
    """Whether the dense model is one of the files; a secret one is compared with, and no attack
    reads it."""
