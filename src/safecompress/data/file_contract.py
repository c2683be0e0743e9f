"""What a source that reads files must do with files that are missing, damaged, or mean harm."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from safecompress.data.source import DataSource
from safecompress.errors import UsageError
from safecompress.randomness import derive


def reads_files_with_care(source: DataSource, seed: int) -> Iterator[str]:
    """Yield what a source does wrong with bad files in the place of those that its options name.

    An option names a file where its value is the path of one. Where that file is missing or empty,
    the source must say so with a `UsageError` that names it. Of noise and of a file that was cut
    it may make rows, if it can, or refuse it like this. What is pickled it must not run.

    Args:
        source: the source.
        seed: of the noise, and handed to `load`.
    """
    for option, path in _files(source).items():
        with tempfile.TemporaryDirectory() as folder:
            bad = Path(folder) / f"bad{path.suffix}"
            for what, content in _damaged(path.read_bytes(), seed).items():
                bad.unlink(missing_ok=True)
                if content is not None:
                    bad.write_bytes(content)
                may_work = what not in _UNUSABLE
                yield from _loaded(source, option, bad, seed=seed, what=what, may_work=may_work)
            trace = Path(folder) / "was-run"
            for what, content in _pickles(path, trace).items():
                bad.write_bytes(content)
                yield from _loaded(source, option, bad, seed=seed, what=what, may_work=True)
                if trace.exists():
                    yield f"{option}: it runs code that is pickled in {what}; never unpickle a file"
                    trace.rmdir()


_UNUSABLE = frozenset({"a missing file", "an empty file"})


def _options(source: Any) -> dict[str, Any]:
    """Return the options of a source, which is a dataclass or a section of a configuration."""
    if dataclasses.is_dataclass(source):
        return {f.name: getattr(source, f.name) for f in dataclasses.fields(source) if f.init}
    return {name: getattr(source, name) for name in getattr(type(source), "model_fields", {})}


def _files(source: DataSource) -> dict[str, Path]:
    """Return the files that options name."""
    texts = {n: v for n, v in _options(source).items() if isinstance(v, str | Path) and str(v)}
    return {name: Path(value) for name, value in texts.items() if _is_file(value)}


def _is_file(value: str | Path) -> bool:
    try:
        return Path(value).is_file()
    except OSError:  # a text that is too long for the name of a file
        return False


def _damaged(content: bytes, seed: int) -> Mapping[str, bytes | None]:
    drawn = np.random.default_rng(derive(seed, "contract", "noise"))
    return {
        "a missing file": None,
        "an empty file": b"",
        "a file of noise": drawn.bytes(max(len(content), 64)),
        "a file that is cut short": content[: len(content) // 2],
    }


class _Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._trace),)


def _pickles(path: Path, trace: Path) -> Mapping[str, bytes]:
    """Return pickles as files have them: bare, as an array, and as every member of an archive."""
    array = io.BytesIO()
    np.save(array, np.array([_Harm(trace)], dtype=object), allow_pickle=True)
    found = {"a pickle": pickle.dumps(_Harm(trace)), "an .npy file": array.getvalue()}
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        for what, content in tuple(found.items()):
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                for name in names:
                    archive.writestr(name, content)
            found[f"an archive of {what.removeprefix('a ').removeprefix('an ')}s"] = (
                packed.getvalue()
            )
    return found


def _loaded(
    source: DataSource, option: str, bad: Path, *, seed: int, what: str, may_work: bool
) -> Iterator[str]:
    """Yield what is wrong with how a source answers when an option names a bad file."""
    try:
        _with(source, option, bad).load(seed=seed)
    except UsageError as error:
        if bad.name not in str(error):
            yield f"{option}: of {what} it says '{error}', which does not name the file"
    except Exception as error:
        yield (
            f"{option}: of {what} it raised {type(error).__name__}; expected a UsageError, such as "
            "DataError, that names the file"
        )
    else:
        if not may_work:
            yield f"{option}: it makes rows of {what}; raise a DataError that names it"


def _with(source: Any, option: str, path: Path) -> Any:
    """Return a source whose option names another file, in the type that it had."""
    kind = type(_options(source)[option])
    value = str(path) if issubclass(kind, str) else path
    options = _options(source)
    if not dataclasses.is_dataclass(source):
        # A section checks what it is given, and not its defaults.
        options = {name: options[name] for name in source.model_fields_set}
    make: Any = type(source)
    return make(**options | {option: value})
