"""Parts of other packages: loaded when asked for, and a broken one is nobody else's trouble."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from safecompress.attacks import ATTACKS
from safecompress.errors import ConfigError
from safecompress.protocols import Attack
from safecompress.registry import Registry
from tests.plugins import ATTACK, install

BROKEN = {
    "not there": ("gone:Attack", "", "ModuleNotFoundError: No module named 'gone'"),
    "import error": ("{m}:A", "import no_such_module_at_all", "no_such_module_at_all"),
    "any exception": ("{m}:A", "raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
    "exits": ("{m}:A", "import sys; sys.exit(3)", "SystemExit: 3"),
    "no such attribute": ("{m}:Absent", "", "AttributeError"),
    "attribute access": (
        "{m}:A",
        "def __getattr__(name):\n    raise OSError('asked for ' + name)",
        "OSError: asked for A",
    ),
    "not callable": ("{m}:A", "A = 3", "got an object of type int"),
    "silent error": (
        "{m}:A",
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
        "importing it raised E ",
    ),
    "docstring": (
        "{m}:A",
        "class M:\n    def __call__(self): pass\n"
        "    @property\n    def __doc__(self): raise KeyError('doc')\nA = M()",
        "its docstring raised KeyError: 'doc'",
    ),
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_part_ends_in_one_message_that_names_its_package(site: Path, case: str) -> None:
    value, code, told = BROKEN[case]
    package = "broken-" + case.replace(" ", "-")
    install(site, package, points={"b": value.format(m=package.replace("-", "_"))}, code=code)
    with pytest.raises(ConfigError) as error:
        ATTACKS.build("b", where="steer.attacks[0]")
    text = str(error.value)
    assert told in text
    assert text.startswith(f"steer.attacks[0]: the attack 'b' of the package {package} 1.0")
    assert f"entry point 'b = {value.format(m=package.replace('-', '_'))}'" in text
    assert "uninstall that package" in text
    assert "\n" not in text


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_part_is_nobody_else_s_trouble(site: Path, case: str) -> None:
    value, code, told = BROKEN[case]
    package = "other-" + case.replace(" ", "-")
    install(site, package, points={"bad": value.format(m=package.replace("-", "_"))}, code=code)
    install(site, "good-attack", points={"good": "good_attack:MarginAttack"})
    assert ATTACKS.build({"good": {"rank": 3}}, where="x").name == "margin"
    survey = ATTACKS.survey()
    assert set(survey.broken) == {"bad"}
    assert told in survey.broken["bad"]
    assert survey.parts["good"].package == "good-attack 1.0"
    assert survey.parts["good"].summary == "Members have a larger gap between the largest logits."
    assert list(survey.parts)[: len(ATTACKS.parts)] == list(ATTACKS.parts)


def test_nothing_is_imported_that_was_not_asked_for(site: Path) -> None:
    install(site, "loud-attack", points={"loud": "loud_attack:A"}, code="1 / 0")
    install(site, "good-attack", points={"good": "good_attack:MarginAttack"})
    assert {"loud", "good"} <= set(ATTACKS.names())
    with pytest.raises(ConfigError, match="did you mean 'good'"):
        ATTACKS.build("goood", where="x")
    ATTACKS.build("loss", where="x")
    assert not {"loud_attack", "good_attack"} & set(sys.modules)
    ATTACKS.build("good", where="x")
    assert "loud_attack" not in sys.modules


def test_two_packages_of_one_name_are_refused_with_both_named(site: Path) -> None:
    for package in ("one-attack", "two-attack"):
        value = f"{package.replace('-', '_')}:MarginAttack"
        install(site, package, points={"margin": value, "loss": value})
    with pytest.raises(ConfigError, match=r"(one|two)-attack 1\.0 and (one|two)-attack 1\.0"):
        ATTACKS.build("margin", where="x")
    survey = ATTACKS.survey()
    assert "published by several packages" in survey.broken["margin"]
    assert sorted(survey.hidden["loss"]) == ["one-attack 1.0", "two-attack 1.0"]
    assert survey.parts["loss"].package == "safecompress"
    assert not {"one_attack", "two_attack"} & set(sys.modules)


@pytest.mark.parametrize(
    ("points", "metadata"),
    [
        ("[safecompress.attacks]\ntorn\n", None),
        ("[safecompress.attacks]\nb = torn_attack:A\n", "not metadata"),
    ],
)
def test_damaged_metadata_is_named_and_harms_nothing_else(
    site: Path, points: str, metadata: str | None
) -> None:
    install(site, "torn-attack", points=points, metadata=metadata, code="1 / 0")
    install(site, "good-attack", points={"good": "good_attack:MarginAttack"})
    survey = ATTACKS.survey()
    assert "good" in survey.parts
    ((_, problem),) = survey.broken.items()
    assert "torn-attack 1.0" in problem or str(site) in problem
    with pytest.raises(ConfigError, match="did you mean 'good'"):
        ATTACKS.build("goodd", where="x")


def test_a_copy_of_a_package_further_down_the_path_does_not_count(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site / "far", "twin-attack", points={"twin": "twin_attack:Absent"})
    monkeypatch.syspath_prepend(str(site / "far"))
    install(site / "near", "Twin_Attack", points={"twin": "Twin_Attack:MarginAttack"})
    monkeypatch.syspath_prepend(str(site / "near"))
    assert ATTACKS.build("twin", where="x").name == "margin"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def A(**o): raise LookupError('inside')", "it raised LookupError: inside"),
        ("def A(**o): raise SystemExit", "it raised SystemExit"),
        ("def A(**o): return 3", "returned an object of type int; expected an instance of Attack"),
        ("def A(*, rank): pass", "was refused"),
        ("def A(rank=1): pass\nA.__signature__ = 3", "returned an object of type NoneType"),
    ],
)
def test_a_part_that_cannot_be_built_names_its_package(site: Path, code: str, told: str) -> None:
    install(site, "odd-attack", points={"odd": "odd_attack:A"}, code=code)
    registry: Registry[Attack] = Registry("attack", "safecompress.attacks", Attack)
    with pytest.raises(ConfigError) as error:
        registry.build("odd", where="here")
    assert told in str(error.value)


def test_an_entry_point_may_be_written_like_any_other(site: Path) -> None:
    install(
        site,
        "dotted",
        points={"d": "dotted:Holder.inner"},
        code=f"{ATTACK}\nclass Holder:\n    inner = MarginAttack\n",
    )
    assert ATTACKS.build("d", where="x").name == "margin"
