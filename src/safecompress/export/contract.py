"""What every export format must keep to, built in or published by somebody else.

>>> from safecompress.export import FORMATS
>>> violations(FORMATS.build("safetensors", where="example"))
()
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from safecompress.errors import ConfigError
from safecompress.export.context import ExportContext
from safecompress.export.damage_contract import refuses_damaged
from safecompress.export.format import Format
from safecompress.export.written import paths_of, write_files
from safecompress.protocols import tensors_of
from safecompress.randomness import generator, seeded
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    broken,
    global_generators,
    has_a_name,
    holds_only_its_options,
    other_global_generators,
)
from safecompress.topology import Topology

_FACTS = {"format": "contract", "classes": ["a", "b", "c"]}
_CLOSE = 1e-4
"""Relative to a row's largest logit: what the order of fp32 additions may change."""
_ROWS_APART = 8
_ALIKE = 0.8
"""Cosine that the logits of a file that rounds have at least with the module's."""


def violations(form: Format, *, seed: int = 0) -> tuple[str, ...]:
    """Return what an export format breaks, in words; empty when it keeps to everything.

    It is a frozen dataclass that says what it is and how its files end. The same model gives the
    same bytes, whatever the global generators say, and stays as it is, like its topology and rows.
    A file holds the facts it was written with, whatever end its name has, and one that was cut,
    has a byte too many or a bit flipped is refused with a ModelError. It answers as the module
    does: the same where the format is `exact`, much alike otherwise, with the weights in the file
    whatever the context's module has by then; of each row by itself unless `limits` say on what
    else an answer depends; and it has a session where it `computes`.

    Args:
        form: the format, whose extras are installed. It writes a network of two linear layers,
            one of them masked, twice, and once more for every further end of its files' names.
        seed: of the network, its rows and the bits that are flipped.
    """
    tried = _Trial(seed)
    rules = (
        holds_only_its_options,
        has_a_name,
        _says_what_it_is,
        tried.answers_as_the_module,
        tried.answers_of_each_row_by_itself,
        tried.answers_with_the_weights_in_the_file,
        tried.gives_the_same_bytes,
        tried.holds_its_facts,
        tried.writes_files_of_every_name,
        tried.refuses_damage,
        tried.has_a_session_where_it_computes,
    )
    return broken(form, rules, seed=seed)


def _says_what_it_is(form: Format, seed: int) -> Iterator[str]:
    del seed
    if not _is_line(form.summary):
        yield f"its summary is {form.summary!r}; expected a few words in one line"
    if not form.suffixes or not all(s.startswith(".") for s in form.suffixes):
        yield f"its suffixes are {form.suffixes!r}; expected at least one, each with a dot"
    if not isinstance(form.requires, frozenset) or not all(map(_is_line, form.requires)):
        yield f"it requires {form.requires!r}; expected a frozenset of the names of extras"
    if not isinstance(form.limits, tuple) or not all(map(_is_line, form.limits)):
        yield f"its limits are {form.limits!r}; expected a tuple of sentences"
    if form.usage != str(form.usage):
        yield f"its usage is {form.usage!r}; expected lines of Python, or an empty text"
    if form.loader is not None and not Path(form.loader).is_file():
        yield f"its loader is {form.loader}, which is no file; name a script, or None"


def _is_line(text: object) -> bool:
    return isinstance(text, str) and bool(text.strip()) and "\n" not in text


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

    def _held(self) -> dict[str, Tensor]:
        """Return copies of all that a format is handed and must leave alone."""
        state = self._context.module.state_dict()
        return (
            {f"{name} of the module": tensor.clone() for name, tensor in state.items()}
            | {f"the mask of {n}": m.clone() for n, m in self._context.topology.masks.items()}
            | {"the members": self._rows().clone()}
        )

    @contextmanager
    def _file(
        self, form: Format, content: bytes | None = None, *, suffix: str = ""
    ) -> Iterator[Path]:
        """Give a file of some contents; by default what the format makes of the network."""
        if content is None:
            if self._content is None:
                self._content = form.write(self._context, _FACTS)
            content = self._content
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model{suffix or form.suffixes[0]}"
            write_files(form, path, content)
            yield path

    def answers_as_the_module(self, form: Format, seed: int) -> Iterator[str]:
        del seed
        expected, before = self._expected, self._held()
        with self._file(form) as path, torch.no_grad():
            said = torch.as_tensor(form.open(path, self._context)(self._rows())).float()
        now = self._held()
        if now.keys() != before.keys():
            yield "writing or opening a file adds tensors to the module, or takes some away"
        for name in sorted(now.keys() & before.keys()):
            if not torch.equal(now[name], before[name]):
                yield f"writing or opening a file changes {name}"
        if said.shape != expected.shape:
            yield f"a file answers with {tuple(said.shape)}; expected {tuple(expected.shape)}"
            return
        error = _apart(said, expected)
        alike = float(torch.cosine_similarity(said, expected).min())
        if form.exact and not error <= _CLOSE:
            yield (
                f"a file answers otherwise than its module, by {error:.2g} of a row's largest "
                "logit; say exact = False if it rounds"
            )
        elif not alike >= _ALIKE:
            yield f"a file answers otherwise than its module: their cosine is down to {alike:.2g}"

    def answers_of_each_row_by_itself(self, form: Format, seed: int) -> Iterator[str]:
        del seed
        rows = self._rows()[:_ROWS_APART]
        with self._file(form) as path, torch.no_grad():
            ask = form.open(path, self._context)
            together = torch.as_tensor(ask(rows)).float()
            alone = torch.cat([torch.as_tensor(ask(row[None])).float() for row in rows])
            again = torch.as_tensor(ask(rows)).float()
        if not torch.equal(together, again):
            yield "the same rows, asked again, have other answers"
        elif not form.limits and not _apart(alone, together) <= _CLOSE:
            yield "a row's answer depends on the rows beside it; say so in limits"

    def answers_with_the_weights_in_the_file(self, form: Format, seed: int) -> Iterator[str]:
        del seed
        other = copy.deepcopy(self._context.module)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.neg_()
        with self._file(form) as path, torch.no_grad():
            said, again = (
                torch.as_tensor(form.open(path, context)(self._rows())).float()
                for context in (self._context, replace(self._context, module=other))
            )
        if not torch.equal(said, again):
            yield (
                "a file answers with weights of the context's module; take them from the file, "
                "because a reader has nothing else"
            )

    def gives_the_same_bytes(self, form: Format, seed: int) -> Iterator[str]:
        del seed
        with self._file(form), other_global_generators():
            # A state that no earlier call can have left, so that one which sets it is seen.
            before = global_generators()
            again = form.write(self._made(), _FACTS)
            if global_generators() != before:
                yield GLOBAL_DRAW
        if self._content != again:
            yield (
                "the same model gives other bytes the second time; leave times and random names "
                "out of the file"
            )

    def holds_its_facts(self, form: Format, seed: int) -> Iterator[str]:
        del seed
        with self._file(form) as path:
            facts = form.verify(path)
        if lost := _lost(facts):
            yield f"a file does not hold the facts it was written with: {lost}"

    def writes_files_of_every_name(self, form: Format, seed: int) -> Iterator[str]:
        del seed
        for suffix in form.suffixes:
            wanted: Any = form.for_file(Path(f"model{suffix}"))
            if not isinstance(wanted, Format):
                yield f"for_file of a name that ends in {suffix} is no format: {wanted!r}"
            elif wanted != form:
                content = wanted.write(self._context, _FACTS)
                with self._file(wanted, content, suffix=suffix) as path:
                    if lost := _lost(wanted.verify(path)):
                        yield f"a file that ends in {suffix} does not hold the facts: {lost}"

    def refuses_damage(self, form: Format, seed: int) -> Iterator[str]:
        with self._file(form) as path:
            for place in paths_of(form, path):
                content = place.read_bytes()
                yield from refuses_damaged(form, path, content, at=place, seed=seed)
                place.write_bytes(content)

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


def _apart(said: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to a row's largest logit."""
    return float(((said - expected).abs().amax(1) / expected.abs().amax(1)).max())


def _lost(facts: Mapping[str, Any]) -> str:
    return ", ".join(name for name, fact in _FACTS.items() if facts.get(name) != fact)
