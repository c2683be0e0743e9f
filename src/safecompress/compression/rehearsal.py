"""`rehearse`: everything that a run does with a model, done once before any training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from safecompress.candidate import Candidate
from safecompress.compression.model_faults import Step, random_layer, telling_fault
from safecompress.compression.requirements import needs_teachers
from safecompress.config import CompressConfig, EngineConfig, TrainConfig, is_code, stages_of
from safecompress.errors import ModelError, NonFiniteError, StackError
from safecompress.models.place import Place, watching_place
from safecompress.models.plain import copied
from safecompress.protocols import Rows
from safecompress.topology import Topology
from safecompress.train import Trainer
from safecompress.train.engine import trains_alone
from safecompress.train.own_code import require_soft_targets
from safecompress.train.predict import answers
from safecompress.train.state import load_module_

_CLOSE = 1e-3
"""Largest difference that is rounding, as a share of the largest number compared."""
_SMALL_RATE = 1e-3
"""Largest learning rate of the one step: whether a rate suits a model only training can tell."""
_FEW = 64
"""Rows that the rehearsed models are asked."""


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal has found out.

    Args:
        stacks: whether several candidates may be trained as one stack.
        remarks: sentences about what will be done in another way than usual.
    """

    stacks: bool = True
    remarks: tuple[str, ...] = ()


def rehearse_stages(
    module: nn.Module, rows: Rows, config: CompressConfig, *, topology: Topology
) -> Rehearsal:
    """Rehearse each kind of training that a run consists of.

    Args:
        module: the run's module, left as it is.
        rows: the members.
        config: the run's configuration.
        topology: a mask of the configured density.

    Raises:
        ModelError: as `rehearse`.
    """
    own = [s for s in stages_of(config) if is_code(s.loss) or is_code(s.augment)]
    stages = [config.sparse.train, *([] if config.dense is None else [config.dense]), *own]
    kinds = {
        (
            *(s.batch_size, s.optimizer, s.decay, s.layer_decay, s.precision, s.memory_format),
            *(s.loss, s.augment if is_code(s.augment) else ""),
        ): s
        for s in stages
    }
    if needs_teachers(config):
        classes = answers(module, rows.take(torch.arange(1))).shape[-1]
        for path in {s.loss for s in stages if s.loss is not None}:
            require_soft_targets(path, classes)
    found = [
        rehearse(module, rows, s, topology=topology, seed=config.seed, engine=config.engine)
        for s in kinds.values()
    ]
    remarks = dict.fromkeys(remark for each in found for remark in each.remarks)
    return Rehearsal(all(each.stacks for each in found), tuple(remarks))


def rehearse(
    module: nn.Module,
    rows: Rows,
    train: TrainConfig,
    *,
    topology: Topology,
    seed: int,
    engine: EngineConfig,
) -> Rehearsal:
    """Copy, train, mask, store, load and ask a model as a run will; refuse what cannot work.

    One optimizer step is taken on one batch of the real size, with a copy. Several processes are
    not started for it, so a run on several devices is only tried by training it.

    Args:
        module: the run's module, left as it is.
        rows: the members.
        train: how candidates are trained.
        topology: a mask of the configured density.
        seed: the run's seed.
        engine: accelerator and devices.

    Raises:
        ModelError: naming what failed, the layer where it is known, and what to do.
    """
    if not trains_alone(engine):
        return Rehearsal()
    step = Step()
    few = rows.take(torch.arange(min(train.batch_size, len(rows))))
    brief = train.model_copy(
        update={"epochs": 1.0, "warmup": 0.0, "lr": min(train.lr, _SMALL_RATE)}
        | ({} if is_code(train.augment) else {"augment": "none"})
    )
    with telling_fault(step):
        live = copied(module)
        step.text = "being moved to the device and its memory format"
        trainer = Trainer(
            live,
            few,
            brief,
            seed=seed,
            engine=engine,
            stage="rehearsal",
        )
        with watching_place(live) as step.place:
            step.text = f"one training step on {len(few)} rows"
            start = trainer.start(topology)
            first = trainer.train(start, 1)
            _check_mask(first)
            _check_buffers(module, live)
        step.place = Place()
        step.text = "being stored and loaded"
        stored = load(save(_untied(first.weights)))
        few = few.take(torch.arange(min(_FEW, len(few))))
        _check_answers(trainer, first, few, module=module, stored=stored)
        return _stacked(trainer, start, first)


def _check_mask(candidate: Candidate) -> None:
    for name, mask in candidate.topology.masks.items():
        if bool(candidate.weights[name].masked_fill(mask, 0.0).any()):
            raise ModelError(
                f"the model's '{name}' does not keep its mask: a training step gave values to "
                "weights that do not exist. Something beside the optimizer writes to it; leave it "
                "out with sparse.exclude."
            )


def _check_buffers(before: nn.Module, after: nn.Module) -> None:
    """Check that training changes no buffer that is not stored with the model."""
    stored = {id(t) for t in after.state_dict(keep_vars=True).values()}
    changed = dict(after.named_buffers())
    for name, buffer in before.named_buffers():
        new = changed.get(name)
        # One of another shape is a cache, such as positions computed for longer rows.
        if new is None or id(new) in stored or new.shape != buffer.shape:
            continue
        if not torch.equal(new.cpu(), buffer.cpu()):
            raise ModelError(
                f"training changes the model's buffer '{name}', which is not stored with it, so "
                "that the model would answer differently once it is loaded. Register it with "
                "persistent=True."
            )


def _check_answers(
    trainer: Trainer,
    candidate: Candidate,
    rows: Rows,
    *,
    module: nn.Module,
    stored: Mapping[str, Tensor],
) -> None:
    """Check that a model answers the same when it is asked again, and after it was stored."""
    made = trainer.module_of(candidate)
    fresh = copied(module).to(next(made.parameters()).device)
    _check_repeated(fresh, rows)
    before = _check_repeated(made, rows)
    load_module_(fresh, stored)
    if not _close(before, answers(fresh, rows)):
        raise ModelError(
            "the model answers differently after it was stored and loaded: training changed "
            "something that is no parameter and no persistent buffer, such as an attribute. "
            "Register it with register_buffer."
        )


def _check_repeated(module: nn.Module, rows: Rows) -> Tensor:
    """Return a model's answers after checking that it gives them again.

    A mask may hide what is random, so the dense model is asked, too.
    """
    before, again = answers(module, rows), answers(module, rows)
    if _close(before, again):
        return before
    place = random_layer(module, rows)
    raise ModelError(
        f"the model's answers are random in evaluation mode{place}: asked twice, it gave numbers "
        f"that differ by {float((before - again).abs().max()):.2g}. Dropout as a function needs "
        "training=self.training, and other noise belongs into `if self.training`."
    )


def _stacked(trainer: Trainer, start: Candidate, alone: Candidate) -> Rehearsal:
    """Try two candidates as one stack, and compare them with one that was trained alone."""
    pair = [start, start]
    if not trainer.trains_together(pair):
        return Rehearsal()
    try:
        results = trainer.train_together(pair, 1)
    except StackError:
        # The run finds the same and says it where it matters.
        return Rehearsal()
    expected = _moves(alone, start)
    largest = max(
        (float(move.abs().max()) for move in expected.values() if move.numel()), default=0
    )
    for result in results:
        if isinstance(result, NonFiniteError) or not all(
            float((move - expected[name]).abs().max()) <= _CLOSE * largest
            for name, move in _moves(result, start).items()
            if move.numel()
        ):
            text = (
                "candidates are trained one by one, because the model computes something else for "
                "several at once"
            )
            return Rehearsal(stacks=False, remarks=(text,))
    return Rehearsal()


def _moves(candidate: Candidate, start: Candidate) -> dict[str, Tensor]:
    """Return by parameter which way its first step went: the gradient, where it is kept.

    AdamW's step itself has the size of the learning rate however small a gradient is, and so
    changes with its rounding.
    """
    moves = {}
    for name, state in candidate.optimizer.items():
        change = candidate.weights[name] - start.weights[name]
        moves[name] = state.get("exp_avg", state.get("momentum_buffer", change))
    return moves


def _close(one: Tensor, other: Tensor) -> bool:
    if not one.numel() or one.shape != other.shape:
        return one.shape == other.shape
    if not one.is_floating_point() and not one.is_complex():
        return torch.equal(one, other)
    return float((one - other).abs().max()) <= _CLOSE * max(1e-6, float(one.abs().max()))


def _untied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in weights.items()}
