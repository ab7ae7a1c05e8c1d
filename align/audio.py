"""Open recordings: decode, mix down, resample. Augmentation lives in `align.channel`.

libsndfile decodes what it knows; the containers of browsers and phones that it does not know go through FFmpeg's
libraries (PyAV). A file that ends before its header says so is refused: half a download would train as a short
recording. What has no length in its header (Ogg, WebM) cannot be checked so. One whose rate or channels change on the
way is refused, too.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from edge.errors import AudioError

FFMPEG_SUFFIXES = {".webm", ".m4a", ".mp4", ".3gp", ".aac", ".amr"}

SHORTEST_SHARE = 0.99
"""Of the promised length. Headers written by recording programs are off by a block or two; a broken download is not."""


def load(path: Path, sample_rate_hz: int) -> NDArray[np.float32]:
    """Decode the file at `path` to mono float32 in [-1, 1] at `sample_rate_hz`, shape (samples,).

    Channels are averaged. The resampler is the device's (soxr, high quality): training hears what the device hears.

    Raises:
        AudioError: the file is missing, empty, cut short, not audio, changes its rate or channels on the way, or holds
            values that are not finite.
    """
    mono, rate = decode(path)
    if rate == sample_rate_hz:
        return mono
    return np.asarray(soxr.resample(mono, rate, sample_rate_hz, quality="HQ"), dtype=np.float32)


def decode(path: Path) -> tuple[NDArray[np.float32], int]:
    """Decode the file at `path` to mono float32 in [-1, 1], shape (samples,), and its own sample rate in Hz.

    Raises:
        AudioError: as `load`.
    """
    try:
        if not path.is_file():
            raise AudioError(f"{path}: cannot be decoded (no such file)")
        if path.suffix.casefold() == ".raw":
            raise AudioError(f"{path}: raw samples, of which nothing says the rate; convert it to WAV or FLAC")
        reader = _read_ffmpeg if path.suffix.casefold() in FFMPEG_SUFFIXES else _read_libsndfile
        samples, rate = reader(path)
    except (OSError, soundfile.LibsndfileError) as error:
        raise AudioError(f"{path}: cannot be decoded ({error})") from error
    if len(samples) == 0:
        raise AudioError(f"{path}: holds no samples")
    mono: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError(f"{path}: holds values that are not finite")
    return mono, rate


def _read_libsndfile(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples, shape (frames, channels), and the rate in Hz."""
    with soundfile.SoundFile(path) as file:
        promised, rate = file.frames, file.samplerate
        samples: NDArray[np.float32] = file.read(dtype="float32", always_2d=True)
    if path.suffix.casefold() == ".wav":
        present, declared = _wav_bytes(path)
    else:
        present, declared = len(samples), promised
    if present < SHORTEST_SHARE * declared:
        raise AudioError(f"{path}: cut short, {present / declared:.0%} of it is there; fetch it again")
    return samples, rate


def _wav_bytes(path: Path) -> tuple[int, int]:
    """Bytes of sound that are in a RIFF WAVE file, and how many its header declares.

    libsndfile believes the file's size, not its header. Programs that write to a pipe declare 0 or nearly 4 GB because
    they do not know better; this counts as nothing declared.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        if stream.read(4) != b"RIFF":
            return 0, 0
        stream.seek(12)
        while len(header := stream.read(8)) == 8:
            name, length = struct.unpack("<4sI", header)
            if name == b"data":
                return size - stream.tell(), length if length < 0x7FFF0000 else 0
            stream.seek(length + length % 2, 1)
    return 0, 0


def _read_ffmpeg(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples, shape (frames, channels), and the rate in Hz.

    Raises:
        AudioError: it cannot be decoded, there is no sound in it, or its rate, channels or sample format change.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: holds no sound")
            packed = list(container.decode(audio=0))
        # Damaged AAC and files put together of two change on the way. The resampler refuses some of that with a plain
        # ValueError and lets the rest pass, to be heard at the first frame's rate.
        kinds = list(dict.fromkeys((row.sample_rate, row.layout.name, row.format.name) for row in packed))
        if len(kinds) > 1:
            was, then = (f"{rate} Hz {layout} {form}" for rate, layout, form in kinds[:2])
            raise AudioError(f"{path}: changes from {was} to {then} on the way; record or fetch it again")
        planar = av.AudioResampler(format="fltp")
        frames = [frame for row in packed for frame in planar.resample(row)]
    except av.error.FFmpegError as error:
        raise AudioError(f"{path}: cannot be decoded ({error.strerror})") from error
    blocks = [frame.to_ndarray().T for frame in frames]
    if not blocks:
        return np.empty((0, 1), np.float32), 1
    return np.concatenate(blocks).astype(np.float32), frames[0].sample_rate
