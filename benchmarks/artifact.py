"""How small and how fast is the exported file?

One cell for each kind, model and share of zeros, skipped when it is finished (`cells.py`):

    OMP_NUM_THREADS=1 python -m benchmarks.artifact --kind sizes [--model mlp] [--zeros 0.95]
    OMP_NUM_THREADS=1 python -m benchmarks.artifact --kind speed [--model mlp] [--zeros 0.95]
    OMP_NUM_THREADS=1 python -m benchmarks.artifact --kind runtimes [--model mlp] [--zeros 0.95]
    python -m benchmarks.artifact --kind table

`sizes` can be measured on any machine, `speed` (latency, load time, memory) needs a quiet one, and
so does `runtimes`: the latency of OpenVINO's and LiteRT's files, each in its own runtime, beside
onnxruntime's; what is not installed is named in the cell. A model whose name ends in `-half` has
lost half the channels of every group that can lose any (`remove_channels`) and keeps as many
weights as the whole one has, or all where that is too many; it is compared with the whole model as
dense fp32. `table` prints what is there, beside the accuracy of trained models from
`export_verdicts.py`.

`transformer` is of 20,000 words: nine tenths of its weights are in the table. `minilm` is MiniLM of
6 layers with a head; half of its weights are in the table of 30,522 words, which loses its share.
For it, MINILM names a folder as in `recipes/banking77-minilm.yaml`.

Weights are random (ERK masks, Gaussian values, batch normalization with random statistics): a cell
says something about bytes and milliseconds, and nothing about accuracy.

`bytes` compares every file with the dense fp32 ONNX file: packed with zstd (level 19) or zipped as
a whole, as its name says. Beside ours: the dense int8 file, zipped and packed, which is the honest
rival; ONNX's own `sparse_initializer`; a bitmask with fp16 or int8 values; gaps and int8 values
as they are.

`bound` is what no code that knows each layer's density and its values' frequencies can beat:
the sum over masked layers of log2 C(n, k) + k H(values), and the entropy of the rest. The values
are those that exist, as whole numbers; zeros that rounding made are among them. The rest are
scales, biases and normalization: the entropy of their bytes, each of a number's four bytes by
itself. It is stated for what each file has to hold: in an ONNX file normalization is folded into
the weights before it, in a safetensors file it is not. An ONNX file leaves out weights that
rounding made zero, so with int4 it may fall below what the whole topology needs.

`latency` is that of stock onnxruntime on one thread, files taking turns: the median of the turns'
ratios. Int8 is fast where the processor has instructions for it (avx512_vnni, avx_vnni); what this
one has is in the cell.

Goals at 95 % zeros of ResNet-18, int8: 35 times smaller as it is, 45 times packed with zstd, within
5 % of the bound; 60 times with int4 and zstd; 3.8 times as fast as fp32, and within 5 % of dense
int8.

What the stored cells say, at 95 % zeros, whole models: MiniLM, its table of words included, is 33
times smaller as it is and 40 times packed; ResNet-18 is 39 times smaller as it is, 49 times packed
with zstd and 65 times with int4; VGG-16 40, 48 and 67 times. At every share of zeros the packed
int8 files of these, AlexNet and the MLP lie within 4.5 % of the bound. The MLP misses the size
goals (34.2 and 42.8 times); without half its channels it meets them (36.1 and 49.4 times, 74 with
int4). ResNet-18 and VGG-16 without half their channels are 42 and 41 times smaller as they are, 59
and 58 packed, 91 and 90 with int4. Halved models are denser, so their packed ONNX files lie up to
6.1 % over the bound, and packed bitmasks are mostly smaller than they are.

Latency, a quiet processor without int8 instructions (2026-12-01): the self-decoding file takes 0.96
to 1.03 of dense int8's time. It is 2.1 (ResNet-18), 2.6 (VGG-16), 4.8 (AlexNet), 1.9 (MLP), 2.0
(MiniLM) and 1.3 (the small transformer) times as fast as fp32; only AlexNet passes 3.8. Without
half their channels they are 7.1, 12.2, 13.2 and 3.5 times as fast as the whole model in fp32.
Removing channels is what makes a model fast here, not zeros; what else was tried is in
`int8_latency.py`.

Other runtimes, one row, times as fast as onnxruntime in fp32 (MLP, AlexNet, ResNet-18, small
transformer), where onnxruntime's int8 is 2.1, 5.4, 2.2 and 1.4: OpenVINO, called from Python, 0.6,
1.3, 1.1 and 0.8 in fp32 and 0.7, 2.6, 2.3 and 0.7 in int8; its int4 file, which decodes itself, is
no faster than fp32 where convolutions do the work. LiteRT 1.0, 1.8, 1.1 and 1.3 in fp32, 3.2, 2.7,
1.4 and 1.5 in int8, and 3.7, 0.7, 0.5 and 1.8 in int4, whose convolutions are slow. ExecuTorch 0.7,
0.6, 0.5 and 0.7 in fp32, 1.4, 1.7, 1.3 and 0.7 in int8. AlexNet's were measured beside other work.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.special import gammaln

from benchmarks.artifact_nets import (
    CLASSES,
    HALF,
    MODELS_MEASURED,
    NETS,
    context_of,
    whole_model,
)
from benchmarks.cells import Cells
from safecompress.errors import ConfigError, ModelError
from safecompress.export import FORMATS, ExportContext, loaders
from safecompress.export.compact import entropy_bytes, zstd
from safecompress.export.compact_format import CompactFormat
from safecompress.export.measure import latencies, loading, sizes
from safecompress.export.onnx_format import OnnxFormat, onnx_session
from safecompress.export.onnx_graphs import Fp32, OnnxGraphs
from safecompress.export.packing import gap_stream, quantize
from safecompress.export.written import write_files
from safecompress.topology import Topology

CELLS = Cells.of("artifact")
TRAINED = Cells.of("export_verdicts")
ZEROS = (0.8, 0.9, 0.95, 0.98)
VALUES = ("int8", "int4")


def written(
    context: ExportContext, form: str | dict[str, Any], facts: dict[str, Any] | None = None
) -> bytes:
    """Return a file of a format, which may have options."""
    return FORMATS.build(form, where="benchmark").write(context, facts or {})


def dense_fp32(name: str) -> bytes:
    """Return the file of the whole model, dense, in fp32."""
    net = NETS[name.removesuffix(HALF)]
    module = whole_model(net)
    return written(ExportContext.of(module, Topology.dense(module), net.rows(2)), "onnx")


def planes(array: NDArray[Any]) -> float:
    """Return the size of numbers in bytes by the entropy of each of their byte positions."""
    flat = np.ascontiguousarray(array).reshape(-1)
    split = flat.view(np.uint8).reshape(len(flat), flat.itemsize)
    return sum(entropy_bytes(np.ascontiguousarray(split[:, i])) for i in range(flat.itemsize))


def mask_bytes(n: int, k: int) -> float:
    """Return log2 C(n, k) in bytes."""
    return float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)) / math.log(2) / 8


def bound(
    weights: dict[str, NDArray[Any]], topology: Topology, rest: list[NDArray[Any]], kind: str
) -> float:
    """Return the entropy bound in bytes.

    Args:
        weights: of masked layers, fp32.
        topology: their masks.
        rest: everything else but scales.
        kind: `int8` or `int4`.
    """
    total, scales = 0.0, []
    for name, mask in topology.masks.items():
        exists = mask.numpy()
        found = quantize(weights[name] * exists, kind)
        values = (found.values[exists].astype(np.int16) + 128).astype(np.uint8)
        total += mask_bytes(exists.size, int(exists.sum())) + entropy_bytes(values)
        scales.append(found.scale)
    floats = [np.asarray(r, np.float32).reshape(-1) for r in rest if r.dtype.kind == "f"]
    return total + planes(np.concatenate([*scales, *floats]))


def folded(context: ExportContext) -> dict[str, NDArray[Any]]:
    """Return the weights of the fp32 graph by the module's names, normalization folded in."""
    graph = context.once(OnnxGraphs).fp32
    found = {i.name: numpy_helper.to_array(i) for i in graph.graph.initializer}
    for name, layer in context.once(Fp32).layers().items():
        masked = (n for n in (f"{layer}.weight", layer) if n in context.topology.masks)
        source = next(masked, name)  # Tables of positions have no mask, and keep their name.
        if source != name:
            # The graph holds this weight transposed, under a name of its own.
            found[source] = found.pop(name).T
    return found


def other_formats(
    context: ExportContext, topology: Topology, initializers: dict[str, NDArray[Any]]
) -> dict[str, int]:
    """Return the sizes in bytes of formats that SafeCompress does not write."""
    rest = sum(a.nbytes for name, a in initializers.items() if name not in topology.masks)
    sparse, mask16, mask8, gaps8 = rest, rest, rest, rest
    streams: list[bytes] = []
    for name, mask in topology.masks.items():
        exists = mask.numpy()
        values = initializers[name][exists]
        found = quantize(initializers[name] * exists, "int8")
        bits, gaps = np.packbits(exists.reshape(-1)), gap_stream(exists)
        # ONNX stores a linear index of 8 bytes beside each fp32 value.
        sparse += values.nbytes + 8 * len(values)
        mask16 += bits.nbytes + 2 * len(values)
        mask8 += bits.nbytes + len(values) + found.scale.nbytes
        gaps8 += gaps.nbytes + len(values) + found.scale.nbytes
        streams += [bits.tobytes(), found.values[exists].tobytes(), found.scale.tobytes()]
    packed = sum(len(zstd(stream)) for stream in streams) + rest
    dense8 = written(context, "onnx-int8")
    dense8_sizes = sizes(dense8)
    return {
        "onnx sparse_initializer": sparse,
        "bitmask + fp16": mask16,
        "bitmask + int8": mask8,
        "bitmask + int8, zstd": packed,
        "gaps + int8": gaps8,
        "dense int8": dense8_sizes.disk,
        "dense int8, zip": dense8_sizes.zip,
        "dense int8, zstd": dense8_sizes.zstd,
    }


def cell_of(name: str, zeros: float) -> dict[str, Any]:
    """Return the entries that identify a cell."""
    return {"model": name, "zeros": zeros, "weights": "random", "classes": CLASSES}


def measure_sizes(name: str, zeros: float) -> dict[str, Any]:
    """Return one cell of bytes."""
    context, _ = context_of(name, zeros)
    topology = context.topology
    fp32 = len(dense_fp32(name))
    initializers = folded(context)
    held: dict[str, int] = other_formats(context, topology, initializers)
    state = {n: t.numpy() for n, t in context.module.state_dict().items()}
    bounds: dict[str, dict[str, float]] = {}
    for form in FORMATS.parts:
        made = FORMATS.build(form, where="benchmark")
        compact = isinstance(made, CompactFormat)
        if not compact and not (isinstance(made, OnnxFormat) and made.sparse):
            continue
        data = written(context, form, {"format": form})
        held[form] = len(data)
        held[f"{form}, zstd"] = len(
            written(context, {form: {"packed": True}}) if compact else zstd(data)
        )
    for container, weights in (("onnx", initializers), ("safetensors", state)):
        rest = [a for n, a in weights.items() if n not in topology.masks]
        bounds[container] = {kind: bound(weights, topology, rest, kind) for kind in VALUES}
    int8, int4 = "onnx-sparse-int8", "safetensors-int4"
    return {
        "cell": cell_of(name, zeros),
        "parameters": sum(p.numel() for p in context.module.parameters()),
        "nonzeros": topology.nonzeros,
        "dense_fp32_bytes": fp32,
        "bytes": held,
        "times_smaller": {n: round(fp32 / size, 2) for n, size in held.items()},
        "bound_bytes": bounds,
        "over_bound": {
            f"{container}-{'sparse-' if container == 'onnx' else ''}{kind}, zstd": round(
                held[f"{container}-{'sparse-' if container == 'onnx' else ''}{kind}, zstd"]
                / bounds[container][kind],
                4,
            )
            for container in bounds
            for kind in VALUES
        },
        "summary": {
            "raw": round(fp32 / held[int8], 2),
            "zstd": round(fp32 / held[f"{int8}, zstd"], 2),
            "int4_zstd": round(fp32 / held[f"{int4}, zstd"], 2),
        },
    }


def measure_speed(name: str, zeros: float) -> dict[str, Any]:
    """Return one cell of milliseconds, seconds to load, and memory."""
    context, members = context_of(name, zeros)
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for form_name in ("onnx-sparse-int8", "onnx", "onnx-int8"):
            files[form_name] = Path(folder) / f"{form_name}.onnx"
            files[form_name].write_bytes(written(context, form_name))
        if name.endswith(HALF):
            files["whole onnx"] = Path(folder) / "whole.onnx"
            files["whole onnx"].write_bytes(dense_fp32(name))
        feed = {"inputs": members[:32].numpy()}
        sessions = {name: onnx_session(path, threads=1) for name, path in files.items()}
        latency = latencies(sessions, feed, threads=1)
        loads = {
            n: loading(path, feed, loader=loaders.ONNX, threads=1) for n, path in files.items()
        }
    ratios = latency.to_json()["batches"]["1"]["ratios"]
    whole = "whole onnx" if name.endswith(HALF) else "onnx"
    return {
        "cell": cell_of(name, zeros),
        "latency": latency.to_json(),
        "loading": {name: cost.to_json() for name, cost in loads.items()},
        "summary": {
            "faster_than_fp32": round(1 / ratios[whole]["value"], 3),
            "time_over_int8": round(ratios["onnx-int8"]["value"], 3),
        },
    }


RUNTIMES = (
    *("onnx", "onnx-int8", "openvino", "openvino-int8", "openvino-int4"),
    *("litert", "litert-int8", "litert-int4", "executorch", "executorch-int8"),
)
"""Formats whose latency is compared, each in its own runtime."""


def measure_runtimes(name: str, zeros: float) -> dict[str, Any]:
    """Return one cell of milliseconds in several runtimes."""
    context, members = context_of(name, zeros)
    sessions, missing, held = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for form_name in RUNTIMES:
            form = FORMATS.build(form_name, where="benchmark")
            path = Path(folder) / f"{form_name}{form.suffixes[0]}"
            try:
                content = form.write(context, {})
                write_files(form, path, content)
                sessions[form_name] = form.session(path, threads=1)
                held[form_name] = len(content)
            except (ConfigError, ModelError) as error:
                missing[form_name] = str(error)
        latency = latencies(sessions, {"inputs": members[:32].numpy()}, threads=1)
    one = latency.to_json()["batches"]["1"]["milliseconds"]
    return {
        "cell": cell_of(name, zeros),
        "latency": latency.to_json(),
        "bytes": held,
        "missing": missing,
        "summary": {form: round(one["onnx"] / time, 3) for form, time in one.items()},
    }


COLUMNS = (
    ("int8", "onnx-sparse-int8"),
    ("int8, zstd", "onnx-sparse-int8, zstd"),
    ("int4, zstd", "safetensors-int4, zstd"),
    ("dense int8, zip", "dense int8, zip"),
    ("sparse_initializer", "onnx sparse_initializer"),
    ("bitmask + int8, zstd", "bitmask + int8, zstd"),
)


def table() -> str:
    """Return the finished cells as Markdown."""
    heads = ["model", "zeros", *(head for head, _ in COLUMNS), "over bound", "fp32 time / ours"]
    lines = [" | ".join(heads), " | ".join("---" for _ in heads)]
    for key, cell in CELLS.finished("sizes-*").items():
        times = cell["times_smaller"]
        speed = key.replace("sizes-", "speed-")
        faster = CELLS.read(speed)["summary"]["faster_than_fp32"] if speed in CELLS else "–"
        row = [cell["cell"]["model"], f"{cell['cell']['zeros']:.0%}"]
        row += [f"{times[key]:.1f}×" for _, key in COLUMNS]
        row += [f"{cell['over_bound']['onnx-sparse-int8, zstd']:.3f}", str(faster)]
        lines.append(" | ".join(row))
    heads = ["trained model", "format", "accuracy before", "after", "times smaller", "verdicts"]
    lines += ["", " | ".join(heads), " | ".join("---" for _ in heads)]
    for cell in TRAINED.finished("*-onnx-*").values():
        row = [cell["cell"]["model"], cell["cell"]["format"]]
        row += [f"{cell[key]:.3f}" for key in ("accuracy_before", "accuracy_after")]
        row += [f"{cell['times_smaller']:.1f}×"]
        row += [f"{cell['verdict_before']}, {cell['verdict_after']}"]
        lines.append(" | ".join(row))
    return "\n".join(f"| {line} |" if line else "" for line in lines)


MEASURES = {"sizes": measure_sizes, "speed": measure_speed, "runtimes": measure_runtimes}


def main() -> None:
    """Measure the requested cells that are missing, or print the finished ones."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", choices=[*MEASURES, "table"], required=True)
    parser.add_argument("--model", choices=MODELS_MEASURED, action="append")
    parser.add_argument("--zeros", type=float, action="append")
    chosen = parser.parse_args()
    if chosen.kind == "table":
        print(table())
        return
    for zeros in chosen.zeros or ZEROS:
        for name in chosen.model or MODELS_MEASURED:
            key = f"{chosen.kind}-{name}-{zeros:g}"
            if key in CELLS:
                continue
            cell = MEASURES[chosen.kind](name, zeros)
            CELLS.write(key, cell)
            print(key, cell["summary"], cell.get("over_bound", ""), flush=True)


if __name__ == "__main__":
    main()
