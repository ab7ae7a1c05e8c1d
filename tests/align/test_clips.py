"""Recordings opened from a table or from what `align.prepare` left: the same of either, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align.clips import crop, open_clips
from align.corpora import CorpusError
from align.preparation import prepare
from tests.preparing import HEADER, corpus, settings
from tests.recordings import clips_of, noise
from tests.sounds import write_sound, write_text


def copies(folder: Path, count: int) -> Path:
    """A table of `count` names of one sound, a person each."""
    sound = write_sound(folder / "sound.wav")
    for number in range(count):
        (folder / f"{number}.wav").hardlink_to(sound)
    lines = (f"{number}.wav,person-{number},train,cough,,,," for number in range(count))
    return write_text(folder / "recordings.csv", HEADER, *lines)


def break_file(path: Path) -> None:
    """In place of the file, not inside: its copies are links to the same bytes."""
    path.unlink()
    path.write_bytes(b"")


@pytest.mark.parametrize("root", ["in", "in/recordings.csv"])
def test_prepared_folder_holds_what_its_table_does(tmp_path: Path, root: str) -> None:
    folder = corpus(tmp_path / "in")
    prepare(settings(tmp_path / root, tmp_path / "out"))
    table, prepared = open_clips(folder / "recordings.csv", 16000), open_clips(tmp_path / "out", 16000)
    assert sorted(prepared.keys) == sorted(table.keys) == ["a.wav", "b.wav", "deep.er/c.wav"]
    for index, key in enumerate(table.keys):
        place = prepared.keys.index(key)
        np.testing.assert_array_equal(prepared.samples(place), table.samples(index))
        one, other = prepared.rows[place], table.rows[index]
        assert (one.corpus, one.group, one.split, one.event) == (other.corpus, other.group, other.split, other.event)
        assert (one.modality, one.licence, one.metadata) == (other.modality, other.licence, other.metadata)
        assert one.times_s == other.times_s


def test_prepared_recordings_of_several_shards_and_an_empty_split_are_in_their_places(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for number in range(130):
        write_sound(root / f"{number}.wav", (number + 1) / 1000)
    lines = [f"{number}.wav,person-{number},train,cough,,,," for number in range(130)]
    write_text(root / "recordings.csv", HEADER, "gone.wav,eve,validation,cough,,,,", *lines)
    prepare(settings(root, tmp_path / "out", sample_rate_hz=4000))
    clips = open_clips(tmp_path / "out", 4000)
    assert len(clips) == 130
    for index, key in enumerate(clips.keys):
        assert len(clips.samples(index)) == 4 * (int(Path(key).stem) + 1)


def test_samples_are_resampled_to_the_rate_asked_for(tmp_path: Path) -> None:
    clips = open_clips(corpus(tmp_path) / "recordings.csv", 4000)
    assert {key: len(clips.samples(index)) for index, key in enumerate(clips.keys)} == {
        "a.wav": 2000,
        "b.wav": 2000,
        "deep.er/c.wav": 1000,
    }
    assert clips.samples(0).dtype == np.int16


def test_one_bad_file_in_a_hundred_is_skipped_and_listed(tmp_path: Path) -> None:
    table = copies(tmp_path, 100)
    break_file(tmp_path / "7.wav")
    clips = open_clips(table, 4000)
    assert len(clips) == 99
    assert "7.wav" not in clips.keys
    (told,) = clips.skipped
    assert told.startswith(f"{tmp_path / '7.wav'}: cannot be decoded")


def test_more_than_one_bad_file_in_a_hundred_is_refused_naming_the_first(tmp_path: Path) -> None:
    table = copies(tmp_path, 100)
    break_file(tmp_path / "7.wav")
    break_file(tmp_path / "60.wav")
    with pytest.raises(CorpusError, match=r"2 of 100 recordings cannot be used, more than 1%; the first: .*/7\.wav"):
        open_clips(table, 4000)


def test_folder_prepared_at_another_rate_is_refused(tmp_path: Path) -> None:
    prepare(settings(corpus(tmp_path / "in"), tmp_path / "out"))
    with pytest.raises(CorpusError, match=r"prepared at 16000 Hz, the encoder hears 4000 Hz; .* --sample_rate_hz 4000"):
        open_clips(tmp_path / "out", 4000)


def test_folder_that_no_preparation_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"holds no finished preparation; run python -m align.prepare"):
        open_clips(tmp_path, 4000)


def test_only_the_corpora_named_are_opened_from_either_source(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name in ("a", "b", "c"):
        write_sound(root / f"{name}.wav")
    lines = ("a.wav,ann,train,one", "b.wav,bob,train,two", "c.wav,cid,test,one")
    table = write_text(root / "recordings.csv", "path,group,split,corpus", *lines)
    prepare(settings(root, tmp_path / "out", sample_rate_hz=4000))
    for source in (table, tmp_path / "out"):
        clips = open_clips(source, 4000, ["one"])
        assert clips.keys == ["a.wav", "c.wav"]
        assert [row.group for row in clips.rows] == ["ann", "cid"]
        with pytest.raises(CorpusError, match=f"^{source}: no corpus six, three$"):
            open_clips(source, 4000, ["one", "three", "six"])


def test_person_in_two_splits_is_refused(tmp_path: Path) -> None:
    table = corpus(tmp_path) / "recordings.csv"
    table.write_text(table.read_text().replace("b.wav,bob", "b.wav,ann"))
    with pytest.raises(CorpusError, match="group ann is in train and in test; keep a person in one split"):
        open_clips(table, 4000)


def test_kept_recordings_keep_names_and_samples_however_often_they_are_picked() -> None:
    clips = clips_of([noise(10 + number, number) for number in range(5)])
    kept = clips.keep([4, 1, 3]).keep([2, 0])
    assert kept.keys == ["3.wav", "4.wav"]
    assert [row.group for row in kept.rows] == ["person-3", "person-4"]
    assert [len(kept.samples(index)) for index in range(2)] == [13, 14]


def test_crop_is_in_a_circle_and_in_full_scale() -> None:
    samples = np.array([0, 16384, -32768, 8192], np.int16)
    np.testing.assert_array_equal(crop(samples, 2, 1), np.array([0.5, -1.0], np.float32))
    np.testing.assert_array_equal(crop(samples, 3, 3), np.array([0.25, 0.0, 0.5], np.float32))
    np.testing.assert_array_equal(crop(samples, 9, 0), np.tile([0.0, 0.5, -1.0, 0.25], 3)[:9])
    assert crop(samples, 9, 2).dtype == np.float32
