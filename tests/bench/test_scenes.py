"""Hours of talk hold each recording as often as the others, and the program counts the coughs heard in them."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from align.corpora import Recording
from bench import scenes
from bench.speech import PAUSE_S, Talk, speech_lines
from edge import synthesis
from quantize.scenes import SCENE_S, Composer, Scene

RATE = 16_000


def _row(name: str, event: str, times: tuple[tuple[float, float], ...] = ()) -> Recording:
    return Recording(Path(f"{name}.flac"), "own", name, "test", "airborne", event, times_s=times)


@pytest.fixture
def composer() -> Composer:
    """A cough, and three people who speak for 7, 11 and 13 s."""
    rng = np.random.default_rng(0)
    clips = [(_row("cough", "cough", ((0.5, 0.9),)), np.ones(RATE, dtype=np.float32))]
    for name, seconds in (("ada", 7), ("ben", 11), ("cem", 13)):
        clips.append((_row(name, "speech"), rng.standard_normal(seconds * RATE).astype(np.float32)))
    return Composer(clips, "cough", RATE)


def test_somebody_always_speaks_and_each_as_often_as_the_others(composer: Composer) -> None:
    talk = Talk(composer, seed=3)
    both = [talk.scene(), talk.scene()]
    order = [placed.sound.kind for scene in both for placed in scene.placed]
    rounds = [order[at : at + 3] for at in range(0, len(order) - 2, 3)]
    assert len(rounds) > 30
    assert all(sorted(spoken) == ["own/ada.flac", "own/ben.flac", "own/cem.flac"] for spoken in rounds)
    assert len({tuple(spoken) for spoken in rounds}) > 3
    for scene in both:
        pauses = [after.start_s - before.stop_s for before, after in pairwise(scene.placed)]
        assert min(pauses) >= PAUSE_S[0] - 1e-4
        assert max(pauses) <= PAUSE_S[1] + 1e-4
        assert scene.placed[0].start_s == 0.0
        assert scene.placed[-1].stop_s > SCENE_S - 14


def test_talk_is_louder_than_what_lies_under_it(composer: Composer) -> None:
    scene = Talk(composer, seed=3).scene()

    def level_db(start_s: float, stop_s: float) -> float:
        piece: NDArray[np.float32] = scene.samples[round(start_s * RATE) : round(stop_s * RATE)]
        return float(10 * np.log10(np.mean(np.square(piece))))

    for before, after in pairwise(scene.placed):
        assert level_db(before.start_s, before.stop_s) > level_db(before.stop_s, after.start_s) + 6


def test_the_same_seed_gives_the_same_talk(composer: Composer) -> None:
    first, again, other = (Talk(composer, seed).scene() for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)


def test_false_coughs_are_counted_an_hour_of_speech_and_laid_at_a_recording(composer: Composer) -> None:
    def hear(scene: Scene) -> list[float]:
        return [next(placed.start_s for placed in scene.placed[1:] if placed.sound.kind == "own/ben.flac") + 1.0]

    title, *causes = speech_lines(composer, 0.3, 3, hear)
    # Two scenes of nearly 600 s; the interval is the exact one of two Poisson events, 0.242 to 7.225.
    assert title.startswith("speech: 0.3 h, 0.5 minutes of 3 people over and over; 2 false coughs, 6.2")
    low, high = (float(part) for part in title.split("[")[1].rstrip("]").split(", "))
    assert high / low == pytest.approx(7.225 / 0.242, rel=0.02)
    assert causes == ["     2  own/ben.flac"]


def test_no_speech_is_told(composer: Composer) -> None:
    del composer.by_kind["speech"]
    assert speech_lines(composer, 1.0, 0, lambda _scene: []) == ["speech: no test recording of it"]


def test_program_prints_scenes_and_speech(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(5)
    with (tmp_path / "recordings.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "corpus", "group", "split", "modality", "event", "cough_times"])
        for name, sound, times in (
            ("cough", synthesis.cough(rng), "0.20-0.50"),
            ("speech", synthesis.speech(rng, 3.0), ""),
        ):
            samples = np.concatenate([np.zeros(RATE // 5), 0.3 * sound / np.abs(sound).max()])
            soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
            writer.writerow([f"{name}.wav", "own", name, "test", "airborne", name, times])
    table = tmp_path / "recordings.csv"
    monkeypatch.setattr("sys.argv", ["bench.scenes", f"--recordings={table}", "--hours=0.1"])
    with pytest.raises(SystemExit) as ended:
        scenes.main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "0.2 h in 1 scenes, " in printed
    assert "speech: 0.2 h, 0.1 minutes of 1 people over and over;" in printed
