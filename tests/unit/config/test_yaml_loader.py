"""YAML stands for what it says, and for no more than a configuration needs."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.config.reading import parse_yaml
from safecompress.config.yaml_loader import dump_text, load_yaml
from safecompress.errors import ConfigError

# PyYAML itself does not read back every control character that it writes.
TEXT = st.text(st.characters(categories=("L", "N", "P", "S"), codec="utf-8"), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner),
    max_leaves=30,
)


@settings(max_examples=100, deadline=None)
@given(value=PLAIN)
def test_what_was_dumped_is_loaded(value: object) -> None:
    assert load_yaml(dump_text(value)) == value


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
DOUBLING = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{l: *a{i - 1}, r: *a{i - 1}}}\n" for i in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOMB, "more than 100,000 values"),
        (DOUBLING, "more than 100,000 values"),
        ("a: &a {b: *a}", "a value that contains itself"),
        ("a: &a [*a]", "a value that contains itself"),
        ("a: " + "[" * 60 + "]" * 60, "more than 50 levels"),
        ("? [a, b]\n: 1", "a list as a key"),
        ("? {a: b}\n: 1", "a dict as a key"),
        ("a: 1\na: 2", "key 'a' is given twice"),
        ("x: {a: 1, a: 2}", "key 'a' is given twice"),
    ],
)
def test_what_no_configuration_needs_is_refused_at_once(text: str, expected: str) -> None:
    started = time.process_time()
    with pytest.raises(ConfigError, match=expected):
        parse_yaml(text, where="config.yaml")
    assert time.process_time() - started < 2


def test_merge_keys_are_defaults() -> None:
    text = """
    defaults: &d {epochs: 3, lr: 0.1}
    more: &m {batch_size: 8}
    dense: {<<: *d, lr: 0.5}
    sparse: {<<: [*d, *m]}
    """
    found = parse_yaml(text, where="config.yaml")
    assert found["dense"] == {"epochs": 3, "lr": 0.5}
    assert found["sparse"] == {"epochs": 3, "lr": 0.1, "batch_size": 8}


def test_deep_brackets_are_refused() -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_yaml("a: " + "[" * 100_000, where="config.yaml")
