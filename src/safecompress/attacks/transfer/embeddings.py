"""Text as points: every token's embedding, with the row's integers carried along unchanged.

A model is asked about its own tokens as ever, and what its embedding layer returns is replaced by
the point. That is what `inputs_embeds` does, and right for models, too, that read padding or the
last token off the tokens, or take no such argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.errors import ModelError
from safecompress.models.adapt import call
from safecompress.protocols import Inputs, leading_size, map_inputs
from safecompress.train.predict import mode

TOKENS, MASK = "input_ids", "attention_mask"
"""What Hugging Face calls the tokens, and the 1s where they are not padding."""
AT_ONCE = 32
"""Rows a call: models of text are often asked in pieces of this size, and a piece cut further
could no longer be told from the one it was cut from."""

_EXACT = 1 << 24
"""Integers below it are exact in float32."""


@dataclass(frozen=True)
class Layout:
    """How a row of text lies in a point (length, width + number of integer inputs).

    Args:
        width: numbers in a token's embedding, the first ones of a position.
        names: the integer inputs that follow, by the model's names for them; empty for a model
            that takes tokens as its one argument.
        unused: the padding token, where the model names one and no mask says more.
    """

    width: int
    names: tuple[str, ...]
    unused: int | None

    def inputs(self, points: Tensor) -> Inputs:
        """Return the integer inputs of points, int64 (n, length) each."""
        beside = points[..., self.width :].detach().round().long().unbind(dim=-1)
        return dict(zip(self.names, beside, strict=True)) if self.names else beside[0]

    def moving(self, points: Tensor) -> Tensor:
        """Return which numbers of points may change: embeddings of tokens that are no padding."""
        inputs = self.inputs(points)
        ids = tokens_of(inputs)
        if isinstance(inputs, Mapping) and MASK in inputs:
            used = inputs[MASK] != 0
        else:
            used = torch.ones_like(ids, dtype=torch.bool)
            if self.unused is not None:
                used = ids != self.unused
        embedding = torch.arange(points.shape[-1], device=points.device) < self.width
        return used[..., None] & embedding

    def points(self, inputs: Inputs, embedded: Tensor) -> Tensor:
        """Return embeddings (n, length, width) with their integer inputs beside them, float32."""
        given = [inputs[name] for name in self.names] if isinstance(inputs, Mapping) else [inputs]
        beside = [t.to(embedded.device).float()[..., None] for t in given if isinstance(t, Tensor)]
        return torch.cat([embedded.float(), *beside], dim=-1)


class EmbeddingInputModel(nn.Module):
    """A model of text that takes points in place of tokens.

    Args:
        model: the model; shared, not copied.
        layer: its embedding layer, of which it asks about every token once.
        layout: how points hold rows.
    """

    def __init__(self, model: nn.Module, layer: nn.Embedding, layout: Layout) -> None:
        super().__init__()
        self.model, self._layer, self.layout = model, [layer], layout

    @property
    def layer(self) -> nn.Embedding:
        """The embedding layer whose answer is replaced."""
        return self._layer[0]

    def forward(self, points: Tensor) -> Tensor:
        """Return the logits of points (n, length, width + integer inputs).

        Raises:
            ModelError: when the model asks its layer about other tokens than the rows'.
        """
        return torch.cat([self._said(piece) for piece in torch.split(points, AT_ONCE)])

    def _said(self, points: Tensor) -> Tensor:
        inputs = self.layout.inputs(points)
        ids = tokens_of(inputs)
        embedded = points[..., : self.layout.width]
        # Padding stays what it is, whatever an attack does, and has no gradient.
        used = self.layout.moving(points)[..., : self.layout.width]
        embedded = torch.where(used, embedded, embedded.detach())
        asked = 0

        def replaced(layer: Any, args: Any, named: Any, output: Tensor) -> Tensor | None:
            nonlocal asked
            del layer
            about = args[0] if args else named["input"]
            if not _same(about, ids):
                return None
            asked += 1
            return embedded.to(output)

        hook = self.layer.register_forward_hook(replaced, with_kwargs=True)
        try:
            logits = call(self.model, inputs)
        finally:
            hook.remove()
        if not asked:
            raise ModelError(
                f"{type(self.model).__name__}: it no longer asks its embedding layer about the "
                f"tokens of {len(points)} rows at once; points cannot be put in their place."
            )
        return logits


def embedded_pair(
    full: nn.Module, small: nn.Module, inputs: Inputs
) -> tuple[EmbeddingInputModel, EmbeddingInputModel]:
    """Return both models of a pair as they take points.

    Args:
        full: the model attacked.
        small: the model the attacker holds; both take the same tokens.
        inputs: some rows: int64 (n, length), or such tensors by name, `input_ids` among them.

    Raises:
        ModelError: when a model's tokens go into no embedding layer that could be replaced, or the
            two layers have other sizes.
    """
    some = map_inputs(lambda t: t[:2], inputs)
    problems, found = [], []
    for name, model in (("full", full), ("small", small)):
        try:
            found.append(_layer_of(model, some))
        except ModelError as error:
            problems.append(f"the {name} model {error}")
    sizes = [(layer.num_embeddings, layer.embedding_dim) for layer in found]
    if not problems and len(set(sizes)) > 1:
        (words, width), (other_words, other_width) = sizes
        problems.append(
            f"the full model embeds {words} tokens in {width} numbers, the small one {other_words} "
            f"in {other_width}; one point cannot be given to both"
        )
    if not problems and sizes[0][0] > _EXACT:
        problems.append(f"{sizes[0][0]} tokens; at most {_EXACT} are told apart in float32")
    if problems:
        raise ModelError("; ".join(problems))
    names = tuple(inputs) if isinstance(inputs, Mapping) else ()
    layout = Layout(sizes[0][1], names, found[0].padding_idx)
    return EmbeddingInputModel(full, found[0], layout), EmbeddingInputModel(small, found[1], layout)


def points_of(model: EmbeddingInputModel, inputs: Inputs) -> Tensor:
    """Return rows as points embedded by a model's own table, float32, on the CPU."""
    layer = model.layer
    with torch.no_grad(), mode(layer, training=False):
        parts = [
            model.layout.points(
                map_inputs(lambda t, at=at: t[at], inputs),  # type: ignore[misc]
                layer(tokens_of(inputs)[at].to(layer.weight.device)).cpu(),
            )
            for at in torch.split(torch.arange(leading_size(inputs)), AT_ONCE)
        ]
    return torch.cat(parts)


def token_length(model: EmbeddingInputModel) -> float:
    """Return the mean Euclidean length of the embeddings in a model's table."""
    layer = model.layer
    with torch.no_grad(), mode(layer, training=False):
        every = torch.arange(layer.num_embeddings, device=layer.weight.device)
        lengths = [layer(ids).double().norm(dim=-1) for ids in torch.split(every, 4096)]
    return float(torch.cat(lengths).mean())


def are_tokens(inputs: Inputs) -> bool:
    """Return whether inputs are tokens: one tensor of integers, or several with `input_ids`."""
    if isinstance(inputs, tuple):
        return False
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    if isinstance(inputs, Mapping) and TOKENS not in inputs:
        return False
    return all(t.ndim == 2 and t.dtype in {torch.int64, torch.int32} for t in given)


def tokens_of(inputs: Inputs) -> Tensor:
    """Return the tokens among inputs that `are_tokens`."""
    if isinstance(inputs, Tensor):
        return inputs
    if isinstance(inputs, tuple):
        raise ModelError("takes several inputs without names; which of them are tokens is unknown")
    return inputs[TOKENS]


def _layer_of(model: nn.Module, inputs: Inputs) -> nn.Embedding:
    """Return the one layer that a model asks about the tokens.

    Raises:
        ModelError: when there is none, or more than one; begins with what the model does.
    """
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    inputs = map_inputs(lambda t: t.to(device), inputs)
    ids = tokens_of(inputs)
    asked: list[nn.Embedding] = []

    def heard(layer: Any, args: Any, named: Any) -> None:
        if _same(args[0] if args else named["input"], ids) and layer not in asked:
            asked.append(layer)

    layers = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    hooks = [layer.register_forward_pre_hook(heard, with_kwargs=True) for layer in layers]
    try:
        with mode(model, training=False), torch.no_grad():
            call(model, inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        told = " ".join(str(error).split())[:160]
        raise ModelError(f"fails on tokens that the other takes: {told}") from error
    finally:
        for hook in hooks:
            hook.remove()
    if len(asked) != 1:
        raise ModelError(
            f"puts its tokens into {len(asked) or 'no'} embedding layer{'s'[: len(asked) != 1]} "
            "(torch.nn.Embedding), of which one is needed to put a point in its place"
        )
    return asked[0]


def _same(about: Any, ids: Tensor) -> bool:
    return isinstance(about, Tensor) and about.shape == ids.shape and bool((about == ids).all())
