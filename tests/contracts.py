"""The contract of every kind of part, and how a planted breach of it is caught."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.documents import ROOT

PAGES = ROOT / "docs" / "extending"

Breaches: TypeAlias = Sequence[tuple[Any, str]]
"""Parts that break their contract, each with words of the sentence that says so."""


@dataclass(frozen=True)
class Contract:
    """Where a kind's contract is.

    Args:
        module: the module of `violations`, inside `safecompress`.
        tests: the module of tests whose BREACHES name breaches of this kind.
    """

    module: str
    tests: str

    @property
    def violations(self) -> Callable[..., tuple[str, ...]]:
        """The contract function."""
        return importlib.import_module(f"safecompress.{self.module}").violations

    def breaches(self, kind: str) -> Breaches:
        """Return the planted breaches of a kind, as its tests list them."""
        return importlib.import_module(f"tests.unit.{self.tests}").BREACHES[kind]


CONTRACTS: Mapping[str, Contract] = {
    "models": Contract("models.contract", "models.test_contract"),
    "first-masks": Contract(
        "compression.first_masks.contract", "compression.test_first_mask_contract"
    ),
    "proposals": Contract("proposals.contract", "proposals.test_contract"),
    "drop": Contract("sparse.contract", "sparse.test_contract"),
    "grow": Contract("sparse.contract", "sparse.test_contract"),
    "attacks": Contract("attacks.contract", "attacks.test_contract"),
    "transfer": Contract("attacks.transfer.contract", "attacks.transfer.test_contract"),
    "queries": Contract("attacks.transfer.contract", "attacks.transfer.test_query_contract"),
    "defenses": Contract("defenses.contract", "defenses.test_contract"),
    "objectives": Contract("checks.contract", "checks.test_objective_contract"),
    "measures": Contract("checks.contract", "checks.test_measure_contract"),
    "sources": Contract("data.contract", "data.test_contract"),
    "formats": Contract("export.contract", "export.test_contract"),
}
"""By the name of the kind in `safecompress list`."""


def page_of(registry_kind: str) -> Path:
    """Return the guide page of a kind, e.g. `drop rule`."""
    return PAGES / f"{registry_kind.replace(' ', '-')}.md"


def cases(breaches: Mapping[str, Breaches]) -> pytest.MarkDecorator:
    """Parametrize a test over the (part, expected words) of every kind in `breaches`."""
    listed = [
        pytest.param(part, words, id=f"{kind}-{_label(part)}-{words[:24]}")
        for kind, some in breaches.items()
        for part, words in some
    ]
    return pytest.mark.parametrize(("part", "expected"), listed)


def _label(part: Any) -> str:
    return getattr(part, "__name__", type(part).__name__)


def assert_caught(found: tuple[str, ...], expected: str) -> None:
    """Fail unless one of the sentences has the expected words."""
    assert any(expected in line for line in found), found
