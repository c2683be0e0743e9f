"""`CheckKind`, `CHECK_KINDS` and `kind_of`: what a check of a verdict asks, told from its entry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safecompress.report.document_facts import measured_name


@dataclass(frozen=True)
class CheckKind:
    """One kind of check, as people who read findings are told about it.

    Args:
        id: a name that never changes, such as `attack-auc`.
        title: what it is, in a few words.
        asks: what it asks of a model, in one sentence.
        remedy: what to do where it is not kept, in one sentence.
        docs: path and heading in this project's documentation, such as `docs/verdict.md#controls`.
        pattern: matches the names of its checks from their beginning.
        tags: what it is about, and techniques of MITRE ATLAS that it simulates.
    """

    id: str
    title: str
    asks: str
    remedy: str
    docs: str
    pattern: re.Pattern[str]
    tags: tuple[str, ...] = ()


_MEMBERSHIP = ("privacy", "membership-inference", "AML.T0024.000")
_VERDICT = "docs/verdict.md"
_LESS_LEAK = (
    "Train with a defense, a smaller density or fewer epochs, and let the attack steer the search."
)
_DEPENDABLE = "Mend the test or its data first: its figures say nothing about the model."

CHECK_KINDS = (
    CheckKind(
        "control",
        "A control of the tests",
        "An attack finds a leak that was planted and finds none where there is none, and members "
        "and non-members do not differ by themselves.",
        _DEPENDABLE,
        f"{_VERDICT}#controls-testing-the-tests",
        re.compile("control: "),
        ("reliability",),
    ),
    CheckKind(
        "blind-spot",
        "A kind of attack that did not steer finds more",
        "No kind of attack finds clearly more than the kinds by which the model was chosen.",
        "Let an attack of the named kind steer the search, too.",
        f"{_VERDICT}#safe-to-one-kind-of-attack",
        re.compile("blind spot"),
        _MEMBERSHIP,
    ),
    CheckKind(
        "faithful-file",
        "The file answers, leaks and errs as the model did",
        "A file to ship is told from the model it was made of by no paired comparison on the "
        "sealed rows.",
        "Export a format that rounds less.",
        "docs/export.md#tested-again",
        re.compile(r".* as before\b"),
        ("integrity",),
    ),
    CheckKind(
        "group-leak",
        "Members found within one class or group",
        "Within no class and no group does an attack tell members from non-members better than the "
        "limit allows.",
        _LESS_LEAK,
        f"{_VERDICT}#an-average-hides-a-group",
        re.compile(r"(class|group:.+)\.auc\b"),
        (*_MEMBERSHIP, "fairness"),
    ),
    CheckKind(
        "attack-auc",
        "Members told from non-members",
        "An attack's AUC, .5 for guessing and 1 for certainty, keeps its limit with its whole "
        "interval.",
        _LESS_LEAK,
        f"{_VERDICT}#what-the-default-suites-ask",
        re.compile(r".+\.auc\b"),
        _MEMBERSHIP,
    ),
    CheckKind(
        "attack-tpr-at-fpr",
        "Members found at few false accusations",
        "The share of members that an attack finds while it accuses few non-members keeps its "
        "limit.",
        _LESS_LEAK,
        f"{_VERDICT}#what-the-default-suites-ask",
        re.compile(r".+\.tpr@"),
        _MEMBERSHIP,
    ),
    CheckKind(
        "attack-accuracy",
        "Members guessed right",
        "The accuracy or advantage of an attacker who must name members keeps its limit.",
        _LESS_LEAK,
        "docs/audit.md#what-to-ask-for",
        re.compile(r".+\.(class-)?(balanced-accuracy|advantage)\b"),
        _MEMBERSHIP,
    ),
    CheckKind(
        "attribute-leak",
        "A column of members guessed from the model",
        "The model tells a column of its members no better than it tells that of other rows.",
        "Drop the column, or train with a defense.",
        f"{_VERDICT}#what-a-pass-does-not-mean",
        re.compile(r"attribute-"),
        ("privacy", "attribute-inference"),
    ),
    CheckKind(
        "privacy-audit",
        "A lower bound of ε from canaries",
        "Guesses about canaries do not show a training that breaks the ε that is allowed.",
        "Train with a smaller ε, or look for a fault in the private training.",
        f"{_VERDICT}#canaries-an-ε-that-the-training-cannot-have",
        re.compile(r"epsilon-lower-bound\b"),
        ("privacy", "differential-privacy"),
    ),
    CheckKind(
        "transfer",
        "Inputs crafted on the model fool the full one",
        "Holding the small model helps little to craft inputs that the full model gets wrong.",
        "Steer the search by the transfer rate, or keep the small model from attackers.",
        "docs/unpairing.md#what-an-attacker-makes-of-it",
        re.compile(r"(transfer|query-saving)-"),
        ("security", "evasion"),
    ),
    CheckKind(
        "worth",
        "What the model is worth",
        "Accuracy, over all rows and in every class, keeps its limit.",
        "Raise the density, train longer, or pick another proposal.",
        f"{_VERDICT}#an-average-hides-a-group",
        re.compile(
            r"(accuracy|balanced-accuracy|macro-f1|worst-class-recall|gain-over-majority)\b"
        ),
        ("quality",),
    ),
    CheckKind(
        "size",
        "Size and speed",
        "Density, bytes and latency keep their limits.",
        "Lower the density, or export a smaller or faster format.",
        "docs/export.md#measured-not-claimed",
        re.compile(r"(density|bytes|latency)\b"),
        ("quality",),
    ),
)
"""Every kind but two; the first whose pattern matches a name counts."""
OTHER = CheckKind(
    "other",
    "A check of your own",
    "A measure or a check that the user named keeps its limit.",
    "See the message of the check.",
    f"{_VERDICT}#six-ways-a-check-can-end",
    re.compile(""),
)
"""What a check is whose name is of none of `CHECK_KINDS`."""
VERDICT = CheckKind(
    "verdict",
    "The verdict as a whole",
    "At least one critical check passed, and none failed, broke or stayed open.",
    "See the next steps of the verdict.",
    f"{_VERDICT}#four-answers",
    re.compile("(?!)"),
)
"""What stands for a verdict that no single check explains."""


def kind_of(check: Mapping[str, Any]) -> CheckKind:
    """Return what a check asks.

    Args:
        check: an entry of the list `checks` in a verdict's document.

    >>> kind_of({"name": "loss.auc ≤ 0.6"}).id, kind_of({"name": "accuracy as before"}).id
    ('attack-auc', 'faithful-file')
    >>> kind_of({"name": "a.npz: class.auc ≤ 0.6"}).id
    'group-leak'
    """
    measured = measured_name(check)
    return next((kind for kind in CHECK_KINDS if kind.pattern.match(measured)), OTHER)
