"""`mutated`: files of any format that are changed at random, by what their format says."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from tests.hostile_outputs import Bomb, npy
from tests.mutations import (
    NUMBERS,
    WORDS,
    bytes_mutated,
    dumped,
    json_mutated,
    jsonl_mutated,
    text_mutator,
    tree_mutated,
    yaml_mutated,
)


def mutated(data: bytes, draw: random.Random, form: str) -> bytes:
    """Return a file changed once to five times.

    Args:
        data: a sound file.
        draw: of all that is random.
        form: `json`, `jsonl`, `yaml`, `csv`, `npz`, `npy`, `safetensors`, `onnx`, or `bytes`.
    """
    kinds = [bytes_mutated, _FORMS.get(form, bytes_mutated), _FORMS.get(form, bytes_mutated)]
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        try:
            data = draw.choice(kinds)(data, draw)
        except Exception:
            # What an earlier change broke has no structure any more, whatever its parser says.
            data = bytes_mutated(data, draw)
    return data


def _npy(data: bytes, draw: random.Random) -> bytes:
    """Change the header's text, or what type and shape it states, or pickle a value."""
    what = draw.randrange(4)
    if what == 0:
        return npy([Bomb(BOMB_MARK[0])], pickled=True) if BOMB_MARK else bytes_mutated(data, draw)
    length = struct.unpack("<H", data[8:10])[0]
    header, body = data[10 : 10 + length].decode(), data[10 + length :]
    shape = header[header.index("(") : header.index(")") + 1]
    if what == 1:
        sizes = ", ".join(str(draw.choice(NUMBERS)) for _ in range(draw.randrange(1, 4)))
        header = header.replace(shape, draw.choice([f"({sizes},)", "()", "(" * 200, f"[{sizes}]"]))
    elif what == 2:
        kinds = ("<f8", ">f4", "<f2", "|O", "<U9", "|V4", "<i8", "|b1", "<M8[s]", "<c16", "|S0")
        start = header.index("'descr': ") + 9
        header = header[:start] + repr(draw.choice(kinds)) + header[header.index(",", start) :]
    else:
        header = bytes_mutated(header.encode(), draw).decode("latin1")
    made = header.encode("latin1", "replace")[:65_000]
    return data[:8] + struct.pack("<H", len(made)) + made + body


BOMB_MARK: list[Any] = []
"""The file that an unpickled bomb would write, where there may be bombs."""


def _npz(data: bytes, draw: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    at = draw.randrange(len(entries))
    name, content = entries[at]
    change = draw.choice([_npy, _npy, bytes_mutated, None])
    if change is None:
        entries[at] = (draw.choice([*WORDS[4:9], entries[0][0], name[:-4]]), content)
    else:
        entries[at] = (name, change(content, draw))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", draw.choice([0, zipfile.ZIP_DEFLATED])) as archive:
        for name, content in entries:
            archive.writestr(name or "a", content)
    return made.getvalue()


def _safetensors(data: bytes, draw: random.Random) -> bytes:
    length = struct.unpack("<Q", data[:8])[0]
    tree = json.loads(data[8 : 8 + length])
    for held in tree.get("__metadata__", {}).values():
        if held.startswith("{") and draw.random() < 0.7:
            name = next(k for k, v in tree["__metadata__"].items() if v is held)
            tree["__metadata__"][name] = dumped(tree_mutated(json.loads(held), draw), draw)
            break
    else:
        tree_mutated(tree, draw)
    header = dumped(tree, draw).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def _onnx(data: bytes, draw: random.Random) -> bytes:
    """Change a field of a random message of the graph."""
    import onnx

    model = onnx.ModelProto.FromString(data)
    todo, messages = [model], []
    while todo:
        at = todo.pop()
        messages.append(at)
        for field, value in at.ListFields():
            if field.message_type is not None:
                todo.extend(value if hasattr(value, "__len__") else [value])
    at = draw.choice(messages)
    fields = [f for f, _ in at.ListFields()] or list(at.DESCRIPTOR.fields)
    field, what = draw.choice(fields), draw.randrange(4)
    value = getattr(at, field.name)
    many = hasattr(value, "append")
    operators = ("Loop", "If", "Expand", "ConstantOfShape", "Range", "Tile", "Identity", "Scan")
    if what == 0:
        at.ClearField(field.name)
    elif many and what == 1:
        for item in list(value) * draw.choice([1, 20]):
            value.append(item)
    elif field.message_type is None:
        new: Any = draw.choice([n for n in NUMBERS if isinstance(n, int) and abs(n) < 2**63])
        if field.cpp_type == field.CPPTYPE_STRING:
            new = draw.choice([*WORDS[:5], *operators, "logits", "x"])
            new = new.encode() if field.type == field.TYPE_BYTES else new
        if field.cpp_type in {field.CPPTYPE_INT32, field.CPPTYPE_ENUM}:
            new = draw.randrange(-2, 40)
        if many:
            value[draw.randrange(len(value))] = new
        else:
            setattr(at, field.name, new)
    return bytes(model.SerializeToString())


_FORMS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "json": json_mutated,
    "jsonl": jsonl_mutated,
    "yaml": yaml_mutated,
    "csv": text_mutator((*WORDS, ",", '"', '""', "\r", ",,,,", '"\n"')),
    "npy": _npy,
    "npz": _npz,
    "safetensors": _safetensors,
    "onnx": _onnx,
}
