"""What every export format must keep to, built in or published by somebody else.

>>> from safecompress.export import FORMATS
>>> violations(FORMATS.build("safetensors", where="example"))
()
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from safecompress.errors import ConfigError, ModelError
from safecompress.export.context import ExportContext
from safecompress.export.format import Format
from safecompress.protocols import tensors_of
from safecompress.randomness import generator, seeded
from safecompress.registry.contract import broken, has_a_name, holds_only_its_options
from safecompress.topology import Topology

_FACTS = {"format": "contract", "classes": ["a", "b", "c"]}
_CLOSE = 1e-4
"""Relative to a row's largest logit: what the order of fp32 additions may change."""
_ALIKE = 0.8
"""Cosine that the logits of a file that rounds have at least with the module's."""


def violations(form: Format, *, seed: int = 0) -> tuple[str, ...]:
    """Return what an export format breaks, in words; empty when it keeps to everything.

    It is a frozen dataclass that says what it is and how its files end. The same model gives the
    same bytes and stays as it is. A file holds the facts it was written with, and one without
    contents or without its end is refused with a ModelError. It answers as the module does: the
    same where the format is `exact`, much alike otherwise; and has a session where it `computes`.

    Args:
        form: the format, whose extras are installed. It writes a network of two linear layers,
            one of them masked, twice.
        seed: of the network and its rows.
    """
    tried = _Trial(seed)
    rules = (
        holds_only_its_options,
        has_a_name,
        _says_what_it_is,
        tried.answers_as_the_module,
        tried.gives_the_same_bytes,
        tried.holds_its_facts,
        tried.refuses_damage,
        tried.has_a_session_where_it_computes,
    )
    return broken(form, rules, seed=seed)


def _says_what_it_is(form: Format, seed: int) -> Iterator[str]:
    del seed
    if not form.summary.strip() or "\n" in form.summary:
        yield f"its summary is {form.summary!r}; expected a few words in one line"
    if not form.suffixes or not all(s.startswith(".") for s in form.suffixes):
        yield f"its suffixes are {form.suffixes!r}; expected at least one, each with a dot"


class _Trial:
    """A small network, the file that a format makes of it, and the rules that look at both."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._context = self._made()
        self._expected = self._said()
        self._content: bytes | None = None

    def _made(self) -> ExportContext:
        with seeded(self._seed, "contract", "export"):
            module = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 3))
        topology = Topology.dense(module)
        topology.masks["0.weight"][torch.arange(48) % 3 > 0, ::2] = False
        rows = torch.randn(64, 24, generator=generator(self._seed, "contract", "rows"))
        return ExportContext.of(module, topology, rows)

    def _rows(self) -> Tensor:
        return tensors_of(self._context.members)[0]

    def _said(self) -> Tensor:
        with torch.no_grad():
            said: Tensor = self._context.module(self._rows())
        return said

    @contextmanager
    def _file(self, form: Format, content: bytes | None = None) -> Iterator[Path]:
        """Give a file of some contents; by default what the format makes of the network."""
        if content is None:
            if self._content is None:
                self._content = form.write(self._context, _FACTS)
            content = self._content
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model{form.suffixes[0]}"
            path.write_bytes(content)
            yield path

    def answers_as_the_module(self, form: Format, seed: int) -> Iterator[str]:
        del seed
        expected = self._expected
        with self._file(form) as path, torch.no_grad():
            said = torch.as_tensor(form.open(path, self._context)(self._rows())).float()
        if said.shape != expected.shape:
            yield f"a file answers with {tuple(said.shape)}; expected {tuple(expected.shape)}"
            return
        error = float(((said - expected).abs().amax(1) / expected.abs().amax(1)).max())
        alike = float(torch.cosine_similarity(said, expected).min())
        if form.exact and not error <= _CLOSE:
            yield (
                f"a file answers otherwise than its module, by {error:.2g} of a row's largest "
                "logit; say exact = False if it rounds"
            )
        elif not alike >= _ALIKE:
            yield f"a file answers otherwise than its module: their cosine is down to {alike:.2g}"
        if not torch.equal(self._said(), expected):
            yield "writing or opening a file changes the module"

    def gives_the_same_bytes(self, form: Format, seed: int) -> Iterator[str]:
        del seed
        with self._file(form):
            again = form.write(self._made(), _FACTS)
        if self._content != again:
            yield (
                "the same model gives other bytes the second time; leave times and random names "
                "out of the file"
            )

    def holds_its_facts(self, form: Format, seed: int) -> Iterator[str]:
        del seed
        with self._file(form) as path:
            facts = form.verify(path)
        lost = [name for name, fact in _FACTS.items() if facts.get(name) != fact]
        if lost:
            yield f"a file does not hold the facts it was written with: {', '.join(lost)}"

    def refuses_damage(self, form: Format, seed: int) -> Iterator[str]:
        del seed
        with self._file(form) as path:
            content = path.read_bytes()
        for what, left in {"nothing": b"", "half of it": content[: len(content) // 2]}.items():
            with self._file(form, left) as path:
                try:
                    form.verify(path)
                except ModelError:
                    continue
                except Exception as error:
                    yield (
                        f"verify of a file of which {what} is left raised {type(error).__name__}; "
                        "expected a ModelError that says what is wrong"
                    )
                else:
                    yield f"verify takes a file of which {what} is left"

    def has_a_session_where_it_computes(self, form: Format, seed: int) -> Iterator[str]:
        del seed
        with self._file(form) as path:
            try:
                session = form.session(path, threads=1)
            except ConfigError:
                if form.computes:
                    yield "it computes, by its own word, and refuses a session"
                return
            if not form.computes:
                yield "it has a session; say computes = True"
                return
            said = np.asarray(session.ask({"inputs": self._rows().numpy()}))
        if said.size != self._expected.numel():
            yield f"its session answers with {said.size} numbers; expected {self._expected.numel()}"
        if not session.runtime.strip():
            yield "its session does not name its runtime"
