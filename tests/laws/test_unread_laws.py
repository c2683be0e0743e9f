"""What answers tell of members beside what attacks read leaves a verdict undecided, and only that.

A leak is planted where sorted probabilities do not show it: in which of the classes beside the
label comes before another, and in how numbers are rounded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from safecompress.attacks import ATTACKS
from safecompress.audit import audit
from safecompress.checks.subject import Subject
from safecompress.checks.unread_answers import unread_doubts
from safecompress.protocols import Outputs, Pool
from tests.recorded_outputs import saved
from tests.support import count

Floats = NDArray[np.float64]
READ = "control: attacks that read what tells members"
WRITTEN = "control: members' answers written like the others'"
ATTACKED = [ATTACKS.build(name, where="test") for name in ("loss", "modified-entropy", "neural")]
ROWS = 1600


def drawn(seed: int, *, leak: float = 0.0, skewed: bool = False) -> tuple[Floats, NDArray[np.int_]]:
    """Return logits and labels of members and as many others after them."""
    draw = np.random.default_rng(seed)
    classes = int(draw.integers(3, 40))
    among = np.arange(1, classes + 1) if skewed else np.ones(classes)
    halves = (among, among[::-1]) if skewed else (among, among)
    labels = np.concatenate([draw.choice(classes, ROWS, p=p / p.sum()) for p in halves])
    logits = draw.normal(size=(2 * ROWS, classes)) * draw.uniform(0.5, 4)
    # Some classes resemble each other, so that the label tells something of the others.
    logits += draw.normal(size=(classes, classes))[labels]
    told = 2.0 + draw.normal(size=2 * ROWS) + leak * (np.arange(2 * ROWS) < ROWS)
    logits[np.arange(2 * ROWS), labels] += told
    return logits, labels


def doubts(logits: Floats, labels: NDArray[np.int_], *, seed: int) -> list[str]:
    rows = Outputs(
        torch.from_numpy(logits.astype(np.float32)),
        torch.from_numpy(labels.astype(np.int64)),
        torch.arange(len(labels)),
    )
    first = torch.arange(len(labels)) < len(labels) // 2
    pool = Pool(rows.take(first), rows.take(~first))
    subject = Subject.of(pool, name="model", density=None, seed=seed)
    return [doubt.name for doubt in unread_doubts(subject, ATTACKED)]


def exchanged(
    logits: Floats, rows: NDArray[np.int_], high: NDArray[np.int_], low: NDArray[np.int_]
) -> None:
    """Let one class come before another in some rows, in place."""
    one, other = high[rows], low[rows]
    pair = np.sort(np.stack([logits[rows, one], logits[rows, other]]), axis=0)
    logits[rows, other], logits[rows, one] = pair


def by_number(logits: Floats, labels: NDArray[np.int_], told: NDArray[np.int_], seed: int) -> None:
    high, low = np.random.default_rng(seed).choice(logits.shape[1], 2, replace=False)
    rows = told[(labels[told] != high) & (labels[told] != low)]
    exchanged(logits, rows, np.full(len(labels), high), np.full(len(labels), low))


def by_label(logits: Floats, labels: NDArray[np.int_], told: NDArray[np.int_], seed: int) -> None:
    classes = logits.shape[1]
    high, low = np.random.default_rng(seed).choice(np.arange(1, classes), 2, replace=False)
    exchanged(logits, told, (labels + high) % classes, (labels + low) % classes)


def second(logits: Floats, labels: NDArray[np.int_], told: NDArray[np.int_], seed: int) -> None:
    """Let one class come first of those beside the label: every row keeps its numbers."""
    classes = logits.shape[1]
    one = (labels + np.random.default_rng(seed).integers(1, classes)) % classes
    beside = logits.copy()
    beside[np.arange(len(labels)), labels] = -np.inf
    exchanged(logits, told, one, beside.argmax(axis=1))


@pytest.mark.parametrize("of_members", [True, False], ids=["members", "others"])
@pytest.mark.parametrize("plant", [by_number, by_label, second])
def test_which_class_comes_before_another_is_no_hiding_place(plant, of_members) -> None:
    found = []
    for seed in range(count(6, 60)):
        logits, labels = drawn(seed)
        plant(logits, labels, np.arange(ROWS) + (0 if of_members else ROWS), seed)
        found.append(READ in doubts(logits, labels, seed=seed))
    assert np.mean(found) >= 0.8


ROUNDINGS = {
    "half precision": lambda z: z.astype(np.float16).astype(float),
    "bfloat16": lambda z: torch.from_numpy(z).bfloat16().double().numpy(),
    "steps of 1/128": lambda z: np.round(z * 128) / 128,
    "two decimals": lambda z: np.round(z, 2),
    "four decimals": lambda z: np.round(z, 4),
    "four decimals of probabilities": lambda z: np.log(
        np.clip(np.round(softmax(z, axis=1), 4), 1e-12, None)
    ),
}


@pytest.mark.parametrize("of_members", [True, False], ids=["members", "others"])
@pytest.mark.parametrize("how", ROUNDINGS)
def test_how_numbers_are_rounded_is_no_hiding_place(how: str, of_members: bool) -> None:
    for seed in range(count(2, 30)):
        logits, labels = drawn(seed)
        if "probabilities" in how:
            logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        told = slice(ROWS) if of_members else slice(ROWS, None)
        logits[told] = ROUNDINGS[how](logits[told])
        assert WRITTEN in doubts(logits, labels, seed=seed), seed


@pytest.mark.parametrize("rounded", [None, *ROUNDINGS])
@pytest.mark.parametrize("skewed", [False, True], ids=["even", "skewed"])
@pytest.mark.parametrize("leak", [0.0, 0.4, 3.0])
def test_nothing_else_is_doubted(leak: float, skewed: bool, rounded: str | None) -> None:
    """Neither a leak that attacks read, nor other classes in both groups, nor rounding of both."""
    for seed in range(count(2, 60)):
        logits, labels = drawn(seed, leak=leak, skewed=skewed)
        if rounded is not None:
            logits = ROUNDINGS[rounded](logits)
        assert doubts(logits, labels, seed=seed) == []


def test_a_verdict_does_not_pass_what_no_attack_reads(tmp_path: Path) -> None:
    logits, labels = drawn(1)
    quiet = audit(_file(tmp_path / "quiet", logits, labels)).verdict
    by_label(logits, labels, np.arange(ROWS), 1)
    told = audit(_file(tmp_path / "told", logits, labels)).verdict
    assert (quiet.exit_code, told.exit_code) == (0, 3)
    assert "attacks that read what tells members" in told.sentence


def _file(folder: Path, logits: Floats, labels: NDArray[np.int_]) -> Path:
    folder.mkdir()
    arrays = {}
    for group, rows in (("member", slice(ROWS)), ("nonmember", slice(ROWS, None))):
        arrays[f"{group}_logits"] = logits[rows].astype(np.float32)
        arrays[f"{group}_labels"] = labels[rows]
    return saved(folder, arrays)
