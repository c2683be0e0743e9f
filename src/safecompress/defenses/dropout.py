"""`Dropout`: dropout in any model, added by hooks without a change to the model's code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import nn
from torch.nn.functional import dropout

from safecompress.defenses.options import require_share
from safecompress.defenses.registry import DEFENSES
from safecompress.errors import ConfigError
from safecompress.protocols import Defense, TrainingContext


class Dropout(Defense):
    """Drop a share of the inputs of every linear layer after the first layer, while training.

    The model itself does not change: nothing is dropped in evaluation, and no layer is added.

    Args:
        rate: probability with which an entry becomes zero, in [0, 1).

    Raises:
        ConfigError: when the rate is out of range.

    Reference: Srivastava et al., JMLR 2014; against membership inference, Salem et al., NDSS 2019.
    """

    name: ClassVar[str] = "dropout"

    def __init__(self, *, rate: float = 0.5) -> None:
        require_share("rate", rate, one=False)
        self.rate = rate
        self._layers: list[nn.Linear] = []

    def prepare_(self, context: TrainingContext) -> None:
        """Find the linear layers after the first layer with weights.

        Args:
            context: its module is searched.

        Raises:
            ConfigError: where there is no such layer.
        """
        modules = [] if context.module is None else list(context.module.modules())
        weighted = [m for m in modules if any(p.ndim >= 2 for p in m.parameters(recurse=False))]
        self._layers = [m for m in weighted[1:] if isinstance(m, nn.Linear)]
        if not self._layers:
            raise ConfigError(
                "dropout: the model has no linear layer after its first layer with weights; there "
                "is nothing to drop."
            )

    @contextmanager
    def training(self) -> Iterator[None]:
        """Drop entries within the `with` block, wherever a layer is in training mode."""

        def drop_entries(layer: nn.Module, args: Any) -> Any:
            if not layer.training or not args:
                return None
            return (dropout(args[0], self.rate, training=True), *args[1:])

        layers = self._layers if self.rate else []
        hooks = [layer.register_forward_pre_hook(drop_entries) for layer in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


DEFENSES.add(
    "dropout",
    Dropout,
    summary="drops what linear layers after the first are given, in any model",
    reference="Srivastava et al., JMLR 2014; Salem et al., NDSS 2019",
    cost="inherits dense weights; nothing",
)
