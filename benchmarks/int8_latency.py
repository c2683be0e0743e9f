"""Which int8 form of a graph is the fastest in stock onnxruntime, and is one fast enough?

One cell for each model, skipped when it is finished (`cells.py`):

    OMP_NUM_THREADS=1 python -m benchmarks.int8_latency [--model resnet18]

The export's int8 graph misses its goal, 3.8 times as fast as fp32 at batch 1, where the processor
has no int8 dot products (`artifact.py`). A cell holds what else onnxruntime's own quantizer can
make of the same network, every file in its turn on one thread:

- `as exported`: activations uint8, weights int8 per channel, Q and DQ nodes;
- `unsigned weights`, `signed activations`: other kernels, for their sums do not saturate;
- `one scale a layer`: no scales per channel;
- `integer operators`: QLinearConv and its kind written out, not Q and DQ nodes to be fused;
- `dynamic`: ranges found in every call;
- `half the channels`: `as exported`, after half the channels of each group were removed.

Weights are random and 95 % of them zero, as in `artifact.py`.

What the stored cell says, ResNet-18 on an AMD EPYC with AVX2 and no int8 dot products, times as
fast as fp32 at batch 1: as exported 2.1; integer operators 2.1 and one scale a layer 2.1, so
neither the fusing nor the scales per channel cost anything; unsigned weights 1.6 and signed
activations 1.2, the price of sums that do not saturate; dynamic 1.0. No form of the whole network
comes near 3.8. Without half its channels it is 8.1 times as fast.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from benchmarks.artifact_nets import HALF, NETS, context_of
from benchmarks.cells import Cells
from safecompress.export import FORMATS, ExportContext
from safecompress.export.graph import quiet
from safecompress.export.measure import latencies
from safecompress.export.onnx_format import onnx_session

CELLS = Cells.of("int8_latency")
ZEROS = 0.95
ROUNDS = 15
PLAIN: dict[str, Any] = {
    "quant_format": QuantFormat.QDQ,
    "per_channel": True,
    "activation_type": QuantType.QUInt8,
    "weight_type": QuantType.QInt8,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "unsigned weights": {"weight_type": QuantType.QUInt8},
    "signed activations": {"activation_type": QuantType.QInt8},
    "one scale a layer": {"per_channel": False},
    "integer operators": {"quant_format": QuantFormat.QOperator},
}


class Batches:
    """Rows in batches of 64, in the interface of onnxruntime's calibration."""

    def __init__(self, rows: torch.Tensor) -> None:
        self._left = iter(rows.split(64))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._left, None)
        return None if batch is None else {"inputs": batch.numpy()}


def measure(name: str) -> dict[str, Any]:
    """Return a model's cell."""
    whole, members = context_of(name, ZEROS)
    half, _ = context_of(f"{name}{HALF}", ZEROS)
    feed = {"inputs": members[:32].numpy()}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def written(title: str, made: ExportContext, form: str) -> Path:
            path = folder / f"{title}.onnx"
            path.write_bytes(FORMATS.build(form, where="benchmark").write(made, {}))
            return path

        files = {
            "fp32": written("fp32", whole, "onnx"),
            "as exported": written("as exported", whole, "onnx-sparse-int8"),
            "dynamic": written("dynamic", whole, "onnx-int8-dynamic"),
            "half the channels": written("half the channels", half, "onnx-sparse-int8"),
        }
        for title, options in VARIANTS.items():
            files[title] = folder / f"{title}.onnx"
            with quiet():
                quantize_static(
                    onnx.load(files["fp32"]),
                    str(files[title]),
                    Batches(members),
                    **(PLAIN | options),
                )
        sessions = {title: onnx_session(path, threads=1) for title, path in files.items()}
        latency = latencies(sessions, feed, threads=1, rounds=ROUNDS).to_json()
    return {
        "cell": {"model": name, "zeros": ZEROS, "weights": "random"},
        "faster_than_fp32": {
            batch: {title: round(ratio["value"], 2) for title, ratio in found["ratios"].items()}
            for batch, found in latency["batches"].items()
        },
        "latency": latency,
    }


def main() -> None:
    """Measure the requested cells that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=NETS, action="append")
    for name in parser.parse_args().model or NETS:
        if name not in CELLS:
            cell = measure(name)
            CELLS.write(name, cell)
            print(name, cell["faster_than_fp32"], flush=True)


if __name__ == "__main__":
    main()
