"""`print_anything`: standard output and error that take every text and never end a command.

What a command prints is a copy of what it writes into files. So a character that a console cannot
show, a reader that has closed the pipe (`| head`) or a full disk behind `>` must not cost an hour's
work, nor turn an exit code into that of another verdict.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_PLAIN = str.maketrans(
    {
        **{"≤": "<=", "≥": ">=", "−": "-", "–": "-", "—": "-", "±": "+/-", "×": "x", "→": "->"},
        **{"…": "...", "·": "*", "•": "*", "†": "+", "½": "1/2", "²": "^2", "∞": "inf"},
        **{"‘": "'", "’": "'", "“": '"', "”": '"', "ε": "epsilon", "δ": "delta", "ρ": "rho"},
        **{"ő": "o", "é": "e", "ö": "o", "ü": "u", "ä": "a", "á": "a", "à": "a"},
        **dict.fromkeys("─━╸╺╴╶", "-"),
    }
)
"""Plain words for the characters of messages that ASCII lacks."""
_PLAINLY = "safecompress.plainly"


def print_anything() -> None:
    """Let standard output and error take every text, whatever their encoding and wherever they go.

    A character that the encoding lacks is printed as ASCII: `<=` for `≤`, `?` where there is
    nothing like it. What cannot be written is left out, and standard error says so once.
    """
    codecs.register_error(_PLAINLY, _plainly)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # The descriptor is closed. This one takes its number, so that no file of ours gets it.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_PLAINLY)
            # Python that is told not to buffer has the descriptor where others have a buffer.
            if isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
                setattr(sys, name, _lasting(stream, said=name == "stderr"))


def _lasting(stream: io.TextIOWrapper, *, said: bool) -> io.TextIOWrapper:
    """Return a stream to the same place that outlives what happens to it."""
    stream.flush()
    file = _LastingFile(stream.fileno(), said=said)
    unbuffered = isinstance(stream.buffer, io.FileIO)
    return io.TextIOWrapper(
        file if unbuffered else io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=_PLAINLY,
        line_buffering=stream.line_buffering or said,
        write_through=stream.write_through,
    )


class _LastingFile(io.FileIO):
    """A descriptor that swallows what it cannot write.

    Args:
        descriptor: its number, which stays open.
        said: whether nothing is to be said of a failure.
    """

    def __init__(self, descriptor: int, *, said: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._said = said

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes, or act as if.

        Args:
            data: the bytes.
        """
        try:
            while (written := super().write(data)) is None:
                # A pipe that does not block is full; its reader is waited for, as in others.
                select.select([], [self], [])
        except OSError as error:
            self._say(error)
            return memoryview(data).nbytes
        return written

    def _say(self, error: OSError) -> None:
        if self._said or error.errno == errno.EPIPE:
            return
        self._said = True
        with suppress(OSError, ValueError):
            sys.stderr.write(
                f"safecompress: standard output cannot be written ({error.strerror}); files are "
                "written all the same.\n"
            )


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what stands for the characters that an output cannot encode, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return _plain_text(error.object[error.start : error.end]), error.end


def _plain_text(text: str) -> str:
    translated = text.translate(_PLAIN)
    return translated.encode("ascii", errors="replace").decode("ascii")
