"""Every registered export format keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

import json
import uuid
from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from safecompress.errors import ConfigError, ModelError
from safecompress.export import FORMATS, Format, Session
from safecompress.export.contract import violations
from tests.contracts import assert_caught, cases


@dataclass(frozen=True)
class Mine(Format):
    """Weights as they are."""

    name = "mine"
    summary = "for tests"
    suffixes = (".mine",)

    def write(self, context, facts):
        return save(context.module.state_dict(), {"facts": json.dumps(dict(facts))})

    def open(self, path, context):
        filled = deepcopy(context.module)
        filled.load_state_dict(load_file(path))
        return filled

    def verify(self, path):
        try:
            with safe_open(path, "pt") as file:
                return json.loads(file.metadata()["facts"])
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: {error}") from error


class Thawed(Mine):
    __dataclass_params__ = None


class Nameless(Mine):
    name = ""


class Endless(Mine):
    suffixes = ("mine",)


class Wordy(Mine):
    summary = "for\ntests"


class Negative(Mine):
    def open(self, path, context):
        return lambda x: -super(Negative, self).open(path, context)(x)


class NegativeAndRounded(Negative):
    exact = False


class Rounds(Mine):
    def write(self, context, facts):
        state = {n: t.half().float() for n, t in context.module.state_dict().items()}
        return save(state, {"facts": json.dumps(dict(facts))})


class Probabilities(Mine):
    def open(self, path, context):
        return lambda x: super(Probabilities, self).open(path, context)(x).softmax(1)[:, :2]


class Scribbles(Mine):
    def open(self, path, context):
        filled = super().open(path, context)
        with torch.no_grad():
            context.module[0].weight.zero_()
        return filled


class Dated(Mine):
    def write(self, context, facts):
        return super().write(context, {**facts, "at": uuid.uuid4().hex})


class Forgets(Mine):
    def write(self, context, facts):
        return super().write(context, {"format": "mine"})


class Trusting(Mine):
    def verify(self, path):
        try:
            return super().verify(path)
        except ModelError:
            return {}


class Foreign(Mine):
    def verify(self, path):
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["facts"])


class Silent(Mine):
    computes = True


class Modest(Mine):
    def session(self, path, *, threads):
        return Session("torch", lambda feed: feed["inputs"][:, :3])


class Curt(Modest):
    computes = True

    def session(self, path, *, threads):
        return Session("torch", lambda feed: feed["inputs"][:1])


class Missing(Mine):
    def write(self, context, facts):
        raise ConfigError("mine is not installed.")


BREACHES = {
    "formats": [
        (Thawed(), "it is not a frozen dataclass"),
        (Nameless(), "its name is ''"),
        (Endless(), "its suffixes are ('mine',)"),
        (Wordy(), "its summary is 'for\\ntests'"),
        (Negative(), "a file answers otherwise than its module, by"),
        (NegativeAndRounded(), "their cosine is down to -1"),
        (Rounds(), "say exact = False if it rounds"),
        (Probabilities(), "a file answers with (64, 2); expected (64, 3)"),
        (Scribbles(), "writing or opening a file changes the module"),
        (Dated(), "the same model gives other bytes"),
        (Forgets(), "the facts it was written with: format, classes"),
        (Trusting(), "verify takes a file of which nothing is left"),
        (Foreign(), "half of it is left raised SafetensorError"),
        (Silent(), "it computes, by its own word, and refuses a session"),
        (Modest(), "it has a session; say computes = True"),
        (Curt(), "its session answers with 24 numbers; expected 192"),
        (Missing(), "raised ConfigError: mine is not installed."),
    ],
}


@cases(BREACHES)
def test_a_broken_format_is_caught(part, expected):
    assert_caught(violations(part), expected)


def test_a_sound_format_of_somebody_else_passes():
    assert violations(Mine()) == ()


@pytest.mark.parametrize("name", sorted(FORMATS.all()))
def test_every_registered_format_keeps_the_contract(name):
    form = FORMATS.build(name, where="test")
    if "executorch" in form.requires:
        pytest.importorskip("executorch", reason="pip install 'safecompress[executorch]'")
    if "export" in form.requires:
        pytest.importorskip("onnx")
    assert violations(form) == ()
