"""Recordings of a folder come one after the other, apart from each other, at one rate."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from edge.errors import AudioError
from edge.sources.folder import FolderSource


def noise(frames: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(frames).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)


def write(path, samples, rate_hz=16_000) -> None:
    soundfile.write(path, samples, rate_hz, subtype="FLOAT" if path.suffix == ".wav" else None)


def hear(source: FolderSource) -> list[tuple[int, np.ndarray]]:
    """Stretches without a gap: where each begins, and its samples."""
    stretches: list[tuple[int, list[np.ndarray]]] = []
    end = None
    for block in source.blocks():
        assert block.samples.shape[1] == source.channels == 1
        if block.position != end:
            stretches.append((block.position, []))
        stretches[-1][1].append(block.samples[:, 0])
        end = block.position + len(block.samples)
    return [(begin, np.concatenate(parts)) for begin, parts in stretches]


def test_recordings_come_in_the_order_of_their_names_with_a_gap_between_them(tmp_path):
    second, first = noise(20_000), noise(12_345)
    write(tmp_path / "b.wav", second)
    write(tmp_path / "a.wav", first)
    (tmp_path / "notes.txt").write_text("the cough at two was the nurse's")
    (tmp_path / "c.wav.d").mkdir()
    source = FolderSource(tmp_path)
    assert (source.name, source.sample_rate_hz, source.trouble) == (f"folder:{tmp_path.name}", 16_000, "")
    (begin, heard), (next_begin, next_heard) = hear(source)
    assert (begin, next_begin) == (0, 12_345 + 16_000)
    assert np.array_equal(heard, first[:, 0])
    assert np.array_equal(next_heard, second[:, 0])


def test_recording_of_another_rate_is_resampled_and_the_channel_is_chosen_in_each(tmp_path):
    stereo = noise(8_000, 2)
    write(tmp_path / "a.wav", stereo, 8_000)
    t = np.arange(48_000) / 48_000
    tone = np.sin(2 * np.pi * 100 * t).astype(np.float32)
    write(tmp_path / "b.wav", np.stack([np.zeros_like(tone), 0.5 * tone], axis=1), 48_000)
    source = FolderSource(tmp_path, channel=2)
    (_, first), (_, second) = hear(source)
    assert source.sample_rate_hz == 8_000
    assert np.array_equal(first, stereo[:, 1])
    expected = 0.5 * np.sin(2 * np.pi * 100 * np.arange(len(second)) / 8_000)
    assert len(second) > 7_500
    assert np.allclose(second[400:-400], expected[400:-400], atol=2e-3)


def test_recording_that_cannot_be_used_is_logged_and_the_others_are_heard(tmp_path, logs):
    (tmp_path / "a.wav").write_text("no sound at all")
    write(tmp_path / "b.wav", noise(100))
    damaged = noise(20_000)
    damaged[15_000] = np.nan
    write(tmp_path / "c.wav", damaged)
    write(tmp_path / "d.flac", noise(300))
    assert [len(heard) for _, heard in hear(FolderSource(tmp_path))] == [100, 15_000, 300]
    assert [entry["file"] for entry in logs] == [str(tmp_path / "a.wav"), str(tmp_path / "c.wav")]


def test_closing_ends_it_in_the_middle(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.wav", noise(40_000))
    source = FolderSource(tmp_path, pace="realtime")
    blocks = source.blocks()
    next(blocks)
    source.close()
    assert list(blocks) == []


def test_folder_that_cannot_be_used_says_why(tmp_path):
    with pytest.raises(AudioError, match="holds no recording"):
        FolderSource(tmp_path)
    with pytest.raises(AudioError, match="no such folder"):
        FolderSource(tmp_path / "absent")
    (tmp_path / "a.wav").write_text("no sound at all")
    with pytest.raises(AudioError, match=r"a file, not a folder: set source\.kind to file"):
        FolderSource(tmp_path / "a.wav")
    with pytest.raises(AudioError, match=r"a\.wav: not a sound file"):
        FolderSource(tmp_path)


def test_folder_whose_recordings_lack_the_channel_says_so(tmp_path):
    write(tmp_path / "a.wav", noise(100))
    with pytest.raises(AudioError, match="none of its 1 recordings could be used"):
        hear(FolderSource(tmp_path, channel=2))


def test_rate_is_that_of_the_first_sound_that_can_be_used(tmp_path):
    """The first file has no second channel, and another rate."""
    write(tmp_path / "a.wav", noise(48_000), 48_000)
    stereo = noise(32_000, 2)
    write(tmp_path / "b.wav", stereo, 16_000)
    source = FolderSource(tmp_path, channel=2)
    ((_, heard),) = hear(source)
    assert source.sample_rate_hz == 16_000
    assert np.array_equal(heard, stereo[:, 1])
