"""`ResNet`: residual networks of basic blocks for small images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from safecompress.models.registry import MODELS
from safecompress.models.shapes import require_classes, require_image, require_positive, widened


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where shapes change.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        stride: 2 halves height and width.

    Reference: He et al., CVPR 2016, figure 2, shortcut option B.
    """

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )
        self.activation = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, channels_out, …), height and width divided by the stride and rounded up.

        Args:
            inputs: float (n, channels_in, height, width).
        """
        outputs: Tensor = self.activation(self.residual(inputs) + self.shortcut(inputs))
        return outputs


class ResNet(nn.Module):
    """A 3×3 stem, stages of basic blocks each at half the resolution, and a linear classifier.

    Args:
        family: name for messages.
        stages: (channels, blocks) of each stage; the stem has the first stage's channels.
        input_shape: (channels, height, width), sides of at least 4 pixels.
        classes: number of classes.
        width: multiplies every stage's channels.

    Raises:
        ModelError: on a bad shape, number of classes or option.

    Reference: He et al., CVPR 2016, section 4.2.
    """

    def __init__(
        self,
        *,
        family: str,
        stages: Sequence[tuple[int, int]],
        input_shape: Sequence[int],
        classes: int,
        width: float,
    ) -> None:
        super().__init__()
        require_classes(family, classes)
        require_positive(family, width=width)
        channels = require_image(family, input_shape, side=4)
        size = widened(stages[0][0], width)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, size, 3, padding=1, bias=False), nn.BatchNorm2d(size), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        for index, (base, count) in enumerate(stages):
            wide = widened(base, width)
            for block in range(count):
                stride = 2 if index > 0 and block == 0 else 1
                blocks.append(BasicBlock(size, wide, stride=stride))
                size = wide
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size, classes)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (n, classes).

        Args:
            inputs: images, float (n, channels, height, width).
        """
        logits: Tensor = self.classifier(self.blocks(self.stem(inputs)))
        return logits


def resnet8(*, input_shape: Sequence[int], classes: int, width: float = 1.0) -> ResNet:
    """Return one block per stage of 16, 32 and 64 channels: 0.08 M weights.

    Args:
        input_shape: (channels, height, width), sides of at least 4 pixels.
        classes: number of classes, at least 2.
        width: multiplies every stage's channels, > 0.

    Raises:
        ModelError: on a bad shape, number of classes or width.
    """
    return ResNet(
        family="resnet8",
        stages=((16, 1), (32, 1), (64, 1)),
        input_shape=input_shape,
        classes=classes,
        width=width,
    )


MODELS.add(
    "resnet8",
    resnet8,
    summary="three residual blocks of 16-32-64 channels",
    reference="He et al., CVPR 2016",
    cost="0.08 M weights",
)


def resnet20(*, input_shape: Sequence[int], classes: int, width: float = 1.0) -> ResNet:
    """Return three blocks per stage of 16, 32 and 64 channels: 0.27 M weights.

    Args:
        input_shape: (channels, height, width), sides of at least 4 pixels.
        classes: number of classes, at least 2.
        width: multiplies every stage's channels, > 0.

    Raises:
        ModelError: on a bad shape, number of classes or width.
    """
    return ResNet(
        family="resnet20",
        stages=((16, 3), (32, 3), (64, 3)),
        input_shape=input_shape,
        classes=classes,
        width=width,
    )


MODELS.add(
    "resnet20",
    resnet20,
    summary="nine residual blocks of 16-32-64 channels",
    reference="He et al., CVPR 2016",
    cost="0.27 M weights",
)


def resnet18(*, input_shape: Sequence[int], classes: int, width: float = 1.0) -> ResNet:
    """Return two blocks per stage of 64, 128, 256 and 512 channels: 11.2 M weights.

    Args:
        input_shape: (channels, height, width), sides of at least 4 pixels.
        classes: number of classes, at least 2.
        width: multiplies every stage's channels, > 0.

    Raises:
        ModelError: on a bad shape, number of classes or width.
    """
    return ResNet(
        family="resnet18",
        stages=((64, 2), (128, 2), (256, 2), (512, 2)),
        input_shape=input_shape,
        classes=classes,
        width=width,
    )


MODELS.add(
    "resnet18",
    resnet18,
    summary="eight residual blocks of 64-128-256-512 channels with a stem for small images",
    reference="He et al., CVPR 2016",
    cost="11.2 M weights",
)
