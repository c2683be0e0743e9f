"""The list of attacks is complete and says what each one is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import safecompress.attacks
from safecompress.attacks import ATTACKS
from safecompress.cli import list_parts
from safecompress.protocols import Attack
from safecompress.registry.identity import identity

NAMES = {
    "loss",
    "confidence",
    "entropy",
    "modified-entropy",
    "neural",
    "neural-published",
    "gap",
    "lira-online",
    "lira-offline",
    "calibrated",
    "rmia",
    "bavaria-online",
    "bavaria-offline",
    "informia",
    "indirect",
    "samia",
    "white-box",
    "white-box-published",
    "pair",
    "family",
    "six-numbers",
    "per-output",
    "augmentation",
    "boundary",
    "quantile",
    "learnt-references",
    "learnt-known-rows",
    "joint",
    "learnt-set",
}


def attack_classes() -> set[type[Attack]]:
    found = set()
    for module in pkgutil.iter_modules(safecompress.attacks.__path__):
        part = importlib.import_module(f"safecompress.attacks.{module.name}")
        found |= {
            c
            for _, c in inspect.getmembers(part, inspect.isclass)
            if issubclass(c, Attack) and not inspect.isabstract(c)
        }
    return found


def test_the_registered_attacks_are_the_announced_ones():
    assert set(ATTACKS.parts) == NAMES


def test_no_attack_of_the_package_is_missing():
    registered = {type(ATTACKS.build(name, where="test")) for name in ATTACKS.parts}
    assert attack_classes() == registered


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_entry_says_what_it_is_where_it_is_from_and_what_it_costs(name):
    part = ATTACKS.parts[name]
    assert part.summary
    assert part.reference
    assert part.cost
    assert ATTACKS.build(name, where="test").name == name


def test_every_attack_has_its_own_identity():
    keys = {identity(ATTACKS.build(name, where="test")) for name in NAMES}
    assert len(keys) == len(NAMES)
    wide = identity(ATTACKS.build({"neural": {"hidden": 128}}, where="test"))
    assert wide not in keys
    assert wide == identity(ATTACKS.build({"neural": {"hidden": 128}}, where="test"))


def test_the_list_says_what_an_attack_needs(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    list_parts.command("attacks")
    _, headings, *lines = capsys.readouterr().out.splitlines()
    column = headings.index("needs")
    # A long text goes on in the next line, below its own column.
    firsts = [line for line in lines if line[1:2].strip()]
    needs = {line.split()[0]: line[column:].split()[0] for line in firsts}
    assert set(needs) >= NAMES
    needy = {name for name, need in needs.items() if need == "references"}
    assert needy == {
        *("lira-online", "lira-offline", "calibrated", "rmia"),
        *("learnt-references", "learnt-known-rows"),
        *("bavaria-online", "bavaria-offline", "informia"),
    }
    assert {name for name, need in needs.items() if need == "internals"} == {
        "white-box",
        "white-box-published",
    }
    list_parts.command("models")
    assert "needs" not in capsys.readouterr().out.splitlines()[1]
