"""Tiny models of transformers with random weights, saved as published ones are: one of each type, and their sounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

SHORT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
WAVE = {**SHORT, "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
SEW = {**WAVE, "conv_dim": (8,) * 13}
CLAP_TOWER = {
    "spec_size": 64,
    "num_mel_bins": 16,
    "window_size": 4,
    "patch_embeds_hidden_size": 8,
    "depths": [1, 1],
    "num_attention_heads": [2, 2],
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "hidden_dropout_prob": 0.0,
}
WHISPER = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "num_mel_bins": 16,
    "max_source_positions": 100,
    "vocab_size": 64,
    "pad_token_id": 1,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "decoder_start_token_id": 1,
}


@dataclass(frozen=True)
class Tiny:
    """A model's class, its settings, its feature extractor, and a clip that it can hear."""

    model: str
    config: dict[str, Any]
    extractor: Any
    clip_s: float
    steps: int
    """How many output vectors such a clip has, counted by hand."""
    fixed: bool = True
    """Whether it pads its input to one length."""


def _wave(model: str, config: dict[str, Any] = WAVE, steps: int = 29, **extractor: Any) -> Tiny:
    return Tiny(model, config, transformers.Wav2Vec2FeatureExtractor(**extractor), 0.6, steps, fixed=False)


def _clap(tower: dict[str, Any], **extractor: Any) -> Tiny:
    text = {**SHORT, "num_hidden_layers": 1, "vocab_size": 64}
    config = {"text_config": text, "audio_config": {**CLAP_TOWER, **tower}, "projection_dim": 16}
    # 32 vectors in 2 s: 0.8 s are 12.8 of them.
    return Tiny(
        "ClapModel", config, transformers.ClapFeatureExtractor(feature_size=16, max_length_s=2, **extractor), 0.8, 12
    )


TINY = {
    # 0.9 s are 88 frames, in patches of 16 every 10.
    "ast": Tiny(
        "ASTForAudioClassification",
        {**SHORT, "max_length": 128, "num_mel_bins": 32},
        transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=128),
        0.9,
        8,
    ),
    "clap": _clap({}, truncation="rand_trunc"),
    "clap-fused": _clap({"enable_fusion": True, "fusion_type": "aff_2d"}, truncation="fusion", padding="repeat"),
    "whisper": Tiny(
        "WhisperForConditionalGeneration",
        WHISPER,
        transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=2),
        0.9,
        45,
    ),
    "wav2vec2": _wave("Wav2Vec2ForPreTraining"),
    "wavlm": _wave("WavLMModel", do_normalize=False),
    "hubert": _wave("HubertForCTC"),
    "data2vec": _wave("Data2VecAudioModel", {**WAVE, "num_conv_pos_embeddings": 5}),
    "unispeech": _wave("UniSpeechModel"),
    "unispeech-sat": _wave("UniSpeechSatModel"),
    "conformer": _wave("Wav2Vec2ConformerModel"),
    "adapted": _wave("Wav2Vec2Model", {**WAVE, "add_adapter": True, "output_hidden_size": 20}),
    # An odd vector at the end is no more than filling.
    "sew": _wave("SEWModel", SEW, 28),
    "sew-d": _wave("SEWDModel", SEW, 28),
}


def save(tiny: Tiny, folder: Path) -> Path:
    """Write a model with random weights as save_pretrained does."""
    torch.manual_seed(0)
    kind = getattr(transformers, tiny.model)
    kind(kind.config_class(**tiny.config)).save_pretrained(folder)
    tiny.extractor.save_pretrained(folder)
    return folder


def sounds(count: int, samples: int, sample_rate_hz: int) -> Tensor:
    """Clips of noise with a tone that comes and goes, each its own and at its own level, (count, samples)."""
    rng = np.random.default_rng(0)
    time = np.arange(samples) / sample_rate_hz
    clips = []
    for number in range(count):
        envelope = np.sin(2 * np.pi * rng.uniform(2, 5) * time) > 0
        tone = np.sin(2 * np.pi * rng.uniform(300, 3000) * time) * envelope
        clips.append(10.0**-number * (0.3 * tone + 0.03 * rng.standard_normal(samples)))
    return torch.tensor(np.array(clips), dtype=torch.float32)
