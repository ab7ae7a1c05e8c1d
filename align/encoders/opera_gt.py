"""OPERA-GT: a masked autoencoder with a ViT-S of 4 x 4 patches and a decoder of windowed attention.

The layers are timm's. The published decoder is made of a patched Swin block that reads 1024 tokens of 256 numbers as a
map of 32 x 8 places with 1024 numbers, and its windows again as tokens of 256. What that comes to is stranger than a
Swin: see `DecoderBlock`. The weights were learnt so, and the loss is computed so; the embedding has no part in it.

AcuLa's encoder has the same tensors and loads as well.
"""

from __future__ import annotations

from pathlib import Path

import torch
from timm.layers.mlp import Mlp
from timm.layers.norm import LayerNorm
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.swin_transformer_v2_cr import WindowMultiHeadAttention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from align.encoders.base import Encoded
from align.encoders.checkpoints import Layout, Rename, load_published
from align.encoders.masking import cut_patches, draw_mask, keep_seen, masked_mse, put_back
from align.encoders.opera import OperaEncoder
from align.encoders.opera_features import BANDS
from align.encoders.spec import EncoderSpec

EMBEDDING_SIZE = 384
DECODER_SIZE = 256
DECODER_BLOCKS = 16
FRAMES = 256
PATCH = 4
ROWS, COLUMNS = FRAMES // PATCH, BANDS // PATCH
MASK_RATIO = 0.7


class OperaGT(OperaEncoder):
    """Embedding: mean of the patches' tokens, then the last norm. A moment is 4 frames long (128 ms)."""

    embedding_size = EMBEDDING_SIZE
    least_frames = PATCH
    most_frames = FRAMES

    def __init__(self, spec: EncoderSpec) -> None:
        """Make the networks with random weights.

        Raises:
            EncoderError: clips are longer than 256 frames.
        """
        super().__init__(spec)
        self.network = VisionTransformer(
            img_size=(FRAMES, BANDS),
            patch_size=PATCH,
            in_chans=1,
            num_classes=0,
            global_pool="",
            embed_dim=EMBEDDING_SIZE,
            depth=12,
            num_heads=6,
            class_token=False,
            pos_embed="none",
            dynamic_img_size=True,
        )
        self.class_token = nn.Parameter(torch.empty(1, 1, EMBEDDING_SIZE).normal_(std=0.02))
        self.positions = _fixed_positions(EMBEDDING_SIZE)
        self.decoder_embed = nn.Linear(EMBEDDING_SIZE, DECODER_SIZE)
        self.mask_token = nn.Parameter(torch.empty(1, 1, DECODER_SIZE).normal_(std=0.02))
        self.decoder_positions = _fixed_positions(DECODER_SIZE)
        self.decoder_blocks = nn.Sequential(*(DecoderBlock(shifted=index % 2 == 1) for index in range(DECODER_BLOCKS)))
        self.decoder_norm = LayerNorm(DECODER_SIZE)
        self.decoder_pred = nn.Linear(DECODER_SIZE, PATCH * PATCH)

    def forward(self, features: Tensor) -> Encoded:
        """Embed features (batch, frames, 64) of 4 to 256 frames; a rest of less than 4 is not heard.

        Raises:
            EncoderError: they are shorter or longer.
        """
        self.check_frames(features.shape[1], "features")
        tokens = self._attend(self._embed(features))
        rows = tokens.reshape(len(tokens), -1, COLUMNS, EMBEDDING_SIZE)
        return Encoded(self.network.norm(tokens.mean(dim=1)), self.network.norm(rows.mean(dim=2)))

    def self_supervised_loss(self, features: Tensor, seeds: Tensor) -> Tensor:
        """Squared error of the patches that are guessed from the other 30 %; short clips end in zeros, as OPERA's do.

        Raises:
            EncoderError: there are more than 256 frames.
        """
        self.check_frames(features.shape[1], "features")
        features = F.pad(features, (0, 0, 0, FRAMES - features.shape[1]))
        mask = draw_mask(seeds, ROWS * COLUMNS, MASK_RATIO, features.device)
        seen = self.network.norm(self._attend(keep_seen(self._embed(features), mask)))
        tokens = put_back(self.decoder_embed(seen), self.mask_token, mask) + self.decoder_positions[:, 1:]
        guess = self.decoder_pred(self.decoder_norm(self.decoder_blocks(tokens)))
        return masked_mse(guess, cut_patches(features, PATCH, PATCH), mask)

    def _embed(self, features: Tensor) -> Tensor:
        """(batch, patches, 384): patches row by row of time, low bands first, with their positions."""
        whole = features[:, : features.shape[1] // PATCH * PATCH].unsqueeze(1)
        tokens: Tensor = self.network.patch_embed(whole).flatten(1, 2)
        return tokens + self.positions[:, 1 : tokens.shape[1] + 1]

    def _attend(self, tokens: Tensor) -> Tensor:
        """Run the blocks with the class token in front, and take it off again."""
        first = self.class_token + self.positions[:, :1]
        attended: Tensor = self.network.blocks(torch.cat([first.expand(len(tokens), -1, -1), tokens], dim=1))
        return attended[:, 1:]


def _fixed_positions(size: int) -> nn.Parameter:
    """(1, 1 + patches, size), not learnt: sines and cosines of time and band, and zeros for the class token."""
    positions = build_sincos2d_pos_embed([ROWS, COLUMNS], size)
    return nn.Parameter(F.pad(positions, (0, 0, 1, 0)).unsqueeze(0), requires_grad=False)


class DecoderBlock(nn.Module):
    """A block of the published decoder.

    The 16 patches of a row of time, low to high, attend to each other as if they lay in a square of 4 x 4. The outputs
    do not return to where they came from: of every 8 rows, the even ones come before the odd ones, and then the outputs
    of every two rows are dealt out by fours in turn. Every second block is shifted: it takes its rows 4 later, and
    returns its outputs 1 row later within 16; and in the last two of every 16 rows, in that order, the lower and the
    upper half of the bands do not see each other.
    """

    def __init__(self, *, shifted: bool) -> None:
        """Make the layers with random weights."""
        super().__init__()
        self.shifted = shifted
        self.attn = WindowMultiHeadAttention(DECODER_SIZE, 16, (4, 4))
        for dropout in (self.attn.meta_mlp.drop1, self.attn.meta_mlp.drop2):
            dropout.p = 0.1
        self.norm1 = LayerNorm(DECODER_SIZE)
        self.mlp = Mlp(DECODER_SIZE, 4 * DECODER_SIZE)
        self.norm2 = LayerNorm(DECODER_SIZE)
        self.register_buffer("mask", _parting_mask() if shifted else None, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (batch, patches, 256) to the same."""
        rows = tokens.roll(-4 * COLUMNS, dims=1) if self.shifted else tokens
        # (batch and eights of rows, even or odd, rows, patches, numbers)
        rows = rows.reshape(-1, 4, 2, COLUMNS, DECODER_SIZE).transpose(1, 2)
        attended = self.attn(rows.reshape(-1, COLUMNS, DECODER_SIZE), mask=self.mask)
        # (batch and quarters of the rows, pairs of rows, fours, rows of a pair, patches of a four, numbers)
        dealt = attended.reshape(-1, 8, 2, 4, 4, DECODER_SIZE).transpose(2, 3).flatten(1, 4)
        if self.shifted:
            dealt = dealt.roll(COLUMNS, dims=1)
        tokens = tokens + self.norm1(dealt.reshape(tokens.shape))
        mapped: Tensor = tokens + self.norm2(self.mlp(tokens))
        return mapped


def _parting_mask() -> Tensor:
    """(16 rows, patches, patches), added to attention: the last two rows are parted in the middle."""
    upper = torch.arange(COLUMNS) >= COLUMNS // 2
    mask = torch.zeros(16, COLUMNS, COLUMNS)
    mask[14:] = (upper[:, None] != upper[None, :]) * -100.0
    return mask


def _logit_scale(tau: Tensor) -> Tensor:
    """timm multiplies by exp(scale) where the published block divides by tau, which it holds above 0.01."""
    return -tau.clamp(min=0.01).log()


LAYOUT = Layout(
    "OPERA-GT",
    anchor="patch_embed.proj.weight",
    renames=(
        Rename("cls_token", "class_token"),
        Rename(r"(decoder_)?pos_embed", r"\1positions"),
        Rename(r"(patch_embed\.proj\.\w+|norm\.\w+|blocks\.\d+\..+)", r"network.\1"),
        Rename(r"(decoder_blocks\.\d+\.attn)\.tau", r"\1.logit_scale", _logit_scale),
        Rename(r"(mask_token|decoder_\w+(?:\..+)?)", r"\1"),
    ),
)


def build(spec: EncoderSpec) -> OperaGT:
    """The encoder, with its published weights if `spec.checkpoint` names a file.

    Raises:
        EncoderError: clips are longer than 256 frames, or the checkpoint cannot be used.
    """
    encoder = OperaGT(spec)
    if spec.checkpoint:
        load_published(encoder, Path(spec.checkpoint), LAYOUT)
    return encoder
