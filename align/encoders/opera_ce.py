"""OPERA-CE: EfficientNet-B0 behind a convolution from one channel to three, trained by COLA.

The published weights are of the package efficientnet-pytorch, made for images of 224 x 224: its strided convolutions
pad the far side only, whatever the size of the input. timm's pad both sides, or as TensorFlow does for the input's own
size, and give other numbers; so they are given the padding of the published network here.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from timm.models.efficientnet import efficientnet_b0
from torch import Tensor, nn

from align.encoders.base import Encoded
from align.encoders.checkpoints import Layout, Rename, load_published
from align.encoders.opera import COLA_RENAMES, ContrastiveOperaEncoder
from align.encoders.spec import EncoderSpec

EMBEDDING_SIZE = 1280
STRIDED = ("conv_stem", "blocks.1.0.conv_dw", "blocks.2.0.conv_dw", "blocks.3.0.conv_dw", "blocks.5.0.conv_dw")
STAGES = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage of EfficientNet-B0; the published names count blocks without stages."""


class OperaCE(ContrastiveOperaEncoder):
    """Embedding: mean over time and frequency of the last feature map. A moment is 32 frames long (1.02 s)."""

    least_frames = 34
    """Halving five times leaves nothing of less."""

    def __init__(self, spec: EncoderSpec) -> None:
        """Make the network with random weights.

        Raises:
            EncoderError: clips are too short.
        """
        super().__init__(spec, EMBEDDING_SIZE)
        self.colours = nn.Conv2d(1, 3, kernel_size=3)
        self.network = efficientnet_b0(num_classes=0, global_pool="", drop_path_rate=0.1, bn_eps=1e-3, bn_momentum=0.01)
        for name in STRIDED:
            self.network.set_submodule(name, _padded_on_far_side(cast(nn.Conv2d, self.network.get_submodule(name))))

    def forward(self, features: Tensor) -> Encoded:
        """Embed features (batch, frames, 64) of any length from 34 frames.

        Raises:
            EncoderError: they are shorter.
        """
        self.check_frames(features.shape[1], "features")
        maps: Tensor = self.network.forward_features(self.colours(features.unsqueeze(1)))
        return Encoded(maps.mean(dim=(2, 3)), maps.mean(dim=3).transpose(1, 2))


def _padded_on_far_side(convolution: nn.Conv2d) -> nn.Sequential:
    excess = convolution.kernel_size[0] - 2
    before, after = excess // 2, excess - excess // 2
    convolution.padding = (0, 0)
    return nn.Sequential(nn.ZeroPad2d((before, after, before, after)), convolution)


def _renames() -> tuple[Rename, ...]:
    names = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    blocks = [f"blocks.{stage}.{index}" for stage, count in enumerate(STAGES) for index in range(count)]
    for number, block in enumerate(blocks):
        layers = ["_depthwise_conv conv_dw", "_bn1 bn1", "_project_conv conv_pw", "_bn2 bn2"]
        if number > 0:
            layers = ["_expand_conv conv_pw", "_bn0 bn1", "_depthwise_conv conv_dw", "_bn1 bn2"]
            layers += ["_project_conv conv_pwl", "_bn2 bn3"]
        layers += ["_se_reduce se.conv_reduce", "_se_expand se.conv_expand"]
        for published, own in (layer.split() for layer in layers):
            names[f"_blocks.{number}.{published}"] = f"{block}.{own}"
    return tuple(
        Rename(
            rf"encoder\.efficientnet\.{published.replace('.', '[.]')}\.(\w+)",
            rf"network.{own}{'.1' if own in STRIDED else ''}.\1",
        )
        for published, own in names.items()
    )


LAYOUT = Layout(
    "OPERA-CE",
    anchor="encoder.cnn1.weight",
    renames=(Rename(r"encoder\.cnn1\.(\w+)", r"colours.\1"), *_renames(), *COLA_RENAMES),
)


def build(spec: EncoderSpec) -> OperaCE:
    """The encoder, with its published weights if `spec.checkpoint` names a file.

    Raises:
        EncoderError: clips are too short, or the checkpoint cannot be used.
    """
    encoder = OperaCE(spec)
    if spec.checkpoint:
        load_published(encoder, Path(spec.checkpoint), LAYOUT)
    return encoder
