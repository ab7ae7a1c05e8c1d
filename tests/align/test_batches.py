"""Batches of a training as a function of seed and step: stopped, shared, or neither, they are the same."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from align.batches import BatchStream, Draw, TrainingClips
from tests.recordings import clips_of, noise


def batches(first_step: int = 0, *, steps: int = 20, seed: int = 3, batch: int = 4, **share: int) -> list[list[Draw]]:
    return list(BatchStream(26, batch, seed=seed, first_step=first_step, steps=steps, **share))


@pytest.mark.parametrize("stopped", [1, 5, 6, 7, 19, 20])
def test_stream_stopped_anywhere_goes_on_with_the_batches_of_the_whole(stopped: int) -> None:
    assert batches(stopped) == batches()[stopped:]


def test_processes_divide_each_batch_of_one_process() -> None:
    parts = [batches(batch=4, rank=rank, world=3, steps=6) for rank in range(3)]
    assert [list(chain(*step)) for step in zip(*parts, strict=True)] == batches(batch=12, steps=6)


def test_every_recording_is_heard_at_most_once_an_epoch_and_each_epoch_has_its_order() -> None:
    epochs = [list(chain(*batches()[first : first + 6])) for first in (0, 6, 12)]
    for epoch in epochs:
        assert len({draw.recording for draw in epoch}) == 24
        assert {draw.recording for draw in epoch} <= set(range(26))
    orders = {tuple(draw.recording for draw in epoch) for epoch in epochs}
    assert len(orders) == 3


def test_recording_has_another_seed_in_every_epoch_and_training() -> None:
    drawn = [draw for run in (batches(), batches(seed=4)) for draw in chain(*run)]
    assert len({draw.seed for draw in drawn}) == len(drawn)


def test_stream_tells_how_many_batches_the_whole_training_has() -> None:
    assert len(BatchStream(26, 4, seed=0, first_step=5, steps=20)) == 20


def test_fewer_recordings_than_a_batch_of_all_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="26 recordings do not fill a batch of 28"):
        batches(batch=14, world=2)


def test_clip_is_a_piece_of_its_recording_chosen_by_its_seed_alone() -> None:
    long = np.arange(30000, dtype=np.int16)
    clips = TrainingClips(clips_of([noise(5), long]), 100)
    found = [clips[Draw(1, seed)] for seed in (8, 8, 9)]
    starts = [round(float(batch.waveform[0]) * 32768) for batch in found]
    assert starts[0] == starts[1] != starts[2]
    for batch, start in zip(found, starts, strict=True):
        np.testing.assert_array_equal(batch.waveform.numpy() * 32768, long[start : start + 100])
    assert [int(batch.recording) for batch in found] == [1, 1, 1]
    assert [int(batch.seed) for batch in found] == [8, 8, 9]


@pytest.mark.parametrize("length", [7, 100, 130])
def test_recording_of_about_a_clip_or_less_is_heard_in_a_circle_from_anywhere(length: int) -> None:
    samples = np.arange(length, dtype=np.int16)
    clips = TrainingClips(clips_of([samples]), 100)
    starts = set()
    for seed in range(2000):
        heard = (clips[Draw(0, seed)].waveform.numpy() * 32768).astype(int)
        starts.add(int(heard[0]))
        np.testing.assert_array_equal(heard, (heard[0] + np.arange(100)) % length)
    assert starts == set(range(length))


def test_long_recording_is_heard_from_its_first_to_its_last_sample() -> None:
    samples = np.arange(250, dtype=np.int16)
    clips = TrainingClips(clips_of([samples]), 100)
    starts = {round(float(clips[Draw(0, seed)].waveform[0]) * 32768) for seed in range(3000)}
    assert starts == set(range(151))
