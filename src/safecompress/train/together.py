"""`worth_stacking` and `train_stack`: several candidates of a stage trained as one stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from safecompress.candidate import Candidate
from safecompress.errors import (
    FOREIGN,
    NonFiniteError,
    SafeCompressError,
    StackError,
    telling_memory_shortage,
)
from safecompress.train.memory import kept_memory
from safecompress.train.stack import LARGEST_STEP, Stack, obstacle
from safecompress.train.stage import Stage
from safecompress.train.state import load_module_


def worth_stacking(
    stage: Stage, candidates: Sequence[Candidate], parameters: Mapping[str, nn.Parameter]
) -> bool:
    """Return whether these candidates can be trained as one stack, and whether it saves time.

    The size of a step decides, and no timing does, so that a repeated run does the same arithmetic.

    Args:
        stage: the stage they are trained in.
        candidates: at least one.
        parameters: the module's trained parameters, by name.
    """
    return small_steps(stage, parameters) and not obstacle(stage.module, candidates)


def small_steps(stage: Stage, parameters: Mapping[str, nn.Parameter]) -> bool:
    """Return whether a stack saves time in this stage, if there are candidates that fit into one.

    Args:
        stage: the stage they are trained in.
        parameters: the module's trained parameters, by name.
    """
    weights = sum(p.numel() for p in parameters.values())
    largest = LARGEST_STEP[stage.device.type == "cpu"]
    return not stage.objective.defended and stage.batches.size * weights <= largest


def train_stack(
    stage: Stage,
    candidates: Sequence[Candidate],
    parameters: Mapping[str, nn.Parameter],
    *,
    losses: Tensor,
) -> list[Candidate | NonFiniteError]:
    """Return the candidates after further steps, trained as one stack.

    Args:
        stage: the stage they are trained in; afterwards its module holds the last candidate.
        candidates: candidates at the same step that are `worth_stacking`.
        parameters: the module's trained parameters, by name.
        losses: float32 (steps, candidates), filled with the loss of every step, of which there is
            at least one.

    Returns:
        Per candidate, in order, what it became; an error where a loss or a weight of it became NaN
        or infinite.

    Raises:
        StackError: when the module's code cannot run for several candidates at once.
        MemoryShortageError: when memory is used up.
    """
    stack = Stack(
        stage.module,
        candidates,
        stage.config,
        parameters,
        lambda batch, candidate: stage.objective.targets(batch, candidate.soft_target),
        stage.objective.base,
    )
    first = candidates[0].step
    steps = len(losses)
    with kept_memory(), stage.training():
        for index in range(steps):
            step = first + index
            with _telling_why():
                losses[index] = stack.step_(stage.batch(step), lr=stage.learning_rate(step))
    results: list[Candidate | NonFiniteError] = []
    for candidate, own_losses in zip(stack.collected(steps), losses.T, strict=True):
        try:
            load_module_(stage.module, candidate.weights)
            stage.require_finite(own_losses, first)
            results.append(candidate)
        except NonFiniteError as error:
            results.append(error)
    return results


@contextmanager
def _telling_why() -> Iterator[None]:
    """Run a stacked step; whatever the module's own code raises becomes a StackError.

    Which code `vmap` can run is known only by trying: it refuses random numbers, branches on values
    and writing into new tensors, and no list of layers tells where a module does such things.
    """
    try:
        with telling_memory_shortage():
            yield
    except SafeCompressError:
        raise
    except FOREIGN as error:
        reason = " ".join(str(error).split())[:160]
        raise StackError(f"{type(error).__name__}: {reason}") from error
