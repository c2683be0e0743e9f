"""What must hold where channels are gone or masks have a regular form."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from safecompress.candidate import Candidate
from safecompress.models import channel_groups
from safecompress.proposals import PROPOSALS, without_channels
from safecompress.protocols import ProposalContext
from safecompress.topology import Topology
from safecompress.train import predict
from safecompress.transforms import (
    input_quantizers,
    remove_channels,
    remove_from_topology,
)
from tests.laws.test_training_laws import images, same, start, trainer
from tests.support import count
from tests.transform_models import built, context, each_family, held, sparse_candidate


@each_family
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_model_without_channels_equals_the_smaller_one(family, share):
    module, inputs = built(family)
    groups = channel_groups(module, inputs)
    parent = sparse_candidate(module)
    child = PROPOSALS.build({"channels": {"share": share, "mask": "rigl"}}, where="test")(
        parent, context(parent, groups)
    )
    left = child.transforms.channels
    assert child.topology.layer_counts() == parent.topology.layer_counts()
    for group in groups:
        gone = [int((~left.rows[n]).sum()) / len(c) for n, c in group.rows.items()]
        assert gone == [pytest.approx(int(share * group.size) / group.size)] * len(gone)
    live = held(module, child)
    smaller = remove_channels(live, left)
    with torch.no_grad():
        before, after = live(inputs), smaller(inputs)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5 * float(before.abs().max()))
    assert not torch.equal(before, torch.zeros_like(before))
    sizes = [sum(p.numel() for p in m.parameters()) for m in (smaller, live)]
    assert sizes[0] < (1 - share) * sizes[1] * 1.2
    reduced = remove_from_topology(child.topology, left)
    assert reduced.layer_counts() == child.topology.layer_counts()
    assert all(
        dict(smaller.named_parameters())[n].shape == m.shape for n, m in reduced.masks.items()
    )
    # A second time it cannot be cut, and the module given is whole.
    assert live.state_dict().keys() == smaller.state_dict().keys()
    assert sum(p.numel() for p in live.parameters()) == sum(p.numel() for p in module.parameters())


@each_family
def test_channel_groups_leave_the_model_alone_and_keep_the_logits(family):
    module, inputs = built(family)
    module.train()
    next(module.modules())
    before = {k: v.clone() for k, v in module.state_dict().items()}
    groups = channel_groups(module, inputs)
    assert module.training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    last = [name for name, p in module.named_parameters() if p.shape[0] == 5 and p.ndim == 2][-1]
    assert all(last not in group.rows for group in groups)
    for group in groups:
        for channel in (*group.rows.values(), *group.columns.values()):
            assert set(channel.tolist()) == set(range(group.size))


@pytest.mark.parametrize(
    "mask", ["rigl", "set", {"update": {"drop": "threshold", "grow": "random"}}]
)
def test_nothing_grows_in_channels_that_are_gone(mask):
    module, inputs = built("resnet8")
    groups = channel_groups(module, inputs)
    child = sparse_candidate(module)
    counts = child.topology.layer_counts()
    child = PROPOSALS.build({"channels": {"share": 0.5}}, where="t")(child, context(child, groups))
    proposal = PROPOSALS.build(mask, where="t")
    for seed in range(count(5, 50)):
        child = proposal(child, context(child, groups, seed))
        assert sum(child.topology.layer_counts().values()) == sum(counts.values())
        for name, m in child.topology.masks.items():
            allowed = child.transforms.channels.open(name, m.shape)
            assert allowed is None or not bool((m & ~allowed).any())


@pytest.mark.parametrize("form", [{"channels": {"share": 0.3}}, {"pattern": {"form": "4x4"}}])
def test_a_candidate_that_parts_from_the_dense_model_goes_on_doing_so(form):
    module, inputs = built("resnet8")
    parent = sparse_candidate(module)
    at = context(parent, channel_groups(module, inputs))
    parting = PROPOSALS.build({"unpair": {"weight": 0.5, "mask": "rigl"}}, where="t")(parent, at)
    ((name, options),) = form.items()
    made = PROPOSALS.build({name: {**options, "mask": "rigl"}}, where="t")(parting, at)
    assert float(made.defenses["unpairing"]["weight"]) == 0.5
    # The other way round, too: what the mask is changed by may itself begin to part.
    inner = {"unpair": {"weight": 2.0, "mask": "rigl"}}
    both = PROPOSALS.build({name: {**options, "mask": inner}}, where="t")(parting, at)
    assert float(both.defenses["unpairing"]["weight"]) == 2.0


def test_channels_that_are_gone_stay_gone_and_only_more_can_follow():
    module, inputs = built("vgg-small")
    groups = channel_groups(module, inputs)
    child = sparse_candidate(module, density=0.1)
    gone = {}
    for share in (0.25, 0.5, 0.25, 0.6):
        proposal = PROPOSALS.build({"channels": {"share": share, "mask": "rigl"}}, where="t")
        child = proposal(child, context(child, groups))
        for name, kept in child.transforms.channels.rows.items():
            assert not bool((kept & gone.get(name, torch.zeros_like(kept))).any())
            gone[name] = ~kept
    assert all(int(g.sum()) == int(0.6 * len(g)) for g in gone.values())


def test_a_layer_without_room_keeps_its_channels():
    module, inputs = built("mlp")
    groups = channel_groups(module, inputs)
    dense = sparse_candidate(module, density=1.0)
    proposal = PROPOSALS.build({"channels": {"share": 0.5}}, where="t")
    child = proposal(dense, context(dense, groups))
    assert all(bool(kept.all()) for kept in child.transforms.channels.rows.values())
    assert child.topology.layer_counts() == dense.topology.layer_counts()
    tight = sparse_candidate(module, density=0.6)
    child = proposal(tight, context(tight, groups))
    assert child.topology.layer_counts() == tight.topology.layer_counts()
    assert any(not bool(kept.all()) for kept in child.transforms.channels.rows.values())


def test_channels_of_a_dense_model_can_go_with_their_weights():
    module, inputs = built("alexnet")
    groups = channel_groups(module, inputs)
    dense = sparse_candidate(module, density=1.0)
    child = without_channels(dense, groups, share=0.5)
    live = held(module, child)
    smaller = remove_channels(live, child.transforms.channels)
    with torch.no_grad():
        torch.testing.assert_close(smaller(inputs), live(inputs), rtol=1e-5, atol=1e-5)
    reduced = remove_from_topology(child.topology, child.transforms.channels)
    assert reduced.density == 1
    assert reduced.nonzeros == child.topology.nonzeros < 0.3 * dense.topology.nonzeros


@pytest.mark.parametrize("optimizer", ["nesterov", "adamw"])
def test_training_keeps_channels_zero_and_rounds_the_rest(optimizer):
    module = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 16, 3),
    )  # fmt: skip
    torch.manual_seed(0)
    made = trainer(module=module, optimizer=optimizer)
    groups = channel_groups(module, images(4).inputs)
    begin = made.train(start(made, density=0.3), 2)
    chosen = PROPOSALS.build(
        {"quantize": {"bits": 8, "mask": {"channels": {"share": 0.5, "mask": "rigl"}}}}, where="t"
    )
    child = made.train(chosen(begin, context(begin, groups)), 6)
    left = child.transforms.channels
    for name, kept in left.rows.items():
        assert not bool(child.weights[name][~kept].any())
        assert bool(child.weights[name][kept].any())
        for state in child.optimizer[name].values():
            assert state.ndim == 0 or not bool(state[~kept].any())
    said = made.outputs(child, images()).logits
    smaller = remove_channels(made._module, left)
    assert len(input_quantizers(smaller)) == 3
    torch.testing.assert_close(predict(smaller, images()).logits, said, rtol=1e-5, atol=1e-5)
    again = made.train(Candidate.from_tensors(child.tensors(), child.settings()), 2)
    assert same(again, made.train(child, 2))


def shown_mask(mask, left, name):
    rows, columns = left.rows.get(name), left.columns.get(name)
    mask = mask if rows is None else mask[rows]
    return mask if columns is None else mask[:, columns]


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("mask", ["keep", "rigl", "set"])
@pytest.mark.parametrize("form", ["fan-in", "2:4", "1:3", "4x4", "2x1"])
def test_patterns_are_exact_and_keep_every_count(form, mask, removed):
    module, inputs = built("resnet8")
    groups = channel_groups(module, inputs)
    child = sparse_candidate(module, density=0.1)
    counts = child.topology.layer_counts()
    if removed:
        away = PROPOSALS.build({"channels": {"share": 0.3}}, where="t")
        child = away(child, context(child, groups))
    proposal = PROPOSALS.build({"pattern": {"form": form, "mask": mask}}, where="t")
    for seed in range(3):
        child = proposal(child, context(child, groups, seed))
        assert child.topology.layer_counts() == counts
        for name, whole in child.topology.masks.items():
            m = shown_mask(whole, child.transforms.channels, name)
            assert int(m.sum()) == counts[name]
            if form == "fan-in":
                fans = m.flatten(1).sum(1)
                assert int(fans.max() - fans.min()) <= 1
            elif ":" in form:
                n, of = map(int, form.split(":"))
                by_input = m.flatten(2).transpose(1, 2) if m.ndim > 2 else m.unsqueeze(1)
                padded = functional.pad(by_input.int(), (0, -by_input.shape[2] % of))
                assert int(padded.reshape(-1, of).sum(1).max()) <= n
            else:
                height, width = map(int, form.split("x"))
                flat = m.flatten(1)
                partial = 0
                for r in range(0, flat.shape[0], height):
                    for c in range(0, flat.shape[1], width):
                        block = flat[r : r + height, c : c + width]
                        partial += 0 < int(block.sum()) < block.numel()
                assert partial <= 1


def test_a_pattern_keeps_the_largest_weights_it_may():
    weight = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.5, 0.0, 0.0, 0.0]])
    topology = Topology({"w": weight != 0})
    parent = Candidate({"w": weight}, {}, topology, {"w": topology.masks["w"].clone()})
    situation = ProposalContext({"w": torch.tensor([[0.0] * 5 + [1.0, 3.0, 2.0]])}, 0.0, 0)
    child = PROPOSALS.build({"pattern": {"form": "2:4"}}, where="t")(parent, situation)
    # Of five weights a form of 2:4 in eight places holds four: the layer stays as it is.
    assert torch.equal(child.topology.masks["w"], topology.masks["w"])
    parent = parent.evolve(topology=Topology({"w": weight > 0.75}))
    child = PROPOSALS.build({"pattern": {"form": "2:4"}}, where="t")(parent, situation)
    assert child.topology.masks["w"].int().tolist() == [[1, 1, 0, 0, 0, 0, 1, 1]]
    assert child.weights["w"].tolist() == [[4.0, 3.0, 0, 0, 0, 0, 0, 0]]
