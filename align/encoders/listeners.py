"""How each architecture of transformers listens: the features of a waveform, and the moments that come out.

The features are those of transformers' own feature extractors, computed for a whole batch where the waveform lies.
Models of a fixed input pad a clip as they were trained to; the moments of padding are dropped from what comes out.
Nothing is loaded here (`align.encoders.published`) and there is no loss (`align.encoders.spans`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.compliance import kaldi
from torchaudio.functional import melscale_fbanks

from align.encoders.errors import EncoderError

FEWEST_STEPS = 2
"""One to hide and one to hear."""
WAVE_MEL_BANDS = 64


class Listener(nn.Module, ABC):
    """A model that is fed clips of one length, with its features."""

    sample_rate_hz: int
    samples: int
    """Length of a clip."""
    step_samples: float
    """Length of audio from one output vector to the next."""
    steps: int
    """How many output vectors hold a clip's audio and nothing else."""
    bins: int
    """Bands of `log_mel`."""
    embedding_size: int
    place: Tensor
    """(time,): the step that each moment of the features belongs to; `steps` for padding and for a clip's last rest."""

    def __init__(self, model: Any, extractor: Any, samples: int, step_samples: float, longest: float) -> None:
        """Check the length of a clip.

        Raises:
            EncoderError: the clip is longer than `longest` samples or shorter than `FEWEST_STEPS` steps.
        """
        super().__init__()
        self.model = model
        self.sample_rate_hz = int(extractor.sampling_rate)
        self.samples = samples
        self.step_samples = step_samples
        # The last step may reach beyond its own length, as patches that overlap do.
        shortest = (FEWEST_STEPS + 1) * step_samples
        if samples > longest:
            raise EncoderError(f"hears at most {longest / self.sample_rate_hz:g} s at once; lower clip_s to that")
        if samples < shortest:
            least = math.ceil(100 * shortest / self.sample_rate_hz) / 100
            raise EncoderError(f"needs {least:g} s or more at once; raise clip_s to that")

    @abstractmethod
    def features(self, waveform: Tensor) -> Tensor:
        """Features (batch, time, bins) or (batch, time) of waveforms (batch, samples)."""

    @abstractmethod
    def frames(self, features: Tensor) -> Tensor:
        """Output vectors (batch, steps, embedding_size), without those of padding."""

    @abstractmethod
    def log_mel(self, features: Tensor) -> Tensor:
        """Log-mel (batch, frames, bins) of the audio that the steps hold."""

    def _keep_place(self, position: Tensor) -> None:
        """Keep `place`, given the sample of the clip at which each moment of the features lies."""
        place = (position.double() / self.step_samples).long().clamp(max=self.steps)
        self.register_buffer("place", place, persistent=False)


class WaveListener(Listener):
    """wav2vec 2.0 and its kin: samples, standardised or as they are, of any length."""

    filters: Tensor

    def __init__(self, model: Any, extractor: Any, samples: int) -> None:
        """Keep the filters of the log-mel, which the model itself has no use for."""
        config = model.config
        super().__init__(model, extractor, samples, math.prod(config.conv_stride), math.inf)
        self.normalised = bool(extractor.do_normalize)
        self.embedding_size = config.hidden_size
        # SEW fills up with zeros what does not fill a whole group of its vectors.
        self.group = getattr(config, "squeeze_factor", 1)
        length = samples
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            length = (length - kernel) // stride + 1
        self.steps = length - length % self.group
        self._keep_place(torch.arange(samples))
        self.bins = WAVE_MEL_BANDS
        self.hop, self.window = self.sample_rate_hz // 100, self.sample_rate_hz // 40
        top_hz = self.sample_rate_hz / 2
        filters = melscale_fbanks(
            self.window // 2 + 1, 50.0, top_hz, self.bins, self.sample_rate_hz, mel_scale="slaney"
        )
        self.register_buffer("filters", filters, persistent=False)

    def features(self, waveform: Tensor) -> Tensor:
        """Samples with zero mean and unit variance, if the model is used to that."""
        return _standardised(waveform) if self.normalised else waveform

    def frames(self, features: Tensor) -> Tensor:
        """Every vector that comes out, of whatever length of samples."""
        frames: Tensor = self.model(features).last_hidden_state
        return frames[:, : frames.shape[1] - frames.shape[1] % self.group]

    def log_mel(self, features: Tensor) -> Tensor:
        """Windows of 25 ms every 10 ms, of the standardised waveform."""
        power = _mel_power(_standardised(features), self.filters, self.window, self.hop, centred=False)
        return torch.log(power[:, : round(self.steps * self.step_samples / self.hop)] + 1e-6)


class SpectrogramListener(Listener):
    """A model that takes a log-mel of a fixed number of frames."""

    hop: int

    def features(self, waveform: Tensor) -> Tensor:
        """Log-mel with padding, (batch, frames, bins).

        Raises:
            ValueError: the waveform has not the length of a clip, on which depends what is padding.
        """
        if waveform.shape[1] != self.samples:
            raise ValueError(f"waveforms have {waveform.shape[1]} samples; this encoder was built for {self.samples}")
        return self._features(waveform)

    @abstractmethod
    def _features(self, waveform: Tensor) -> Tensor:
        """The same, of waveforms of the right length."""

    def log_mel(self, features: Tensor) -> Tensor:
        """The part of the features that the steps hold."""
        return features[:, : round(self.steps * self.step_samples / self.hop)]


class AstListener(SpectrogramListener):
    """Audio Spectrogram Transformer: Kaldi's filter bank, padded with zeros, in overlapping patches."""

    def __init__(self, model: Any, extractor: Any, samples: int) -> None:
        """Find the patches that hold audio only."""
        config = model.config
        hop = int(extractor.sampling_rate * 0.01)
        super().__init__(model, extractor, samples, config.time_stride * hop, config.max_length * hop)
        self.hop = hop
        self.window = int(extractor.sampling_rate * 0.025)
        self.bins, self.length = config.num_mel_bins, config.max_length
        self.mean = float(extractor.mean) if extractor.do_normalize else 0.0
        # Twice the deviation is divided by, as the model was trained with.
        self.scale = 2 * float(extractor.std) if extractor.do_normalize else 1.0
        self.embedding_size = config.hidden_size
        self.steps = (self._frames_of(samples) - config.patch_size) // config.time_stride + 1
        self._keep_place(torch.arange(self.length) * self.hop)

    def _frames_of(self, samples: int) -> int:
        return (samples - self.window) // self.hop + 1

    def _features(self, waveform: Tensor) -> Tensor:
        # Kaldi's filter bank takes one waveform. Clips that start at a whole number of hops can be laid end to end: a
        # frame depends on its own window alone, and those that reach into the next clip are dropped.
        batch, samples = waveform.shape
        each = -(-samples // self.hop)
        laid_out = F.pad(waveform, (0, each * self.hop - samples)).reshape(1, -1)
        frames = kaldi.fbank(
            F.pad(laid_out, (0, self.window)),
            sample_frequency=self.sample_rate_hz,
            window_type="hanning",
            num_mel_bins=self.bins,
        )
        frames = frames[: batch * each].reshape(batch, each, self.bins)[:, : self._frames_of(samples)]
        padded = F.pad(frames, (0, 0, 0, self.length - frames.shape[1]))
        return (padded - self.mean) / self.scale

    def frames(self, features: Tensor) -> Tensor:
        """Patches, averaged over frequency; not the two tokens that stand before them."""
        patches: Tensor = self.model(features).last_hidden_state[:, 2:]
        bands, _ = self.model.embeddings.get_shape(self.model.config)
        grid = patches.reshape(len(patches), bands, -1, self.embedding_size)
        return grid.mean(dim=1)[:, : self.steps]


class WhisperListener(SpectrogramListener):
    """Whisper's encoder: a log-mel of 30 s, silence where there is no audio, in two frames a vector."""

    filters: Tensor

    def __init__(self, model: Any, extractor: Any, samples: int) -> None:
        """Keep the extractor's mel filters."""
        config = model.config
        longest = 2 * config.max_source_positions * extractor.hop_length
        super().__init__(model, extractor, samples, 2 * extractor.hop_length, longest)
        self.hop, self.window, self.longest = extractor.hop_length, extractor.n_fft, longest
        self.bins = config.num_mel_bins
        self.embedding_size = config.d_model
        self.steps = samples // (2 * self.hop)
        self._keep_place(torch.arange(2 * config.max_source_positions) * self.hop)
        self.register_buffer("filters", torch.as_tensor(extractor.mel_filters).float(), persistent=False)

    def _features(self, waveform: Tensor) -> Tensor:
        padded = F.pad(waveform, (0, self.longest - self.samples))
        power = _mel_power(padded, self.filters, self.window, self.hop, centred=True)[:, :-1]
        log_mel = power.clamp_min(1e-10).log10()
        return (torch.maximum(log_mel, log_mel.amax(dim=(1, 2), keepdim=True) - 8.0) + 4.0) / 4.0

    def frames(self, features: Tensor) -> Tensor:
        """The vectors that lie within the audio."""
        frames: Tensor = self.model(features.transpose(1, 2)).last_hidden_state
        return frames[:, : self.steps]


class ClapListener(SpectrogramListener):
    """CLAP's audio tower: a log-mel in dB of 10 s, which a shorter clip fills by repetition, in windowed attention."""

    filters: Tensor

    def __init__(self, model: Any, extractor: Any, samples: int) -> None:
        """Keep the extractor's mel filters, and find where a clip that is repeated comes again.

        Raises:
            EncoderError: as `Listener`, and if the features do not fit in the model.
        """
        tower = model.audio_encoder
        longest = int(extractor.nb_max_samples)
        grid = tower.freq_ratio * (tower.spec_size // 2 ** (tower.num_layers - 1) // tower.patch_stride[1])
        super().__init__(model, extractor, samples, longest / grid, longest)
        self.hop, self.window, self.longest = extractor.hop_length, extractor.fft_window_size, longest
        self.bins = model.config.num_mel_bins
        self.embedding_size = tower.num_features
        self.steps = int(samples / self.step_samples)
        self.padding = extractor.padding
        time = torch.arange(longest // self.hop + 1) * self.hop
        if len(time) > (width := tower.spec_size * tower.freq_ratio):
            raise EncoderError(f"its feature extractor gives {len(time)} frames, its model takes {width} at most")
        self._keep_place(torch.where(time < self._filled, time % samples, samples))
        fused = extractor.truncation == "fusion"
        filters = extractor.mel_filters if fused else extractor.mel_filters_slaney
        self.register_buffer("filters", torch.as_tensor(filters).double(), persistent=False)

    @property
    def _filled(self) -> int:
        """Samples of the input that hold the clip or a repetition of it."""
        whole = {"repeat": self.longest, "repeatpad": self.longest // self.samples * self.samples}
        return whole.get(self.padding, self.samples)

    def _features(self, waveform: Tensor) -> Tensor:
        repeated = waveform.repeat(1, -(-self._filled // self.samples))[:, : self._filled]
        padded = F.pad(repeated, (0, self.longest - self._filled))
        # The extractor computes in double precision; single would show in bands 80 dB below the loudest.
        power = _mel_power(padded.double(), self.filters, self.window, self.hop, centred=True)
        return 10.0 * power.clamp_min(1e-10).log10().float()

    def frames(self, features: Tensor) -> Tensor:
        """The last grid, averaged over frequency, as far as the clip reaches for the first time."""
        longer = torch.zeros(len(features), 1, dtype=torch.bool, device=features.device)
        grid: Tensor = self.model(input_features=features.unsqueeze(1), is_longer=longer).last_hidden_state
        return grid.mean(dim=2).transpose(1, 2)[:, : self.steps]


def _standardised(waveform: Tensor) -> Tensor:
    """Zero mean and unit variance, with the extractor's guard against silence."""
    return F.layer_norm(waveform, waveform.shape[1:], eps=1e-7)


def _mel_power(waveform: Tensor, filters: Tensor, window: int, hop: int, *, centred: bool) -> Tensor:
    """Mel power spectrum (batch, frames, bins), Hann windows."""
    hann = torch.hann_window(window, dtype=waveform.dtype, device=waveform.device)
    spectrum = torch.stft(waveform, window, hop, window=hann, center=centred, return_complex=True)
    return spectrum.abs().square().transpose(1, 2) @ filters
