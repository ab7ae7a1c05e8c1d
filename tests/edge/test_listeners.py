"""Several sources in one run: each heard as by itself, one's failure not the others' end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edge.backends.base import Backend
from edge.bundle import Bundle
from edge.config import Settings
from edge.errors import AudioError
from edge.listeners import open_sources
from edge.pipeline import Model
from edge.sources.base import Block
from tests.brokers import eventually
from tests.wards import Fed, Stuck, Ward

Sounds = Callable[..., NDArray[np.float32]]


@pytest.fixture
def model(tiny_bundle: Bundle, tiny_backend: Backend) -> Model:
    return Model(tiny_bundle, tiny_backend)


def test_each_source_is_heard_by_itself_whatever_its_rate(model: Model, sounds: Sounds) -> None:
    first, second = Fed("first"), Fed("second", 48_000)
    ward = Ward(model, first, second)
    ward.listeners.start()
    first.feed(Block(0, sounds(16_000, 4.0, coughs=[1.0])[:, None]))
    second.feed(Block(0, sounds(48_000, 4.0, breaths=[2.0])[:, None]))
    ward.end()
    assert (ward.labels("first"), ward.labels("second")) == (["cough"], ["breath"])
    assert ward.found["second"][0].onset / 16_000 == pytest.approx(2.0, abs=0.06)


def test_source_that_turns_unusable_is_told_while_the_other_goes_on(model: Model, sounds: Sounds) -> None:
    good, bad = Fed("good"), Fed("bad")
    ward = Ward(model, good, bad)
    ward.listeners.start()
    bad.feed(Block(0, sounds(16_000, 2.0, coughs=[0.5])[:, None]), AudioError("the tape is torn"))
    eventually(lambda: ward.listeners.trouble == "bad: the tape is torn", "the trouble of one source")
    eventually(lambda: ward.labels("bad") == ["cough"], "what it had heard before")
    assert not ward.listeners.wait(0)
    good.feed(Block(0, sounds(16_000, 4.0, coughs=[1.0])[:, None]))
    eventually(lambda: ward.labels("good") == ["cough"], "the other source's event")
    ward.end()
    with pytest.raises(AudioError, match="the tape is torn"):
        ward.listeners.raise_error()


def test_trouble_that_a_live_source_tells_is_passed_on_and_passes(model: Model) -> None:
    fed = Fed("bed-12")
    ward = Ward(model, fed)
    ward.listeners.start()
    fed.trouble = "microphone unplugged"
    assert ward.listeners.trouble == "microphone unplugged"
    fed.trouble = ""
    assert ward.listeners.trouble == ""
    ward.end()


def test_observers_are_told_in_the_order_of_the_sound_and_their_failure_costs_nothing(
    model: Model, sounds: Sounds, logs: list[Any]
) -> None:
    fed = Fed("bed-12")
    ward = Ward(model, fed)
    told: list[str] = []

    def fail(*_: object) -> None:
        raise RuntimeError("disk full")

    ward.hooks.on_block += [fail, lambda listener, block: told.append(f"{listener.name} block {block.position}")]
    ward.hooks.on_window.append(lambda _listener, window: told.append(f"window {window.start}"))
    ward.hooks.on_scores.append(lambda _listener, chunk: told.append(f"scores {chunk.start_frame}"))
    ward.listeners.start()
    sound = sounds(16_000, 2.5, coughs=[1.0])[:, None]
    fed.feed(Block(0, sound[:32_000]), Block(32_000, sound[32_000:]))
    ward.end()
    scores = [entry for entry in told if entry.startswith("scores")]
    assert told == ["bed-12 block 0", "window 0", scores[0], "bed-12 block 32000", "window 8000", *scores[1:]]
    assert ward.labels("bed-12") == ["cough"]
    assert [entry["event"] for entry in logs].count("observer_failed") == 1


def test_live_source_that_cannot_be_followed_loses_its_oldest_sound_as_a_counted_gap(
    tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.backlog.LIVE_CAPACITY_S", 10.0)
    fed, stuck = Fed("bed-12"), Stuck(tiny_backend)
    ward = Ward(Model(tiny_bundle, stuck), fed, pace="live")
    (listener,) = ward.listeners
    ward.listeners.start()
    sound = sounds(16_000, 40.0, coughs=[1.0, 38.5])[:, None]
    blocks = [Block(at, sound[at : at + 8_000]) for at in range(0, len(sound), 8_000)]
    fed.feed(*blocks[:4])
    eventually(lambda: stuck.asked == 1, "the first window with the runtime")
    fed.feed(*blocks[4:])
    eventually(lambda: listener.backlog.waiting_s + listener.backlog.dropped_s == 38.0, "the rest in the backlog")
    dropped_s = listener.backlog.dropped_s
    assert dropped_s >= 28.0
    stuck.gate.set()
    eventually(lambda: listener.backlog.waiting_s == 0, "the end of the lag")
    assert ward.listeners.trouble == "analysis cannot keep up: sound was dropped"
    ward.end()
    # The first cough came before the runtime was stuck, the last one in the newest sound.
    assert [event.onset / 16_000 for event in ward.found["bed-12"]] == pytest.approx([1.0, 38.5], abs=0.06)
    assert ward.told_s("bed-12") == (40.0 - dropped_s, dropped_s)


def test_live_source_that_is_behind_is_heard_at_a_wider_hop(
    model: Model, sounds: Sounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.pacing.BEHIND_S", -1.0)
    fed = Fed("bed-12")
    ward = Ward(model, fed, pace="live")
    starts: list[int] = []
    ward.hooks.on_window.append(lambda _listener, window: starts.append(window.start))
    ward.listeners.start()
    sound = sounds(16_000, 30.0, coughs=[1.0, 11.0, 29.0])[:, None]
    fed.feed(*(Block(at, sound[at : at + 8_000]) for at in range(0, len(sound), 8_000)))
    eventually(lambda: len(ward.found["bed-12"]) >= 2, "events in spite of it")
    assert ward.listeners.trouble == "analysis falls behind: windows 4 times as far apart"
    ward.end()
    assert [event.onset / 16_000 for event in ward.found["bed-12"]] == pytest.approx([1.0, 11.0, 29.0], abs=0.06)
    assert set(np.diff(starts).tolist()) == {32_000}
    assert ward.told_s("bed-12") == (30.0, 0.0)


def test_file_that_cannot_be_followed_waits_and_is_heard_whole_at_its_own_hop(
    tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.listener._LAG_S", 0.0)
    fed, stuck = Fed("bed-12"), Stuck(tiny_backend)
    ward = Ward(Model(tiny_bundle, stuck), fed, pace="realtime")
    starts: list[int] = []
    ward.hooks.on_window.append(lambda _listener, window: starts.append(window.start))
    ward.listeners.start()
    sound = sounds(16_000, 30.0, coughs=[1.0, 15.0, 29.0])[:, None]
    for at in range(0, len(sound), 8_000):
        fed.feed(Block(at, sound[at : at + 8_000]))
    eventually(lambda: ward.listeners.trouble == "analysis falls behind", "the lag in the status")
    stuck.gate.set()
    ward.end()
    assert len(ward.labels("bed-12")) == 3
    assert ward.told_s("bed-12") == (30.0, 0.0)
    assert starts == list(range(0, 448_001, 8_000))


def settings_of(*paths: Path) -> Settings:
    sources = [{"name": f"bed-{n}", "kind": "file", "path": str(path), "pace": "fast"} for n, path in enumerate(paths)]
    return Settings.model_validate({"sources": sources})


def test_open_sources_goes_on_without_one_of_several_but_not_without_all(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    missing = tmp_path / "no.wav"
    opened = open_sources(settings_of(missing, tmp_path / "a.wav"))
    assert [(name, pace) for name, pace, _ in opened] == [("bed-0", "fast"), ("bed-1", "fast")]
    with pytest.raises(AudioError, match=r"no\.wav: no such file"):
        next(opened[0][2].blocks())
    with pytest.raises(AudioError, match=r"no\.wav: no such file"):
        open_sources(settings_of(missing, missing))


def test_source_that_falls_silent_without_a_word_is_stuck_but_one_that_tells_its_trouble_is_looked_after(
    model: Model, sounds: Sounds
) -> None:
    fed = Fed("bed-12")
    fed.trouble = "no microphone"
    ward = Ward(model, fed, pace="live")
    ward.listeners.start()
    assert ward.listeners.stuck(silence_s=-1.0) == ""
    fed.trouble = ""
    assert ward.listeners.stuck(silence_s=-1.0) == "bed-12: the source has fallen silent"
    assert ward.listeners.stuck(silence_s=3_600.0) == ""
    ward.end()
    assert ward.listeners.stuck(silence_s=-1.0) == ""


def test_pipe_that_falls_silent_is_stuck_whatever_it_tells_for_nobody_starts_its_recorder_anew(model: Model) -> None:
    fed = Fed("stdin")
    fed.trouble = "nothing on standard input for 5 s"
    ward = Ward(model, fed, pace="realtime")
    ward.listeners.start()
    assert ward.listeners.stuck(silence_s=-1.0) == "stdin: the source has fallen silent"
    ward.end()


def test_analysis_that_does_not_go_on_is_stuck(
    tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.listener._STUCK_S", 0.0)
    fed, stuck = Fed("bed-12"), Stuck(tiny_backend)
    ward = Ward(Model(tiny_bundle, stuck), fed)
    ward.listeners.start()
    fed.feed(Block(0, sounds(16_000, 3.0)[:, None]))
    told = "bed-12: the analysis does not go on"
    eventually(lambda: ward.listeners.stuck(silence_s=3_600.0) == told, "a stuck analysis")
    stuck.gate.set()
    eventually(lambda: ward.listeners.stuck(silence_s=3_600.0) == "", "the analysis going on")
    ward.end()


def test_what_was_heard_before_a_source_broke_off_is_told_while_it_is_away(model: Model, sounds: Sounds) -> None:
    fed = Fed("bed-12")
    ward = Ward(model, fed, pace="live")
    ward.listeners.start()
    fed.feed(Block(0, sounds(16_000, 2.3, coughs=[1.9])[:, None]))
    eventually(lambda: ward.listeners.last_inference_at is not None, "the first window")
    assert ward.labels("bed-12") == []
    fed.trouble = "microphone unplugged"
    eventually(lambda: ward.labels("bed-12") == ["cough"], "the cough at the end")
    # It comes back at once, as far as its samples tell, and is heard on.
    fed.trouble = ""
    fed.feed(Block(36_800, sounds(16_000, 4.0, coughs=[1.0])[:, None]))
    eventually(lambda: ward.labels("bed-12") == ["cough", "cough"], "the cough after it came back")
    ward.end()
    assert ward.told_s("bed-12") == (pytest.approx(6.3), 0.0)


def test_defect_in_one_listener_is_told_apart_from_a_source_that_turned_unusable(model: Model) -> None:
    first, second, third = Fed("first"), Fed("second"), Fed("third")
    ward = Ward(model, first, second, third)
    ward.listeners.start()
    first.feed(AudioError("the tape is torn"))
    eventually(lambda: ward.listeners.trouble == "first: the tape is torn", "the first one's trouble")
    assert ward.listeners.defect is None
    second.feed(ZeroDivisionError("a defect"))
    eventually(lambda: ward.listeners.defect is not None, "the defect")
    third.feed(Block(16_000, np.zeros((100, 1), np.float32)), Block(0, np.zeros((100, 1), np.float32)))
    eventually(lambda: "third: third: the sound jumps back" in ward.listeners.trouble, "the third one's trouble")
    assert ward.listeners.lag_s == 0.0
    ward.end()
    with pytest.raises(ZeroDivisionError, match="a defect"):
        ward.listeners.raise_error()
