"""`safecompress audit` on recorded outputs: the right verdict, and no harm from hostile files."""

from __future__ import annotations

import html
import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from safecompress import Limits, audit
from safecompress.cli.app import app
from safecompress.data import read_outputs
from safecompress.errors import SafeCompressError, UsageError

Arrays = dict[str, Any]
CLASSES = 10


def arrays(rows: int = 1500, *, leak: float = 0.0, seed: int = 0, **more: Any) -> Arrays:
    """Return outputs of a model right about two times in three; `leak` raises members' margins."""
    draw = np.random.default_rng(seed)
    found: Arrays = {}
    for group in ("member", "nonmember"):
        labels = draw.integers(0, CLASSES, rows)
        logits = draw.normal(size=(rows, CLASSES)).astype(np.float32)
        logits[np.arange(rows), labels] += 1.8 + (leak if group == "member" else 0.0)
        found |= {f"{group}_logits": logits, f"{group}_labels": labels}
    return found | more


def with_references(rows: int = 600, *, leak: float = 0.0, models: int = 16) -> Arrays:
    """Return outputs whose leak shows only beside models that did not see the row."""
    draw = np.random.default_rng(1)
    found: Arrays = {}
    for group in ("member", "nonmember"):
        labels = draw.integers(0, CLASSES, rows)
        hard = draw.normal(scale=3.0, size=rows)
        seen = draw.random((models, rows)).argsort(axis=0) < models // 2
        noise = draw.normal(size=(models + 1, rows, CLASSES)) * 0.3
        lift = np.concatenate([seen, np.full((1, rows), group == "member")]) * leak
        noise[:, np.arange(rows), labels] += hard + lift
        found |= {
            f"{group}_logits": noise[-1].astype(np.float32),
            f"{group}_labels": labels,
            f"{group}_reference_logits": noise[:-1].astype(np.float32),
            f"{group}_reference_seen": seen,
        }
    return found


def saved(folder: Path, found: Arrays, name: str = "outputs") -> Path:
    path = folder / f"{name}.npz"
    np.savez(path, **found)
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def code(result: Any) -> int:
    """Return the exit code that `main` gives."""
    if isinstance(result.exception, SafeCompressError):
        return result.exception.exit_code
    return int(result.exit_code)


@pytest.mark.parametrize(
    ("found", "status", "expected"),
    [
        (arrays(leak=2.0), "FAIL", 1),
        (arrays(), "PASS", 0),
        (arrays(rows=12), "INCONCLUSIVE", 3),
        (arrays(rows=1), "INCONCLUSIVE", 3),
    ],
    ids=["planted", "null", "tiny", "one row each"],
)
def test_verdict_exit_code_and_files(
    tmp_path: Path, found: Arrays, status: str, expected: int
) -> None:
    out = tmp_path / "out"
    result = run(saved(tmp_path, found), "--out", out)
    assert code(result) == expected, result.output
    document = json.loads((out / "verdict.json").read_text())
    assert document["verdict"] == status
    assert document["kind"] == "audit"
    assert status in result.output
    for name in ("report.html", "junit.xml", "figures.json", "provenance.json"):
        assert (out / name).stat().st_size
    page = html.unescape((out / "report.html").read_text())
    assert "is missing" not in page
    assert "sealed" not in page.split("<main>")[1].replace("sealed rows were", "")
    assert ("Members most exposed" in page) == bool(document["exposed"]["members"])
    assert document["scope"] in page


def test_probabilities_give_what_their_logits_give(tmp_path: Path) -> None:
    found = arrays(leak=0.6)
    probabilities = dict(found)
    for group in ("member", "nonmember"):
        z = found[f"{group}_logits"].astype(np.float64)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        probabilities[f"{group}_logits"] = e / e.sum(axis=1, keepdims=True)
    ours = audit(saved(tmp_path, found)).verdict.document.to_json()
    theirs = audit(saved(tmp_path, probabilities, "probabilities")).verdict.document.to_json()
    assert ours["model"]["outputs"] == "logits"
    assert theirs["model"]["outputs"] == "probabilities"
    for a, b in zip(ours["checks"], theirs["checks"], strict=True):
        # The neural attacker reads float32 logits; the shift of a row changes their last digits.
        assert a["value"] == pytest.approx(b["value"], abs=2e-3)


def test_reference_models_find_what_metrics_do_not(tmp_path: Path) -> None:
    document = audit(saved(tmp_path, with_references(leak=1.2))).verdict.document.to_json()
    values = {c["name"].split(" ")[0]: c["value"] for c in document["checks"]}
    assert values["lira-online.auc"] > 0.9
    assert values["rmia.auc"] > 0.8
    assert values["loss.auc"] < 0.65
    assert document["verdict"] == "FAIL"
    assert "16 reference models" in document["scope"]
    null = audit(saved(tmp_path, with_references())).verdict.document.to_json()
    assert {c["name"].split(" ")[0]: c["value"] for c in null["checks"]}["lira-online.auc"] < 0.56


def test_a_baseline_adds_paired_differences(tmp_path: Path) -> None:
    dense, small = arrays(leak=1.0), arrays(leak=0.2)
    found = audit(saved(tmp_path, small), baseline=saved(tmp_path, dense, "dense"))
    checks = {c.name: c for c in found.verdict.checks}
    assert checks["loss.auc ≤ dense"].estimate.value < -0.05
    assert checks["loss.auc ≤ dense"].status == "PASS"
    assert "accuracy ≥ dense − 0.05" in checks
    assert [row.name for row in found.verdict.document.comparison] == [
        "dense",
        "model",
    ]
    other = arrays(seed=3)
    with pytest.raises(UsageError, match="labels that differ"):
        audit(saved(tmp_path, small), baseline=saved(tmp_path, other, "other"))


def test_a_baseline_without_references_is_compared_by_the_other_attacks(tmp_path: Path) -> None:
    found = with_references(leak=1.2)
    plain = {k: v for k, v in found.items() if "reference" not in k}
    ours, theirs = saved(tmp_path, found), saved(tmp_path, plain, "dense")
    verdict = audit(ours, baseline=theirs).verdict
    names = [c.name for c in verdict.checks]
    assert "lira-online.auc ≤ 0.6" in names
    assert "lira-online.auc ≤ dense" not in names
    assert verdict.status == "FAIL"
    assert "lira-online.auc ≤ dense" in [c.name for c in audit(ours, baseline=ours).verdict.checks]


def test_limits_become_checks(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays(leak=0.5))
    result = run(
        path, "--max-auc", 0.99, "--max-advantage", 0.01, "--max-tpr", "0.5@0.1", "--out",
        tmp_path / "out", "--json", "--markdown", tmp_path / "s.md", "--junit", tmp_path / "j.xml",
        "--html", tmp_path / "h.html",
    )  # fmt: skip
    assert code(result) == 1
    last = json.loads(result.stdout.strip().splitlines()[-1])
    assert (last["status"], last["exit_code"]) == ("FAIL", 1)
    document = json.loads((tmp_path / "out" / "verdict.json").read_text())
    status = {c["name"]: c["status"] for c in document["checks"]}
    assert status["loss.auc ≤ 0.99"] == "PASS"
    assert status["loss.advantage ≤ 0.01"] == "FAIL"
    assert status["loss.tpr@0.1 ≤ 0.5"] == "PASS"
    assert "| loss.advantage ≤ 0.01 |" in (tmp_path / "s.md").read_text()
    assert "<testsuite" in (tmp_path / "j.xml").read_text()
    assert (tmp_path / "h.html").read_bytes() == (tmp_path / "out" / "report.html").read_bytes()


def test_too_few_rows_for_a_rate_are_not_a_pass(tmp_path: Path) -> None:
    found = audit(saved(tmp_path, arrays()), limits=Limits(max_tpr=((0.01, 0.0001),)))
    rates = [c for c in found.verdict.checks if "tpr@0.0001" in c.name]
    assert rates
    assert {c.status for c in rates} == {"INCONCLUSIVE"}


def test_labels_that_tell_the_groups_apart_void_the_audit(tmp_path: Path) -> None:
    found = arrays()
    found["member_labels"] = np.minimum(found["member_labels"], 4)
    document = audit(saved(tmp_path, found)).verdict.document.to_json()
    blind = next(c for c in document["checks"] if c["name"] == "control: blind baseline")
    assert blind["status"] == "ERROR"
    assert "labels alone" in blind["message"]
    assert document["verdict"] == "ERROR"


def test_the_same_file_and_seed_give_the_same_verdict(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays(leak=0.4))
    ours, theirs = (audit(path, seed=5).verdict.document.to_json() for _ in range(2))
    for document in (ours, theirs):
        for check in document["checks"]:
            check.pop("seconds")
    assert ours == theirs


def test_a_model_that_says_the_same_of_every_row_is_not_refused(tmp_path: Path) -> None:
    found = arrays()
    for group in ("member", "nonmember"):
        found[f"{group}_logits"][:] = found["member_logits"][0]
    document = audit(saved(tmp_path, found)).verdict.document.to_json()
    values = {c["name"]: c["value"] for c in document["checks"]}
    assert values["confidence.auc ≤ 0.6"] == 0.5


# -- files that are broken, or mean harm ----------------------------------------------------------


class Bomb:
    """Would write a file if anybody unpickled it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.path, "executed"))


def member(shape: str, descr: str = "'<f4'", body: bytes = b"", *, version: int = 1) -> bytes:
    """Return an .npy whose header says whatever it is told."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    header += b" " * (63 - len(header) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + body


def npy(array: Any, *, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def zipped(path: Path, entries: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(f"{name}.npy", data)
    return path


def forged(name: str, data: bytes) -> Callable[[Path], Path]:
    """Return a maker of a file that is sound but for one array."""

    def make(folder: Path) -> Path:
        entries = {key: npy(value) for key, value in arrays(40).items()} | {name: data}
        return zipped(folder / "forged.npz", entries)

    return make


def changed(**more: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        found = arrays(40) | more
        return saved(folder, {k: v for k, v in found.items() if v is not None})

    return make


def altered(change: Callable[[Arrays], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        found = arrays(40)
        change(found)
        return saved(folder, found)

    return make


def cut(share: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = saved(folder, arrays(40))
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        return path

    return make


def flipped(place: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "flipped.npz"
        np.savez_compressed(path, **arrays(400))
        data = bytearray(path.read_bytes())
        at = int(len(data) * place)
        data[at : at + 40] = bytes(b ^ 0xFF for b in data[at : at + 40])
        path.write_bytes(bytes(data))
        return path

    return make


def raw(data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "raw.npz"
        path.write_bytes(data)
        return path

    return make


def pickled(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        bomb = np.array([Bomb(folder / "executed")], dtype=object)
        return forged(name, npy(bomb, pickled=True))(folder)

    return make


def zeros_bomb(folder: Path) -> Path:
    """A consistent file of 2 GiB of zeros in 2 MB."""
    entries = {key: npy(value) for key, value in arrays(40).items()}
    path = zipped(folder / "bomb.npz", entries)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            if name != "member_logits":
                archive.writestr(f"{name}.npy", data)
        with archive.open("member_logits.npy", "w", force_zip64=True) as handle:
            handle.write(member("(53687091, 10)"))
            block = bytes(1 << 24)
            for _ in range(128):
                handle.write(block)
    return path


def set_entry(key: str, value: float) -> Callable[[Arrays], object]:
    return lambda found: found[key].__setitem__((3, 2), value)


def set_label(value: int) -> Callable[[Arrays], object]:
    return lambda found: found["nonmember_labels"].__setitem__(7, value)


HUGE = "(1000000000000, 10)"
LOGITS, LABELS = "member_logits", "nonmember_labels"
REFERENCES = {
    k: v for k, v in with_references(40, models=4).items() if k not in arrays(1)
}  # fmt: skip


def references(**more: Any) -> Callable[[Path], Path]:
    return changed(**(REFERENCES | more))


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "no such file": lambda folder: folder / "nothing.npz",
    "a folder": lambda folder: folder,
    "empty": raw(b""),
    "one byte": raw(b"P"),
    "text": raw(b"member_logits,1,2,3\n"),
    "a bare npy": raw(npy(np.zeros((3, 2)))),
    "a pickle": raw(pickle.dumps({"member_logits": [1]})),
    "html": raw(b"<html>404</html>"),
    "gzip": raw(b"\x1f\x8b\x08\x00" + bytes(60)),
    "zip magic only": raw(b"PK\x03\x04" + bytes(100)),
    "empty zip": raw(b"PK\x05\x06" + bytes(18)),
    "zip of nothing we know": lambda folder: zipped(folder / "a.npz", {"x": npy(np.zeros(3))}),
    **{f"cut at {share:.0%}": cut(share) for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)},
    **{f"flipped at {place:.0%}": flipped(place) for place in (0.05, 0.2, 0.4, 0.6, 0.8)},
    **{f"pickled {name}": pickled(name) for name in arrays(1)},
    "pickled header": forged(LOGITS, member("(1,)", "'|O'", pickle.dumps([1]))),
    "2 GiB of zeros": zeros_bomb,
    "declares petabytes": forged(LOGITS, member(HUGE)),
    "declares petabytes of labels": forged(LABELS, member("(1000000000000000,)", "'<i8'")),
    "declares more than it holds": forged(LOGITS, member("(4000, 10)", body=bytes(80))),
    "declares less than it holds": forged(LOGITS, member("(2, 10)", body=bytes(8000))),
    "negative shape": forged(LOGITS, member("(-4, 10)", body=bytes(160))),
    "shape of text": forged(LOGITS, member("('a', 10)", body=bytes(160))),
    "shape of floats": forged(LOGITS, member("(4.0, 10)", body=bytes(160))),
    "shape is a call": forged(LOGITS, member("__import__('os').getcwd()", body=bytes(160))),
    "deeply nested header": forged(LOGITS, member("(" * 4000 + ")" * 4000)),
    "version 9": forged(LOGITS, b"\x93NUMPY\x09\x00" + bytes(80)),
    "version 2 header of 4 GiB": forged(LOGITS, b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(80)),
    "no magic": forged(LOGITS, bytes(200)),
    "empty member": forged(LOGITS, b""),
    "header without shape": forged(LOGITS, b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'}"),
    "structured": forged(LOGITS, npy(np.zeros(4, dtype=[("a", "f4"), ("b", "f4")]))),
    "unknown dtype": forged(LOGITS, member("(4, 10)", "'<q9'", bytes(160))),
    "datetimes": changed(member_logits=np.zeros((40, 10), dtype="datetime64[s]")),
    "text logits": changed(member_logits=np.full((40, 10), "1.5")),
    "bytes logits": changed(member_logits=np.full((40, 10), b"x")),
    "complex logits": changed(member_logits=np.zeros((40, 10), dtype=complex)),
    "integer logits": changed(member_logits=np.zeros((40, 10), dtype=np.int32)),
    "boolean logits": changed(member_logits=np.zeros((40, 10), dtype=bool)),
    "logits of one dimension": changed(member_logits=np.zeros(40, dtype=np.float32)),
    "logits of three": changed(member_logits=np.zeros((40, 10, 2), dtype=np.float32)),
    "a scalar": changed(member_logits=np.float32(3)),
    "one column": changed(member_logits=np.zeros((40, 1), dtype=np.float32)),
    "no columns": changed(member_logits=np.zeros((40, 0), dtype=np.float32)),
    "no rows": changed(
        member_logits=np.zeros((0, 10), dtype=np.float32), member_labels=np.zeros(0, dtype=int)
    ),
    "other classes": changed(nonmember_logits=np.zeros((40, 9), dtype=np.float32)),
    "more logits than labels": changed(member_logits=np.zeros((41, 10), dtype=np.float32)),
    "labels one-hot": changed(nonmember_labels=np.eye(10, dtype=int)[np.zeros(40, dtype=int)]),
    "labels as floats": changed(nonmember_labels=np.zeros(40)),
    "labels as text": changed(nonmember_labels=np.full(40, "cat")),
    "labels as bool": changed(nonmember_labels=np.zeros(40, dtype=bool)),
    "labels scalar": changed(nonmember_labels=np.int64(3)),
    "label beyond the classes": altered(set_label(10)),
    "negative label": altered(set_label(-1)),
    "label of 2^62": altered(set_label(1 << 62)),
    "label beyond int64": changed(nonmember_labels=np.full(40, 2**64 - 1, dtype=np.uint64)),
    "NaN": altered(set_entry("member_logits", np.nan)),
    "infinity": altered(set_entry("nonmember_logits", np.inf)),
    "minus infinity": altered(set_entry("member_logits", -np.inf)),
    "all NaN": changed(member_logits=np.full((40, 10), np.nan, dtype=np.float32)),
    "float64 beyond float32": changed(member_logits=np.full((40, 10), 1e300)),
    "the same rows twice": altered(
        lambda a: a.update({f"nonmember_{k}": a[f"member_{k}"] for k in ("logits", "labels")})
    ),
    "half of the rows twice": altered(
        lambda a: [
            a[f"nonmember_{k}"].__setitem__(slice(20), a[f"member_{k}"][:20])
            for k in ("logits", "labels")
        ]
    ),
    **{f"without {name}": changed(**{name: None}) for name in arrays(1)},
    "references of one group": references(nonmember_reference_logits=None),
    "references of other rows": references(
        member_reference_logits=np.zeros((4, 39, 10), dtype=np.float32)
    ),
    "references of other classes": references(
        member_reference_logits=np.zeros((4, 40, 9), dtype=np.float32)
    ),
    "references flat": references(member_reference_logits=np.zeros((40, 10), dtype=np.float32)),
    "references none": references(
        member_reference_logits=np.zeros((0, 40, 10), dtype=np.float32),
        member_reference_seen=np.zeros((0, 40), dtype=bool),
    ),
    "references NaN": references(
        member_reference_logits=np.full((4, 40, 10), np.nan, dtype=np.float32)
    ),
    "references of integers": references(member_reference_logits=np.zeros((4, 40, 10), dtype=int)),
    "seen as integers": references(member_reference_seen=np.zeros((4, 40), dtype=int)),
    "seen of other models": references(member_reference_seen=np.zeros((5, 40), dtype=bool)),
    "references of other counts": references(
        nonmember_reference_logits=REFERENCES["nonmember_reference_logits"][:3],
        nonmember_reference_seen=REFERENCES["nonmember_reference_seen"][:3],
    ),
}


def test_there_are_enough_hostile_files() -> None:
    assert len(HOSTILE) >= 80


@pytest.mark.parametrize("case", list(HOSTILE))
def test_a_file_that_cannot_be_audited_ends_in_one_message(case: str, tmp_path: Path) -> None:
    path = HOSTILE[case](tmp_path)
    with pytest.raises(UsageError) as caught:
        read_outputs(path)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600
    assert not (tmp_path / "executed").exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from /proc")
@pytest.mark.parametrize("case", ["2 GiB of zeros", "declares petabytes", "pickled member_logits"])
def test_nothing_is_executed_and_memory_stays_small(case: str, tmp_path: Path) -> None:
    path = HOSTILE[case](tmp_path)
    # Not `ru_maxrss`: it also counts the process that started this one, as large as it was then.
    program = (
        "import sys; from pathlib import Path; from safecompress.cli.app import main\n"
        "sys.argv = ['safecompress', 'audit', sys.argv[1], '--out', sys.argv[2]]\n"
        "try: main()\n"
        "except SystemExit as end:\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    peak = next(line.split()[1] for line in lines if line.startswith('VmHWM'))\n"
        "    print(end.code, peak)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    status, peak = done.stdout.split()
    assert status == "2", done.stderr
    assert int(peak) * 1024 < 1 << 30
    assert done.stderr.count("\n") == 1, "one message"
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--max-auc", "0.4"),
        ("--max-auc", "1.1"),
        ("--max-auc", "nan"),
        ("--max-advantage", "-0.1"),
        ("--max-tpr", "0.01"),
        ("--max-tpr", "x@y"),
        ("--max-tpr", "0.01@0"),
        ("--level", "1"),
        ("--level", "nan"),
    ],
)
def test_bad_limits_are_refused(arguments: tuple[str, str], tmp_path: Path) -> None:
    result = run(saved(tmp_path, arrays(40)), "--out", tmp_path / "out", *arguments)
    assert code(result) == 2
    assert not (tmp_path / "out").exists()
