"""A corpus of synthesised heart sounds, to see and test an alignment without anybody's recordings.

Two sounds a beat, some with a murmur between them whose loudness, pitch and timing the table tells. It is no model of a
heart: what is learnt from it says nothing of real ones.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt
from tqdm import tqdm

from align.files import write_whole
from edge.errors import UserError

SAMPLE_RATE_HZ = 4000
DURATION_S = 5.0
MURMUR_SHARE = 0.35
BANDS_HZ = {"Low": (60, 150), "Medium": (120, 280), "High": (250, 600)}
TIMINGS = {"Early-systolic": (0.0, 0.4), "Mid-systolic": (0.3, 0.7), "Holosystolic": (0.0, 1.0)}
"""Beginning and end of the murmur, as shares of the time between the first and the second sound."""
LOUDNESS = {"I/VI": 0.12, "II/VI": 0.2, "III/VI": 0.35}
COLUMNS = (
    "path", "corpus", "group", "split", "modality", "event", "site", "sex", "age", "murmur", "murmur_here",
    "systolic_timing", "systolic_pitch", "systolic_grading",
)  # fmt: skip


def write_corpus(folder: Path, people: int, seed: int = 0) -> Path:
    """Write two recordings of each person and their table, and return the table's path; a finished corpus is kept.

    Raises:
        UserError: the folder cannot be written.
    """
    table = folder / "recordings.csv"
    if table.is_file():
        return table
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            row
            for person in tqdm(range(people), desc="synthesise", unit="person")
            for row in _person(folder, person, seed)
        ]
        lines = io.StringIO()
        writer = csv.DictWriter(lines, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        write_whole(table, lines.getvalue())
    except (OSError, soundfile.LibsndfileError) as error:
        raise UserError(f"{folder}: cannot be written ({error}); name another --output") from error
    return table


def heart_sound(
    rng: np.random.Generator, *, pitch: str = "", timing: str = "", grading: str = ""
) -> NDArray[np.float32]:
    """(samples,) at 4 kHz: beats of a steady heart in noise, with a murmur if a pitch, timing and grading are named."""
    beat_s = 60.0 / rng.uniform(70, 130)
    systole_s = beat_s * rng.uniform(0.33, 0.42)
    samples = 0.01 * rng.standard_normal(round(DURATION_S * SAMPLE_RATE_HZ))
    first_hz, second_hz = rng.uniform(35, 55), rng.uniform(50, 80)
    for beat in np.arange(rng.uniform(0, beat_s), DURATION_S, beat_s):
        _add(samples, beat, _thump(first_hz, 0.1))
        _add(samples, beat + systole_s, 0.8 * _thump(second_hz, 0.07))
        if pitch:
            begin, end = TIMINGS[timing]
            murmur = _hiss(rng, BANDS_HZ[pitch], (end - begin) * (systole_s - 0.06))
            _add(samples, beat + 0.05 + begin * (systole_s - 0.06), LOUDNESS[grading] * murmur)
    return np.asarray(0.5 * samples / np.abs(samples).max(), dtype=np.float32)


def _person(folder: Path, person: int, seed: int) -> list[dict[str, str]]:
    rng = np.random.default_rng([seed, person])
    about = {
        "corpus": "synthetic",
        "group": f"person-{person:04d}",
        "split": "test" if person % 5 == 4 else "train",
        "modality": "heart",
        "event": "heart",
        "sex": str(rng.choice(["Female", "Male"])),
        "age": str(rng.choice(["Infant", "Child", "Adolescent"])),
        "murmur": "Absent",
    }
    sound: dict[str, str] = {}
    if rng.random() < MURMUR_SHARE:
        kinds = (BANDS_HZ, TIMINGS, LOUDNESS)
        sound = dict(zip(("pitch", "timing", "grading"), (str(rng.choice(list(kind))) for kind in kinds), strict=True))
        about |= {"murmur": "Present"} | {f"systolic_{name}": value for name, value in sound.items()}
    rows = []
    for site in ("MV", "PV"):
        name = f"{about['group']}_{site}.flac"
        soundfile.write(folder / name, heart_sound(rng, **sound), SAMPLE_RATE_HZ)
        rows.append({**about, "path": name, "site": site, "murmur_here": "1.0" if sound else "0.0"})
    return rows


def _thump(frequency_hz: float, duration_s: float) -> NDArray[np.float64]:
    time = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    swing: NDArray[np.float64] = np.sin(2 * np.pi * frequency_hz * time) * np.exp(-time / (duration_s / 4))
    return swing


def _hiss(rng: np.random.Generator, band_hz: tuple[int, int], duration_s: float) -> NDArray[np.float64]:
    length = max(8, round(duration_s * SAMPLE_RATE_HZ))
    noise = sosfilt(butter(2, band_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos"), rng.standard_normal(length))
    shaped: NDArray[np.float64] = noise / noise.std() * np.hanning(length)
    return shaped


def _add(samples: NDArray[np.float64], at_s: float, sound: NDArray[np.float64]) -> None:
    start = round(at_s * SAMPLE_RATE_HZ)
    room = len(samples) - start
    if room > 0:
        samples[start : start + len(sound)] += sound[:room]
