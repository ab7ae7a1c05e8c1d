"""OPERA's encoders against outputs of the original classes.

`opera_golden.npz` was made with OPERA's own models_cola, models_mae and htsat, with efficientnet-pytorch 0.7.1 and with
the Swin block that OPERA copies into timm, on the weights, features and embeddings of `published`, in evaluation mode,
on a CPU in float32. The masked loss was made with the masks of `align.encoders.masking` for SEEDS.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from align.encoders import EncoderSpec, build_encoder
from align.encoders.base import Encoder
from align.encoders.opera import ContrastiveOperaEncoder
from tests.align.encoders import published

GOLDEN = np.load(Path(__file__).parent / "opera_golden.npz")
FAMILIES = {"operaCE": "opera-ce", "operaCT": "opera-ct", "operaGT": "opera-gt"}
SEEDS = torch.tensor([5, 2**40 + 5])


@pytest.fixture(scope="module")
def encoders(checkpoints: dict[str, Path]) -> dict[str, Encoder]:
    """The three encoders with the weights of `published`, for evaluation."""
    return {
        name: build_encoder(EncoderSpec(name=family, checkpoint=str(checkpoints[name]))).eval()
        for name, family in FAMILIES.items()
    }


def assert_near(own: Tensor, golden: np.ndarray) -> None:
    np.testing.assert_allclose(own.numpy(), golden, rtol=0, atol=1e-4 * np.abs(golden).max())


@pytest.mark.parametrize("key", [key for key in GOLDEN.files if not key.endswith("loss")])
@torch.no_grad()
def test_embedding_equals_original(key: str, encoders: dict[str, Encoder]) -> None:
    name, frames = key.split()
    clips = len(GOLDEN[key])
    encoded = encoders[name](published.features(int(frames), clips))
    assert_near(encoded.clip, GOLDEN[key])
    assert encoded.frames.shape[::2] == encoded.clip.shape


@pytest.mark.parametrize("name", ["operaCE", "operaCT"])
@torch.no_grad()
def test_contrast_equals_original(name: str, encoders: dict[str, Encoder]) -> None:
    encoder = encoders[name]
    assert isinstance(encoder, ContrastiveOperaEncoder)
    assert_near(encoder.cola(*published.embeddings(encoder.embedding_size)), GOLDEN[f"{name} loss"])


@torch.no_grad()
def test_masked_loss_equals_original(encoders: dict[str, Encoder]) -> None:
    loss = encoders["operaGT"].self_supervised_loss(published.features(256, 2), SEEDS)
    assert_near(loss, GOLDEN["operaGT loss"])


@torch.no_grad()
def test_masked_loss_is_the_same_in_other_batches(encoders: dict[str, Encoder]) -> None:
    features = published.features(256, 2)
    alone = [encoders["operaGT"].self_supervised_loss(features[i : i + 1], SEEDS[i : i + 1]) for i in (1, 0)]
    assert_near(torch.stack(alone).mean(), GOLDEN["operaGT loss"])
