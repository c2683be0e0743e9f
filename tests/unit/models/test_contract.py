"""Every registered model family keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from safecompress.errors import ModelError
from safecompress.models import MODELS
from safecompress.models.contract import violations
from tests.contracts import assert_caught, cases

FOLDER = "a folder with a text encoder and its tokenizer"
TEXT = {
    "bert": [{"tokenizer": FOLDER, "size": 8, "dropout": 0.2}],
    "hugging_face": [{"folder": FOLDER}, {"folder": FOLDER, "start": "nothing"}],
}
SMALL = {
    **{name: [{"width": 0.1}] for name in MODELS.parts},
    **TEXT,
    "mlp": [{}, {"hidden": [8, 6], "dropout": 0.5, "batch_norm": True}, {"hidden": []}],
}
FAMILIES = [
    pytest.param(name, options, id=f"{name} {options}")
    for name in sorted(MODELS.all())
    for options in SMALL.get(name, [{}])
]


@pytest.mark.parametrize(("name", "options"), FAMILIES)
def test_every_registered_family_keeps_the_contract(name, options, request):
    if name in TEXT:
        folder = request.getfixturevalue("text_folder")
        options = {k: str(folder) if v == FOLDER else v for k, v in options.items()}
    assert violations(partial(MODELS.all()[name].factory, **options)) == ()


class Mine(nn.Module):
    """Two linear layers for tables."""

    def __init__(self, *, input_shape, classes):
        super().__init__()
        if len(input_shape) != 1:
            raise ModelError(f"mine: inputs have shape {tuple(input_shape)}; expected (columns,).")
        if classes < 2:
            raise ModelError(f"mine: {classes} classes; expected at least 2.")
        self.first = nn.Linear(input_shape[0], 8)
        self.last = nn.Linear(8, classes)

    def forward(self, x):
        return self.last(self.inside(x))

    def inside(self, x):
        return self.first(x).relu()


class RefusesAll(Mine):
    def __init__(self, *, input_shape, classes):
        raise ModelError("mine: not today.")


class TakesAnyNumberOfClasses(Mine):
    def __init__(self, *, input_shape, classes):
        super().__init__(input_shape=input_shape, classes=max(classes, 2))


class Crashes(Mine):
    def __init__(self, *, input_shape, classes):
        (_,) = input_shape
        super().__init__(input_shape=input_shape, classes=classes)


class OneLogitMore(Mine):
    def __init__(self, *, input_shape, classes):
        super().__init__(input_shape=input_shape, classes=classes)
        self.last = nn.Linear(8, classes + 1)


class Squeezes(Mine):
    def forward(self, x):
        return super().forward(x).squeeze(0)


class OwnRandomness(Mine):
    def __init__(self, *, input_shape, classes):
        super().__init__(input_shape=input_shape, classes=classes)
        source = torch.Generator()
        source.seed()
        nn.init.normal_(self.last.weight, generator=source)


class Seeded(Mine):
    def __init__(self, *, input_shape, classes):
        torch.manual_seed(3)
        super().__init__(input_shape=input_shape, classes=classes)


class ForgetsAState(Mine):
    def __init__(self, *, input_shape, classes):
        super().__init__(input_shape=input_shape, classes=classes)
        self.scale = torch.rand(8)

    def inside(self, x):
        return super().inside(x) * self.scale


class BatchAverage(Mine):
    def inside(self, x):
        inside = super().inside(x)
        return inside - inside.mean(0)


class Counts(Mine):
    def __init__(self, *, input_shape, classes):
        super().__init__(input_shape=input_shape, classes=classes)
        self.register_buffer("calls", torch.zeros(1))

    def inside(self, x):
        self.calls += 1
        return super().inside(x)


class DropsAlways(Mine):
    def inside(self, x):
        return nn.functional.dropout(super().inside(x), 0.5, training=True)


class Scribbles(Mine):
    def inside(self, x):
        return super().inside(x.sub_(1))


class Idle(Mine):
    def __init__(self, *, input_shape, classes):
        super().__init__(input_shape=input_shape, classes=classes)
        self.spare = nn.Linear(8, 8)


def nothing(*, input_shape, classes):
    if classes < 2 or len(input_shape) != 1:
        raise ModelError("nothing: expected a table.")
    return lambda x: x


BREACHES = {
    "models": [
        (RefusesAll, "it refuses everything there is to try"),
        (TakesAnyNumberOfClasses, "it builds a classifier of 1 classes"),
        (Crashes, "raised ValueError"),
        (OneLogitMore, "expected (2, 2)"),
        (Squeezes, "of one row of a table it gives (2,); expected (1, 2)"),
        (OwnRandomness, "the same seed gives different weights"),
        (Seeded, "another seed gives the same weights"),
        (ForgetsAState, "given its state_dict says something else"),
        (BatchAverage, "a row's logits depend on the other rows"),
        (Counts, "it changes its buffers in evaluation mode"),
        (DropsAlways, "it says something else the second time"),
        (Scribbles, "it changes its inputs in place"),
        (Idle, "no gradient reaches spare.weight, spare.bias"),
        (nothing, "expected a torch.nn.Module"),
    ],
}


@cases(BREACHES)
def test_a_broken_family_is_caught(part, expected):
    assert_caught(violations(part), expected)


def test_a_sound_family_of_somebody_else_passes():
    assert violations(Mine) == ()
