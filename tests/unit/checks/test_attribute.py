"""Attribute inference: a gain over who has no model, and more of it on members, or nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from safecompress.checks import AttributeInference, Subject
from safecompress.checks.measures import measure_from
from safecompress.errors import ConfigError, MissingEvidenceError, UndecidableError
from safecompress.protocols import Evidence, Pool, Rows
from safecompress.randomness import generator
from safecompress.train.predict import predict

ROWS, WIDTH, CLASSES = 300, 12, 3


def rows_of(seed: int) -> Pool[Rows]:
    source = generator(seed, "rows")
    x = (torch.rand(2 * ROWS, WIDTH, generator=source) < 0.5).float()
    # The last column can be told from the first; the others are coins.
    x[:, -1] = x[:, 0]
    labels = torch.randint(CLASSES, (2 * ROWS,), generator=source)
    rows = Rows(x, labels, torch.arange(2 * ROWS))
    return Pool(rows.take(torch.arange(ROWS)), rows.take(torch.arange(ROWS, 2 * ROWS)))


def net(rows: Rows, *, epochs: int) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 128), nn.ReLU(), nn.Linear(128, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows.inputs), rows.labels).backward()
        optimizer.step()
    return model.eval()


def subject(rows: Pool[Rows], model: nn.Module, *, name: str = "model") -> Subject:
    held = rows.map(lambda r: Evidence(predict(model, r), rows=r, target=model))
    return Subject.of(held, name=name, density=None, seed=0)


def test_a_net_that_knows_its_rows_by_heart_gives_a_value_away():
    rows = rows_of(0)
    found = AttributeInference(3).estimate(subject(rows, net(rows.members, epochs=200)), level=0.95)
    assert found.low > 0.1
    assert (found.n_members, found.n_nonmembers) == (ROWS // 2, ROWS // 2)


@pytest.mark.parametrize("seed", range(4))
def test_a_net_that_saw_nobody_gives_nothing_away(seed):
    rows = rows_of(seed)
    found = AttributeInference(3).estimate(subject(rows, net(rows.members, epochs=0)), level=0.99)
    assert found.low <= 0 <= found.high


def test_what_anybody_can_tell_from_the_rest_is_no_leak():
    rows = rows_of(0)
    model = subject(rows, net(rows.members, epochs=200))
    found = AttributeInference(WIDTH - 1).estimate(model, level=0.95)
    assert abs(found.value) < 0.05


def test_a_net_is_worse_than_one_that_saw_nobody_and_as_bad_as_itself():
    rows = rows_of(0)
    leaky, blank = (subject(rows, net(rows.members, epochs=e)) for e in (200, 0))
    measure = AttributeInference(3)
    assert measure.difference(leaky, blank, level=0.95).low > 0.1
    assert measure.difference(leaky, leaky, level=0.95).value == 0


def test_any_two_values_will_do():
    rows = rows_of(0)
    scaled = rows.map(lambda r: replace(r, inputs=r.inputs * 3 - 1))
    model = net(scaled.members, epochs=200)
    assert AttributeInference(3).estimate(subject(scaled, model), level=0.95).low > 0.1


def test_a_column_of_many_values_is_undecidable():
    rows = rows_of(0).map(lambda r: replace(r, inputs=r.inputs + torch.rand_like(r.inputs)))
    model = subject(rows, net(rows.members, epochs=0))
    with pytest.raises(UndecidableError, match="column 3 holds 150 values"):
        AttributeInference(3).estimate(model, level=0.95)


def test_a_column_that_is_not_there_is_undecidable():
    rows = rows_of(0)
    with pytest.raises(UndecidableError, match="more than 12 columns"):
        AttributeInference(12).estimate(subject(rows, net(rows.members, epochs=0)), level=0.95)


def test_outputs_alone_are_not_enough():
    rows = rows_of(0)
    bare = subject(rows, net(rows.members, epochs=0)).outputs
    with pytest.raises(MissingEvidenceError, match="needs the rows and the model"):
        AttributeInference(0).estimate(Subject.of(bare, name="m", density=None, seed=0), level=0.95)


def test_it_is_named_in_a_configuration():
    assert measure_from({"attribute": {"column": 3}}, where="test") == AttributeInference(3)
    with pytest.raises(ConfigError, match="column is -1"):
        measure_from({"attribute": {"column": -1}}, where="test")
