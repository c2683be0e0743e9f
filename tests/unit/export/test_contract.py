"""Every registered export format keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

import json
import uuid
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from safecompress.errors import ConfigError, ModelError
from safecompress.export import FORMATS, Format, Session
from safecompress.export.contract import violations
from tests.contracts import assert_caught, cases
from tests.export_models import require_extras


def checked(content):
    return sha256(content).digest() + content


@dataclass(frozen=True)
class Mine(Format):
    """Weights as they are, behind their SHA-256 and a line of facts."""

    name = "mine"
    summary = "for tests"
    suffixes = (".mine",)

    def content(self, state, facts):
        return json.dumps(dict(facts)).encode() + b"\n" + save(state)

    def write(self, context, facts):
        return checked(self.content(context.module.state_dict(), facts))

    def open(self, path, context):
        filled = deepcopy(context.module)
        filled.load_state_dict(load(path.read_bytes()[32:].split(b"\n", 1)[1]))
        return filled

    def verify(self, path):
        data = path.read_bytes()
        if checked(data[32:]) != data:
            raise ModelError(f"{path}: changed since it was written.")
        return json.loads(data[32:].split(b"\n", 1)[0])


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
        return checked(self.content(state, facts))


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
        return json.loads(path.read_bytes()[32:].split(b"\n", 1)[0])


class Lazy(Mine):
    """Looks at the line of facts alone."""

    def verify(self, path):
        try:
            facts, weights = path.read_bytes()[32:].split(b"\n", 1)
            load(weights)
            return json.loads(facts)
        except Exception as error:
            raise ModelError(f"{path}: {error}") from error


class AddsBytes(Mine):
    """Looks at as many bytes as it wrote."""

    def verify(self, path):
        data = path.read_bytes()
        whole = int.from_bytes(data[:4], "big")
        if len(data) < 4 or checked(data[36:whole]) != data[4:whole]:
            raise ModelError(f"{path}: changed since it was written.")
        return json.loads(data[36:].split(b"\n", 1)[0])

    def write(self, context, facts):
        data = super().write(context, facts)
        return (len(data) + 4).to_bytes(4, "big") + data

    def open(self, path, context):
        filled = deepcopy(context.module)
        filled.load_state_dict(load(path.read_bytes()[36:].split(b"\n", 1)[1]))
        return filled


class Centers(Mine):
    exact = False

    def open(self, path, context):
        filled = super().open(path, context)
        return lambda x: filled(x) - (0.1 * filled(x).mean(0) if len(x) > 1 else 0)


class SaysSo(Centers):
    """Keeps to everything: it says what an answer depends on."""

    limits = ("An answer depends on the rows beside it.",)


class Counts(Mine):
    def open(self, path, context):
        filled, asked = super().open(path, context), count()
        return lambda x: filled(x) * (1 + 1e-6 * next(asked))


class Draws(Mine):
    def write(self, context, facts):
        torch.rand(1)
        return super().write(context, facts)


class EndsTwice(Mine):
    """Its other end is another format, which loses what it is told."""

    suffixes = (".mine", ".zst")

    def for_file(self, path):
        return Forgets() if path.suffix == ".zst" else self


class EndsNowhere(EndsTwice):
    def for_file(self, path):
        return None if path.suffix == ".zst" else self


class NeedsALetter(Mine):
    requires = ("export",)


class HasNoLoader(Mine):
    loader = Path("/nowhere/loader.py")


class LimitedByAWord(Mine):
    limits = "rows"


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


class AsksTheModule(Mine):
    def open(self, path, context):
        return context.module


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
        (Scribbles(), "writing or opening a file changes 0.weight of the module"),
        (Dated(), "the same model gives other bytes"),
        (Forgets(), "the facts it was written with: format, classes"),
        (Trusting(), "of which nothing is left finds nothing wrong"),
        (Foreign(), "of which nothing is left raised JSONDecodeError"),
        (Lazy(), "verify of a file with one flipped bit finds nothing wrong"),
        (AddsBytes(), "verify of a file with a byte too many finds nothing wrong"),
        (Centers(), "a row's answer depends on the rows beside it"),
        (Counts(), "the same rows, asked again, have other answers"),
        (Draws(), "it draws from a global random generator"),
        (EndsTwice(), "a file that ends in .zst does not hold the facts: format, classes"),
        (EndsNowhere(), "for_file of a name that ends in .zst is no format: None"),
        (NeedsALetter(), "it requires ('export',); expected a frozenset"),
        (HasNoLoader(), "its loader is /nowhere/loader.py, which is no file"),
        (LimitedByAWord(), "its limits are 'rows'; expected a tuple of sentences"),
        (Silent(), "it computes, by its own word, and refuses a session"),
        (Modest(), "it has a session; say computes = True"),
        (Curt(), "its session answers with 24 numbers; expected 192"),
        (AsksTheModule(), "answers with weights of the context's module"),
        (Missing(), "raised ConfigError: mine is not installed."),
    ],
}


@cases(BREACHES)
def test_a_broken_format_is_caught(part, expected):
    assert_caught(violations(part), expected)


@pytest.mark.parametrize("form", [Mine(), SaysSo()], ids=repr)
def test_a_sound_format_of_somebody_else_passes(form):
    assert violations(form) == ()


@pytest.mark.parametrize("name", sorted(FORMATS.all()))
def test_every_registered_format_keeps_the_contract(name):
    form = FORMATS.build(name, where="test")
    require_extras(form)
    assert violations(form) == ()
