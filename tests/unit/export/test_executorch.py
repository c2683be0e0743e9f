"""Programs for ExecuTorch: PyTorch's answers in its own runtime, zeros kept, damage refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from safecompress import export_module
from safecompress.errors import ConfigError, ModelError
from safecompress.export import verify
from safecompress.export.executorch_model import ExecutorchModel
from safecompress.export.executorch_program import _exported, in_int8
from safecompress.export.graph import PositionalModule, quiet
from safecompress.export.signed_program import MAGIC, signed_program
from safecompress.topology import Topology
from tests.export_models import Branching, Masked, context, inputs, sparse_model, written

FACTS = {"format": "executorch", "inputs": ["inputs"], "rows": 64}


def needs_executorch() -> None:
    pytest.importorskip("executorch", reason="pip install 'safecompress[executorch]'")


@cache
def file_of(name: str, form: str) -> bytes:
    return written(context(name), form, {"format": form})


def opened(data: bytes, folder: Path) -> ExecutorchModel:
    path = folder / "m.pte"
    path.write_bytes(data)
    return ExecutorchModel(path)


def said(module: nn.Module, x: Any) -> Tensor:
    with torch.no_grad():
        return module(x)


@pytest.mark.parametrize("name", ["mlp-norm", "alexnet"])
def test_fp32_answers_as_pytorch_does(name: str, tmp_path: Path) -> None:
    needs_executorch()
    model, x = opened(file_of(name, "executorch"), tmp_path), inputs(name, 70)
    # One row, and more than a program takes at once.
    for n in (1, 7, 70):
        found, expected = torch.from_numpy(model(x[:n])), said(context(name).module, x[:n])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))


def test_int8_rounds_a_little_and_its_rows_are_apart(tmp_path: Path) -> None:
    needs_executorch()
    model, x = opened(file_of("mlp", "executorch-int8"), tmp_path), inputs("mlp")
    found, expected = torch.from_numpy(model(x)), said(context("mlp").module, x)
    assert 0 < float((found - expected).abs().max() / expected.abs().max()) < 0.05
    assert float((found.argmax(dim=1) == expected.argmax(dim=1)).float().mean()) > 0.9
    assert np.array_equal(model(x.flip(0)), model(x)[::-1])
    # The last layer is fp32, so that logits do not tie.
    assert len(found.unique()) > 0.95 * found.numel()
    assert len(file_of("mlp", "executorch-int8")) < 0.4 * len(file_of("mlp", "executorch"))


def test_int8_keeps_the_mask() -> None:
    needs_executorch()
    module, topology = sparse_model("mlp")
    x = inputs("mlp")
    with quiet(), torch.no_grad():
        found = in_int8(_exported(PositionalModule.of(module, x).eval(), (x,)).module(), (x,))
    whole = [b for b in dict(found.named_buffers()).values() if b.dtype == torch.int8]
    masks = {mask.shape: mask for mask in topology.masks.values()}
    assert len(whole) == len(masks) - 1
    for weight in whole:
        assert bool(weight.any())
        assert not bool(weight[~masks[weight.shape]].any())


def test_inputs_are_given_by_name(tmp_path: Path) -> None:
    needs_executorch()
    torch.manual_seed(0)
    module = Masked().eval()
    rows = {"mask": (torch.rand(20, 6) > 0.3).float(), "ids": torch.randint(0, 30, (20, 6))}
    path = export_module(
        module, Topology.dense(module), tmp_path / "m.pte", members=rows, format="executorch"
    )
    assert verify(path)["inputs"] == ["mask", "ids"]
    with torch.no_grad():
        expected = module(**rows)["logits"]
    found = ExecutorchModel(path)(ids=rows["ids"], mask=rows["mask"])
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-5)


class Bags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.EmbeddingBag(50, 16, mode="mean"), nn.Linear(16, 3)

    def forward(self, ids: Any) -> Any:
        return self.out(self.table(ids))


def test_what_it_cannot_compute_is_refused_with_the_way_out(tmp_path: Path) -> None:
    needs_executorch()
    cases: list[tuple[nn.Module, Tensor, str]] = [
        (Bags(), torch.randint(0, 50, (8, 6)), "operator that the runtime lacks.*choose onnx"),
        (Branching(), torch.randn(8, 4), "cannot be lowered.*safetensors formats any model"),
    ]
    for module, rows, reason in cases:
        with pytest.raises(ModelError, match=reason):
            export_module(
                module,
                Topology.dense(module),
                tmp_path / "m.pte",
                members=rows,
                format="executorch",
            )
        assert not (tmp_path / "m.pte").exists()


def test_without_the_extra_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "executorch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "executorch", None)
    module, topology = sparse_model("mlp")
    with pytest.raises(ConfigError, match=r"executorch.*pip install 'safecompress\[executorch\]'"):
        export_module(
            module, topology, tmp_path / "m.pte", members=inputs("mlp"), format="executorch"
        )
    with pytest.raises(ConfigError, match="nothing that reads executorch reads"):
        export_module(
            module, topology, tmp_path / "m.zst", members=inputs("mlp"), format="executorch"
        )


HARM: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "flipped bit": (lambda d: d[:100] + bytes([d[100] ^ 1]) + d[101:], "SHA-256"),
    "truncation": (lambda d: d[: len(d) // 2], "lost its end"),
    "a hole": (lambda d: d[:50] + d[90:], "SHA-256"),
    "other facts": (lambda d: d.replace(b'"rows": 64', b'"rows": 46'), "SHA-256"),
    "a space": (lambda d: d.replace(b'"rows": 64', b'"rows":064'), "signature|SHA-256"),
    "a wrong length": (lambda d: d[:-9] + b"\x7f" + MAGIC, "signature"),
    "something appended": (lambda d: d + b"x", "lost its end"),
    "nothing": (lambda _: b"", "lost its end"),
}


@pytest.mark.parametrize("case", list(HARM))
def test_planted_harm_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    change, reason = HARM[case]
    data, path = signed_program(bytes(range(256)) * 4, FACTS), tmp_path / "m.pte"
    path.write_bytes(data)
    assert verify(path) == {"schema_version": 1, **FACTS}
    path.write_bytes(change(data))
    with pytest.raises(ModelError, match=reason):
        verify(path)


def test_a_program_that_is_none_is_refused_by_the_runtime(tmp_path: Path) -> None:
    needs_executorch()
    with pytest.raises(ModelError, match="does not load the program"):
        opened(signed_program(b"no program at all" * 40, FACTS), tmp_path)
