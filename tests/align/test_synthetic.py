"""The synthesised corpus: the same for the same seed, and a murmur is where its table says."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, sosfiltfilt

from align.corpora import read_table
from align.synthetic import BANDS_HZ, DURATION_S, LOUDNESS, SAMPLE_RATE_HZ, TIMINGS, heart_sound, write_corpus
from edge.errors import UserError


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def band_energy(sound: NDArray[np.float32], band_hz: tuple[int, int]) -> float:
    """Of the band, against all above the heart sounds' own pitch: free of the sound's overall level."""
    sections = butter(4, band_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    return float(np.square(sosfiltfilt(sections, sound)).mean() / np.square(sound).mean())


def test_same_seed_is_the_same_corpus_byte_for_byte_and_another_is_another(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        write_corpus(tmp_path / name, 6, seed)
    assert contents(tmp_path / "one") == contents(tmp_path / "same")
    assert contents(tmp_path / "one")["recordings.csv"] != contents(tmp_path / "other")["recordings.csv"]


def test_more_people_do_not_change_those_that_are_there(tmp_path: Path) -> None:
    few, many = (contents(write_corpus(tmp_path / str(count), count).parent) for count in (4, 8))
    assert all(many[name] == content for name, content in few.items() if name != "recordings.csv")


def test_corpus_is_a_table_of_people_with_a_split_each(tmp_path: Path) -> None:
    rows = read_table(write_corpus(tmp_path, 40))
    assert len(rows) == 80
    assert len({row.group for row in rows}) == 40
    assert {row.split for row in rows} == {"train", "test"}
    murmurs = {row.group for row in rows if row.metadata["murmur"] == "Present"}
    assert 5 < len(murmurs) < 25
    for row in rows:
        known = {"systolic_pitch", "systolic_timing", "systolic_grading"} & set(row.metadata)
        assert len(known) == (3 if row.group in murmurs else 0)


def test_finished_corpus_is_kept_and_an_unfinished_one_is_written_again(tmp_path: Path) -> None:
    table = write_corpus(tmp_path, 3)
    before = contents(tmp_path)
    table.unlink()
    write_corpus(tmp_path, 3)
    assert contents(tmp_path) == before
    table.write_text("mine")
    write_corpus(tmp_path, 3)
    assert table.read_text() == "mine"


def test_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/corpus: cannot be written .*; name another --output") as caught:
        write_corpus(tmp_path / "file" / "corpus", 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pitch", ["Medium", "High"])
@pytest.mark.parametrize("grading", list(LOUDNESS))
def test_murmur_has_more_energy_in_its_band_than_the_same_heart_without(pitch: str, grading: str) -> None:
    for seed in range(5):
        plain = heart_sound(np.random.default_rng(seed))
        loud = heart_sound(np.random.default_rng(seed), pitch=pitch, timing="Holosystolic", grading=grading)
        assert band_energy(loud, BANDS_HZ[pitch]) > 1.5 * band_energy(plain, BANDS_HZ[pitch])


def test_murmur_is_between_the_first_and_the_second_sound_and_early_or_late_as_named() -> None:
    """The same heart without a murmur tells where its sounds are: the shorter of two pauses follows the first."""
    low, high = (butter(4, band, "bandpass", fs=SAMPLE_RATE_HZ, output="sos") for band in ((20, 100), BANDS_HZ["High"]))
    plain = np.abs(sosfiltfilt(low, heart_sound(np.random.default_rng(3))))
    beats, _ = find_peaks(plain, height=0.2 * plain.max(), distance=0.15 * SAMPLE_RATE_HZ)
    pauses = list(pairwise(beats.tolist()))
    middle = np.mean([end - begin for begin, end in pauses])
    centres = {}
    for timing in TIMINGS:
        loud = heart_sound(np.random.default_rng(3), pitch="High", timing=timing, grading="III/VI")
        energy = np.square(sosfiltfilt(high, loud))
        systole = [energy[begin:end] for begin, end in pauses if end - begin < middle]
        diastole = [energy[begin:end] for begin, end in pauses if end - begin > middle]
        assert np.concatenate(systole).mean() > 10 * np.concatenate(diastole).mean()
        centres[timing] = np.mean([(part * np.linspace(0, 1, len(part))).sum() / part.sum() for part in systole])
    assert centres["Early-systolic"] < 0.4 < centres["Mid-systolic"] < 0.6
    assert 0.4 < centres["Holosystolic"] < 0.6


def test_sound_is_five_seconds_in_half_of_full_scale() -> None:
    sound = heart_sound(np.random.default_rng(0), pitch="Low", timing="Mid-systolic", grading="II/VI")
    assert sound.shape == (round(DURATION_S * SAMPLE_RATE_HZ),)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() == pytest.approx(0.5)


def test_table_says_of_each_recording_what_is_heard_in_it(tmp_path: Path) -> None:
    with write_corpus(tmp_path, 12).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["murmur_here"] == "1.0" for row in rows if row["murmur"] == "Present"} == {True}
    assert {row["systolic_pitch"] for row in rows if row["murmur"] == "Absent"} == {""}
