"""Starting weights from files."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from safecompress.errors import ModelError
from safecompress.models import load_weights_


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def equal(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "net.model."]
)
def test_state_dicts_come_back(tmp_path, key, prefix):
    source, target = net(1), net(2)
    state = {prefix + k: v for k, v in source.state_dict().items()}
    torch.save(state if key is None else {key: state, "epoch": 3}, tmp_path / "w.pt")
    load_weights_(target, tmp_path / "w.pt")
    assert equal(source, target)


def test_a_part_that_was_compiled_by_itself_and_old_batch_counters_are_no_obstacle(tmp_path):
    source, target = net(1), net(2)
    state = {k.replace("2.", "2._orig_mod."): v for k, v in source.state_dict().items()}
    del state["1.num_batches_tracked"]
    torch.save(state, tmp_path / "w.pt")
    load_weights_(target, tmp_path / "w.pt")
    assert equal(source, target)


def test_a_sparse_tensor_is_refused_before_any_is_loaded(tmp_path):
    target = net(2)
    state = net(1).state_dict()
    state["2.weight"] = state["2.weight"].to_sparse()
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"2\.weight: file sparse float32 \(2, 3\)"):
        load_weights_(target, tmp_path / "w.pt")
    assert equal(target, net(2))


def test_a_checkpoint_without_a_state_dict_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "weights": net(1).state_dict()}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"model_state_dict.*found dict with the keys epoch, weig"):
        load_weights_(net(2), tmp_path / "w.pt")


def test_safetensors_come_back(tmp_path):
    source, target = net(1), net(2)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    load_weights_(target, tmp_path / "w.safetensors")
    assert equal(source, target)


def test_a_tied_parameter_needs_only_one_of_its_names(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

    source, target = Tied(), Tied()
    state = source.state_dict()
    del state["b.weight"]
    torch.save(state, tmp_path / "w.pt")
    load_weights_(target, tmp_path / "w.pt")
    assert equal(source, target)


def test_everything_that_does_not_fit_is_listed_and_nothing_is_loaded(tmp_path):
    target, before = net(2), net(2)
    state = net(1).state_dict()
    del state["0.bias"]
    state["extra"] = torch.ones(1)
    state["2.weight"] = torch.ones(2, 5)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ModelError) as caught:
        load_weights_(target, tmp_path / "w.pt")
    for part in ("1 missing (0.bias)", "1 unexpected (extra)", "file float32 (2, 5)", "(2, 3)"):
        assert part in str(caught.value)
    assert equal(target, before)


def test_long_lists_are_cut(tmp_path):
    torch.save({f"k{i}": torch.ones(1) for i in range(9)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"9 unexpected \(k0, k1, k2, k3, k4, and 4 more\)"):
        load_weights_(net(), tmp_path / "w.pt")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    proof = tmp_path / "ran"
    torch.save({"weight": Evil(str(proof))}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="refused"):
        load_weights_(net(), tmp_path / "w.pt")
    assert not proof.exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", None])
def test_unreadable_files_are_named(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        load_weights_(net(), tmp_path / name)


@pytest.mark.parametrize("content", [torch.ones(3), {}, {"a": 1}, [torch.ones(1)]])
def test_other_contents_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="state dict"):
        load_weights_(net(), tmp_path / "w.pt")
