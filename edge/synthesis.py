"""Makes the sounds of a room from noise and pulses: coughs, breaths, speech-like sound, knocks, room noise, echo.

Each sound is a source (white noise or glottal pulses) whose spectrum is shaped over time and then given an envelope.
The numbers follow the literature on cough sound (an explosive phase of 30 to 60 ms, an intermediate phase of noise, in
many a voiced phase; 300 to 700 ms in all: Korpas et al., Pulmonary Pharmacology 1996), the mean log-mel of coughs
marked by hand in the open recordings of COUGHVID, and a detector trained on recordings, which hears these coughs about
as often as recorded ones because they were adjusted until it did. So they show and test the machinery, and say nothing
about how well a detector hears people. No recording is played.

All sounds are float32 at 16 kHz, peak 1, and begin and end at zero; a `numpy.random.Generator` is the only chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000

Signal = NDArray[np.float32]
Wave = NDArray[np.float64]
Range = tuple[float, float]

_FRAME = 512
_HOP = 128
_BINS_HZ = np.fft.rfftfreq(_FRAME, 1.0 / SAMPLE_RATE_HZ)
# Octaves above 500 Hz, by which spectra fall, and the loss of 12 dB an octave below 150 Hz of anything so small.
_OCTAVES = np.log2(np.maximum(_BINS_HZ, 500.0) / 500.0)
_LOW_CUT_DB = 12.0 * np.log2(np.clip(_BINS_HZ, 10.0, 150.0) / 150.0)

# Resonances of the airway in a cough: centre and half width in Hz, height in dB, each with its spread.
_COUGH_RESONANCES: tuple[tuple[Range, Range, Range], ...] = (
    ((360.0, 580.0), (60.0, 140.0), (10.0, 20.0)),
    ((1250.0, 1750.0), (50.0, 140.0), (10.0, 24.0)),
    ((1900.0, 2400.0), (70.0, 180.0), (8.0, 20.0)),
    ((2800.0, 3600.0), (120.0, 300.0), (8.0, 22.0)),
    ((4300.0, 5200.0), (150.0, 400.0), (6.0, 18.0)),
    ((6000.0, 7000.0), (250.0, 600.0), (6.0, 20.0)),
)
# First three formants of five vowels in Hz (Peterson and Barney 1952, men), and their half widths.
_VOWELS_HZ = ((270, 2290, 3010), (530, 1840, 2480), (730, 1090, 2440), (570, 840, 2410), (300, 870, 2240))
_VOWEL_WIDTHS_HZ = (60.0, 90.0, 150.0)


def cough(rng: np.random.Generator, *, voiced: float = 0.65) -> Signal:
    """Make one cough of 0.25 to 0.7 s: burst, noise, and with probability `voiced` a voiced close."""
    burst_s, noise_s, fade_s = rng.uniform(0.03, 0.06), rng.uniform(0.12, 0.32), rng.uniform(0.1, 0.18)
    close_s = rng.uniform(0.05, 0.12) if rng.random() < voiced else 0.0
    total_s = burst_s + noise_s + close_s + fade_s
    length = _samples(total_s)
    resonances = [(rng.uniform(*c), rng.uniform(*w), rng.uniform(*h)) for c, w, h in _COUGH_RESONANCES]

    frame_s = np.arange(length // _HOP + 5)[:, None] * (_HOP / SAMPLE_RATE_HZ)
    course = np.clip(frame_s / total_s, 0.0, 1.0)
    colour = _resonances(resonances, 1.0 - rng.uniform(0.0, 0.15) * course)
    # Flow slows down, and with it the turbulence that makes the high part of the noise.
    colour += _LOW_CUT_DB - _OCTAVES * (rng.uniform(2.5, 7.0) + rng.uniform(1.0, 4.0) * course)
    # The burst is fuller below 700 Hz than the noise after it, in which the chest no longer takes part.
    colour -= rng.uniform(7.0, 14.0) * _below(650.0) * np.clip(frame_s / burst_s - 0.5, 0.0, 1.0)
    colour += 2.5 * rng.standard_normal(course.shape)
    time_s = np.arange(length) / SAMPLE_RATE_HZ
    sound = _shape(rng.standard_normal(length), colour) * _cough_envelope(rng, time_s, burst_s, total_s, fade_s)
    if close_s:
        part = _voiced_close(rng, _samples(close_s), resonances)
        start = _samples(burst_s + noise_s * rng.uniform(0.85, 1.0))
        sound[start : start + part.size] += part * np.abs(sound).max() * rng.uniform(0.25, 0.8)
    return _finish(sound)


def _cough_envelope(rng: np.random.Generator, time_s: Wave, burst_s: float, total_s: float, fade_s: float) -> Wave:
    """Return the course of a cough's loudness: up within milliseconds, down to a sinking plateau, then out."""
    rise_s, plateau_db, sink_db = rng.uniform(0.004, 0.014), rng.uniform(-8.0, -2.0), rng.uniform(-10.0, -3.0)
    knots_s = (0.0, burst_s, 1.6 * burst_s, total_s - fade_s, total_s)
    level_db = np.interp(time_s, knots_s, (0.0, 0.0, plateau_db, plateau_db + sink_db, plateau_db + sink_db - 45.0))
    return np.asarray(np.minimum(time_s / rise_s, 1.0) ** 2 * 10.0 ** (level_db / 20.0))


def _voiced_close(rng: np.random.Generator, length: int, resonances: Sequence[tuple[float, float, float]]) -> Wave:
    """Make the short voiced sound with which the vocal folds close again; pitch falling, pulses rough."""
    pitch_hz = np.linspace(rng.uniform(220.0, 420.0), rng.uniform(130.0, 220.0), length)
    pulses = _glottal_pulses(rng, pitch_hz, roughness=0.08) + 0.01 * rng.standard_normal(length)
    sound = _shape(pulses, _resonances(resonances) + _LOW_CUT_DB - 4.0 * _OCTAVES) * np.hanning(length)
    return _unit(sound)


def breath(rng: np.random.Generator) -> Signal:
    """Make one breath of 1.6 to 3.4 s: air drawn in, a short rest, air let out, lower and longer."""
    fall_db = rng.uniform(0.0, 3.0)
    parts = []
    for low_hz, share, seconds in (((1200.0, 2000.0), 1.0, (0.6, 1.2)), ((600.0, 1300.0), 0.85, (0.9, 1.8))):
        length = _samples(rng.uniform(*seconds))
        resonances = [(rng.uniform(*low_hz), 250.0, 10.0), (2400.0, 350.0, rng.uniform(4.0, 10.0))]
        resonances += [(share * rng.uniform(4000.0, 5200.0), 900.0, rng.uniform(6.0, 14.0))]
        # Turbulence at a constriction is weak below a few hundred hertz, unlike the wind of a fan.
        colour = _resonances(resonances) - fall_db * _OCTAVES - 18.0 * _below(350.0)
        skew = rng.uniform(0.7, 1.4)
        envelope = np.sin(np.pi * np.linspace(0.0, 1.0, length) ** skew) ** 0.7
        parts += [_shape(rng.standard_normal(length), colour) * envelope, np.zeros(_samples(rng.uniform(0.1, 0.4)))]
    return _finish(np.concatenate(parts[:-1]))


def speech(rng: np.random.Generator, seconds: float) -> Signal:
    """Make speech-like sound: voiced syllables of moving formants, some led by a fricative, four or so a second."""
    middle_hz = rng.uniform(95.0, 220.0)
    parts: list[Wave] = []
    while sum(part.size for part in parts) < _samples(seconds):
        if rng.random() < 0.3:
            parts.append(_fricative(rng))
        parts.append(_syllable(rng, middle_hz))
        parts.append(np.zeros(_samples(rng.uniform(0.2, 0.4) if rng.random() < 0.15 else rng.uniform(0.01, 0.06))))
    return _finish(np.concatenate(parts[:-1]))


def _syllable(rng: np.random.Generator, middle_hz: float) -> Wave:
    length = _samples(rng.uniform(0.12, 0.26))
    pitch_hz = middle_hz * np.linspace(rng.uniform(0.95, 1.25), rng.uniform(0.8, 1.0), length)
    first, last = (np.array(_VOWELS_HZ[i], np.float64) for i in rng.integers(len(_VOWELS_HZ), size=2))
    course = np.linspace(0.0, 1.0, length // _HOP + 5)[:, None]
    colour = np.zeros((course.size, _BINS_HZ.size))
    for a, b, width_hz in zip(first, last, _VOWEL_WIDTHS_HZ, strict=True):
        # One formant as the magnitude of a two-pole resonator, as in a cascade synthesiser (Klatt 1980).
        centre = a + (b - a) * course
        ratio = _BINS_HZ / centre
        colour -= 10.0 * np.log10((1.0 - ratio**2) ** 2 + (2.0 * width_hz * ratio / centre) ** 2)
    sound = _shape(_glottal_pulses(rng, pitch_hz, roughness=0.01), np.maximum(colour, -60.0))
    return _unit(sound * np.sqrt(np.hanning(length))) * rng.uniform(0.5, 1.0)


def _fricative(rng: np.random.Generator) -> Wave:
    length = _samples(rng.uniform(0.05, 0.12))
    colour = _resonances([(rng.uniform(2500.0, 6500.0), 900.0, 25.0)])
    sound = _shape(rng.standard_normal(length), colour) * np.hanning(length)
    return _unit(sound) * rng.uniform(0.05, 0.2)


def knock(rng: np.random.Generator) -> Signal:
    """Make one knock on wood of 0.15 s: a click that rings in a few damped modes."""
    time_s = np.arange(_samples(0.15)) / SAMPLE_RATE_HZ
    modes_hz = rng.uniform(120.0, 260.0) * np.array([1.0, 1.59, 2.14, 2.92, 4.6])
    decays_s = rng.uniform(0.008, 0.03, modes_hz.size)
    modes = np.sin(2.0 * np.pi * modes_hz[:, None] * time_s) * np.exp(-time_s / decays_s[:, None])
    return _finish((modes * rng.uniform(0.3, 1.0, (modes_hz.size, 1))).sum(axis=0))


def room_noise(rng: np.random.Generator, length: int) -> Signal:
    """Make `length` samples of ventilation-like noise (pink above 60 Hz) and a faint hum of the mains; RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency_hz = np.fft.rfftfreq(length, 1.0 / SAMPLE_RATE_HZ)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency_hz, 60.0)), length)
    time_s = np.arange(length) / SAMPLE_RATE_HZ
    hum = sum(0.2 / n * np.sin(2.0 * np.pi * n * 50.0 * time_s) for n in (1, 2, 3))
    sound = noise / float(noise.std()) + hum
    return np.asarray(sound / float(sound.std()), np.float32)


def room_response(rng: np.random.Generator) -> Signal:
    """Make the impulse response of a furnished room: the direct sound at index 0, early echoes, a decaying tail."""
    decay_s, share = rng.uniform(0.2, 0.4), rng.uniform(0.1, 0.3)
    time_s = np.arange(_samples(decay_s)) / SAMPLE_RATE_HZ
    # The reverberation time is that of a fall by 60 dB, a factor of 10**-3 in amplitude.
    tail = rng.standard_normal(time_s.size) * 10.0 ** (-3.0 * time_s / decay_s)
    tail[: _samples(0.004)] = 0.0
    tail = np.convolve(tail, np.hanning(7) / np.hanning(7).sum(), "same")
    response = tail * np.sqrt(share / np.sum(tail**2))
    for delay_s in rng.uniform(0.002, 0.02, 4):
        response[_samples(delay_s)] += rng.uniform(-0.25, 0.25)
    response[0] = 1.0
    return np.asarray(response, np.float32)


def convolve(sound: Signal, response: Signal) -> Signal:
    """Return the sound in the room, longer than the sound by the response."""
    length = sound.size + response.size - 1
    size = 1 << (length - 1).bit_length()
    product = np.fft.rfft(sound, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[:length].astype(np.float32)


def _shape(source: Wave, gain_db: NDArray[np.float64]) -> Wave:
    """Filter a source by a gain that changes over time: short-time spectra, multiplied and overlap-added.

    Args:
        source: shape (samples,).
        gain_db: shape (frames, bins) or (1, bins) for a filter that stays; frame k is centred on sample k * _HOP, and
            there are at least samples // _HOP + 5 of them.
    """
    frames = source.size // _HOP + 5
    window = np.hanning(_FRAME + 1)[:-1]
    padded = np.zeros(frames * _HOP + _FRAME)
    padded[_FRAME // 2 : _FRAME // 2 + source.size] = source
    index = np.arange(_FRAME) + _HOP * np.arange(frames)[:, None]
    spectra = np.fft.rfft(padded[index] * window) * 10.0 ** (gain_db[:frames] / 20.0)
    shaped = np.zeros_like(padded)
    np.add.at(shaped, index, np.fft.irfft(spectra, _FRAME) * window)
    return shaped[_FRAME // 2 : _FRAME // 2 + source.size]


def _resonances(
    resonances: Sequence[tuple[float, float, float]], stretch: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return peaks (centre Hz, half width Hz, height dB) over the bins, dB, shape (frames of `stretch` or 1, bins)."""
    factor = np.ones((1, 1)) if stretch is None else stretch
    peaks = np.zeros((factor.size, _BINS_HZ.size))
    for centre_hz, width_hz, height_db in resonances:
        peaks += height_db / (1.0 + ((_BINS_HZ - centre_hz * factor) / width_hz) ** 2)
    return peaks


def _below(edge_hz: float) -> NDArray[np.float64]:
    """Return 1 well below an edge and 0 well above it, over the bins."""
    return np.asarray(1.0 / (1.0 + (_BINS_HZ / edge_hz) ** 6))


def _glottal_pulses(rng: np.random.Generator, pitch_hz: Wave, roughness: float) -> Wave:
    """Return the flow derivative of Rosenberg's (1971) glottal pulse; `roughness` is the jitter, share of the pitch."""
    wander = np.repeat(rng.standard_normal(pitch_hz.size // 80 + 1), 80)[: pitch_hz.size]
    phase = np.cumsum(pitch_hz * (1.0 + roughness * wander) / SAMPLE_RATE_HZ) % 1.0
    opening = 0.5 * (1.0 - np.cos(np.pi * phase / 0.4))
    closing = np.cos(np.pi / 2.0 * (phase - 0.4) / 0.16)
    flow = np.where(phase < 0.4, opening, np.where(phase < 0.56, closing, 0.0))
    return np.asarray(np.diff(flow, prepend=0.0), np.float64)


def _finish(sound: Wave) -> Signal:
    """Scale to a peak of 1 and fade both ends over 2 ms, so that no edge clicks."""
    edge = np.minimum(np.arange(sound.size) / 32.0, 1.0)
    return np.asarray(_unit(sound * edge * edge[::-1]), np.float32)


def _unit(sound: Wave) -> Wave:
    """Scale to a peak of 1."""
    return np.asarray(sound / np.abs(sound).max())


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)
