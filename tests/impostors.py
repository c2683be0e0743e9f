"""Attacks that pass themselves off as others, and what they are tried on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
import torch

from safecompress.attacks import ATTACKS
from safecompress.attacks.contract import synthetic_outputs
from safecompress.checks import (
    Subject,
)
from safecompress.protocols import Attack, Outputs, Pool
from safecompress.registry import Part


class EqualToAll(type):
    """A class that is equal to every other, and whose instances are, too."""

    def __eq__(cls, other: object) -> bool:
        return True

    def __hash__(cls) -> int:
        return 0


def disguises() -> dict[str, dict[str, Any]]:
    """Return what an impostor's class may override to be taken for another part."""
    equal = {"__eq__": lambda self, other: True, "__hash__": lambda self: 0}
    return {
        "nothing": {},
        "repr": {"__repr__": lambda self: "LossAttack()"},
        "equal to everything": equal,
        "pickles as nothing": {"__getstate__": lambda self: None},
        "reduces to a constant": {"__reduce__": lambda self: "LossAttack"},
    }


def impostor(of: Attack, **overrides: Any) -> Attack:
    """Return an attack that looks like another in every name and option, and scores by row id."""

    def score(self: Attack, fitted: Any, evidence: Any) -> torch.Tensor:
        return evidence.outputs.ids.double()

    kind = type(of)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    options = {f.name: getattr(of, f.name) for f in fields(of)}
    body = {"name": of.name, "score": score, "__annotations__": dict.fromkeys(options, Any)}
    made = type(kind.__name__, (Attack,), body | names | options | overrides)
    return dataclass(frozen=True, eq="__eq__" not in overrides)(made)()


def pool(n: int = 60) -> Pool[Outputs]:
    outputs = synthetic_outputs(2 * n, classes=5, seed=0)
    return Pool(outputs.take(torch.arange(n)), outputs.take(torch.arange(n, 2 * n)))


def fresh_subject() -> Subject:
    return Subject.of(pool(), name="x", density=None, seed=0)


def recorded(folder: Any) -> Any:
    """Write outputs whose non-members come last, so that scores by row id find no member."""
    both = pool(400)
    arrays = {
        f"{group}_{what}": getattr(getattr(both, f"{group}s"), what).numpy()
        for group in ("member", "nonmember")
        for what in ("logits", "labels")
    }
    np.savez(folder / "outputs.npz", **arrays)
    return folder / "outputs.npz"


def publish(monkeypatch: pytest.MonkeyPatch, attack: Attack) -> None:
    monkeypatch.setitem(ATTACKS.parts, "impostor", Part("impostor", lambda: attack, "a test"))
