"""The loop in which AcuLa was published (code of arXiv 2512.04847), for `bench.align` to compare with.

Every item is decoded, transformed and tokenised when it is asked for, and the teacher reads every batch, padded to 128
tokens, on every step. The encoder hears a batch twice: as it is, for the alignment, and masked or cut, for its own
loss. Teacher in bfloat16 on a GPU, everything else in float32; two batches a step of the optimiser.

The mel follows librosa's (centred frames padded with zeros, Hann window, Slaney's bands, decibels below the clip's
largest) on scipy's FFT, since librosa is no dependency. Where the two differ, this loop is the faster one: librosa
computes the bands anew for each item, and the published code runs the language model's output layer as well. The
encoder is one of ours, and its own features are of no use here: it is given the published ones, 256 frames of 64 bands.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.signal.windows import hann
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchaudio.functional import melscale_fbanks
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, Gemma3TextConfig, Gemma3TextModel

from align.encoders.base import Encoder
from align.heads import HEAD_SIZE, make_head
from align.objectives import ReleasedLoss
from align.teacher.source import find
from align.teacher.spec import TeacherSpec
from edge.errors import UserError

FFT, HOP, BANDS = 1024, 512, 64
LOWEST_HZ, HIGHEST_HZ = 50.0, 8000.0
DYNAMIC_DB = 80.0
MAX_TOKENS = 128
ACCUMULATE = 2
LEARNING_RATE, WEIGHT_DECAY = 1e-5, 1e-2
MEDGEMMA_BLOCKS, MEDGEMMA_WIDTH = 34, 2560


class ItemMel:
    """Waveform (samples,) to decibels scaled to [0, 1], (frames, bands) float32."""

    def __init__(self, sample_rate_hz: int) -> None:
        self.window = hann(FFT, sym=False).astype(np.float32)
        self.bands = melscale_fbanks(
            FFT // 2 + 1, LOWEST_HZ, HIGHEST_HZ, BANDS, sample_rate_hz, norm="slaney", mel_scale="slaney"
        ).numpy()

    def __call__(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform one clip."""
        padded = np.pad(waveform, FFT // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP] * self.window
        power = np.abs(rfft(frames, axis=1)) ** 2 @ self.bands
        level = 10.0 * np.log10(np.maximum(power, 1e-10))
        level = np.maximum(level, level.max() - DYNAMIC_DB)
        span = level.max() - level.min()
        scaled: NDArray[np.float32] = ((level - level.min()) / span if span else level).astype(np.float32)
        return scaled


class PublishedItems(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A recording's features, tokens and mask, all made anew each time."""

    def __init__(self, paths: list[Path], reports: list[str], tokenizer: Any, encoder: Encoder) -> None:
        self.paths, self.reports, self.tokenizer = paths, reports, tokenizer
        self.samples = encoder.clip_samples
        self.mel = ItemMel(encoder.sample_rate_hz)
        shape = encoder.transform(torch.zeros(1, encoder.clip_samples)).shape[1:]
        if len(shape) != 2 or BANDS not in shape:
            raise UserError(
                f"the encoder hears features {tuple(shape)}; the published loop gives {BANDS} bands a frame"
            )
        self.bands_first = shape[1] != BANDS

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        waveform = soundfile.read(self.paths[index], dtype="float32", always_2d=True)[0].mean(axis=1)[: self.samples]
        mel = self.mel(np.pad(waveform, (0, self.samples - len(waveform))))
        text = self.tokenizer(
            self.reports[index].lower(),
            max_length=MAX_TOKENS,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        features = torch.from_numpy(mel.T.copy() if self.bands_first else mel)
        return features, text["input_ids"][0], text["attention_mask"][0]


class PublishedModel(nn.Module):
    """Encoder, teacher, two heads and the released loss."""

    def __init__(self, encoder: Encoder, teacher: Any) -> None:
        super().__init__()
        self.encoder, self.teacher = encoder, teacher.eval().requires_grad_(False)
        self.audio_head = make_head("mlp", encoder.embedding_size, HEAD_SIZE)
        self.text_head = make_head("mlp", int(teacher.config.hidden_size), HEAD_SIZE)
        self.alignment = ReleasedLoss()

    def forward(self, features: Tensor, ids: Tensor, mask: Tensor, seeds: Tensor) -> Tensor:
        """Scalar loss."""
        preserved = self.encoder.self_supervised_loss(features, seeds)
        audio = self.audio_head(self.encoder(features).clip)
        loss: Tensor = self.alignment(audio, self.text_head(self.read(ids, mask))) + preserved
        return loss

    @torch.no_grad()
    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(batch, width) float32: the mean over all positions, padding among them, as published."""
        hidden = self.teacher(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[-1]
        mean: Tensor = hidden.mean(dim=1).float()
        return mean


class PublishedLoop:
    """Runs the loop on recordings and reports."""

    def __init__(
        self, encoder: Encoder, spec: TeacherSpec, paths: list[Path], reports: list[str], batch: int, workers: int
    ) -> None:
        """Load the teacher.

        Raises:
            TeacherError: it is not found.
            UserError: the encoder's features are not of the published kind.
        """
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        folder = find(spec).folder(spec)
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right")
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        teacher = AutoModel.from_pretrained(folder, dtype=dtype, use_safetensors=True).get_decoder()
        items = PublishedItems(paths, reports, tokenizer, encoder)
        self.loader = DataLoader(items, batch_size=batch, shuffle=True, drop_last=True, num_workers=workers)
        self.model = PublishedModel(encoder, teacher).to(self.device)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def run(self, warmup: int) -> float:
        """Go through all recordings once; return the seconds from the end of batch `warmup` to that of the last."""
        torch.set_float32_matmul_precision("highest")
        self.model.train()
        self.model.teacher.eval()
        begun = ended = 0.0
        for step, (features, ids, mask) in enumerate(self.loader, start=1):
            seeds = torch.randint(2**31, (len(ids),))
            loss = self.model(features.to(self.device), ids.to(self.device), mask.to(self.device), seeds)
            (loss / ACCUMULATE).backward()
            if step % ACCUMULATE == 0:
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimiser.step()
                self.optimiser.zero_grad(set_to_none=True)
            # The published loop asks for the loss on every step too, which on a GPU waits for it.
            loss.item()
            ended = time.perf_counter()
            if step == warmup:
                begun = ended
        return ended - begun

    def parts(self) -> tuple[float, float]:
        """Seconds that the items of a batch take in this process, and those that the teacher takes with them."""
        assert self.loader.batch_size
        before = time.perf_counter()
        batch = [self.loader.dataset[index] for index in range(self.loader.batch_size)]
        items_s = time.perf_counter() - before
        ids, mask = (torch.stack([item[part] for item in batch]).to(self.device) for part in (1, 2))
        before = time.perf_counter()
        self.model.read(ids, mask).cpu()
        return items_s, time.perf_counter() - before


def write_bert_base(folder: Path) -> Path:
    """Write a text model of BERT-base's size (PubMedBERT, Bio_ClinicalBERT), and return its folder.

    Its weights are random, which makes no reading slower or faster; its tokens are MiniLM's.
    """
    small = TeacherSpec.model_validate({"model": "minilm"})
    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained(folder)
    AutoTokenizer.from_pretrained(find(small).folder(small)).save_pretrained(folder)
    return folder


def medgemma_s(batch: int) -> float:
    """Seconds in which a model of MedGemma-4B's size would read a batch here: one block with random weights, times 34.

    The sizes are those of the model's configuration; its vocabulary, which is only looked up in, is left out.
    """
    config = Gemma3TextConfig(
        vocab_size=8,
        hidden_size=MEDGEMMA_WIDTH,
        intermediate_size=10240,
        num_hidden_layers=1,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=256,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    block: nn.Module = Gemma3TextModel(config)
    block.eval().to(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    ids = torch.zeros(batch, MAX_TOKENS, dtype=torch.long, device=device)
    with torch.no_grad():
        block(ids[:1]).last_hidden_state.sum().item()
        before = time.perf_counter()
        block(ids, use_cache=False).last_hidden_state.sum().item()
    return MEDGEMMA_BLOCKS * (time.perf_counter() - before)
