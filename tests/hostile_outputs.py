"""`HOSTILE`: makers of files that an audit must refuse, because they are broken or mean harm."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.recorded_outputs import Arrays, arrays, saved, with_references


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
    """A consistent file of 2 GiB of zeros in 9 MB."""
    path = folder / "bomb.npz"
    path.write_bytes(_zeros_bomb())
    return path


@cache
def _zeros_bomb() -> bytes:
    """Return the file, which takes seconds to make."""
    entries = {key: npy(value) for key, value in arrays(40).items()}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in entries.items():
            if name != "member_logits":
                archive.writestr(f"{name}.npy", data)
        with archive.open("member_logits.npy", "w", force_zip64=True) as handle:
            handle.write(member("(53687091, 10)"))
            block = bytes(1 << 24)
            for _ in range(128):
                handle.write(block)
    return made.getvalue()


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
    "labels one-hot, a class left out": changed(
        nonmember_labels=np.eye(9, dtype=int)[np.zeros(40, dtype=int)]
    ),
    "labels as fractions": changed(nonmember_labels=np.full(40, 0.5)),
    "labels as text": changed(nonmember_labels=np.full(40, "cat")),
    "labels as dates": changed(nonmember_labels=np.zeros(40, dtype="datetime64[s]")),
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
    "references of another recipe": references(
        recipe=np.array("hamp"), reference_recipe=np.array("plain")
    ),
    "a recipe of the references alone": references(reference_recipe=np.array("plain")),
    "recipes that are no texts": references(recipe=np.array(1), reference_recipe=np.array(1)),
    "references of other counts": references(
        nonmember_reference_logits=REFERENCES["nonmember_reference_logits"][:3],
        nonmember_reference_seen=REFERENCES["nonmember_reference_seen"][:3],
    ),
}
