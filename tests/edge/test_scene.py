import numpy as np
import pytest

from edge import synthesis
from edge.scene import Scene, SceneEvent, compose_scene
from edge.synthesis import SAMPLE_RATE_HZ

SEEDS = range(5)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [compose_scene(60.0, seed) for seed in SEEDS]


def _level_dbfs(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


def _cut(scene: Scene, event: SceneEvent) -> np.ndarray:
    return scene.samples[round(event.onset_s * SAMPLE_RATE_HZ) : round(event.offset_s * SAMPLE_RATE_HZ)]


def _power(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    frequency_hz = np.fft.rfftfreq(samples.size, 1 / SAMPLE_RATE_HZ)
    return float(spectrum[(frequency_hz >= low_hz) & (frequency_hz < high_hz)].mean())


@pytest.mark.parametrize("duration_s", [0.01, 1.0, 7.3, 30.0])
def test_scene_has_the_length_asked_for(duration_s: float) -> None:
    scene = compose_scene(duration_s)
    assert scene.samples.shape == (round(duration_s * SAMPLE_RATE_HZ),)
    assert scene.samples.dtype == np.float32
    assert scene.duration_s == pytest.approx(duration_s, abs=1e-4)


def test_scene_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    one, again, other = compose_scene(20.0, 3), compose_scene(20.0, 3), compose_scene(20.0, 4)
    assert np.array_equal(one.samples, again.samples)
    assert one.events == again.events
    assert one.events != other.events


def test_scene_of_a_minute_holds_every_kind_of_sound(scenes: list[Scene]) -> None:
    for label in ("cough", "breath", "speech", "knock"):
        assert any(scene.of(label) for scene in scenes)
    assert all(len(scene.of("cough")) >= 5 for scene in scenes)


def test_scene_events_are_in_order_inside_the_scene_and_do_not_overlap(scenes: list[Scene]) -> None:
    for scene in scenes:
        times_s = [t for event in scene.events for t in (event.onset_s, event.offset_s)]
        assert times_s == sorted(times_s)
        assert times_s[0] >= 0
        assert times_s[-1] <= scene.duration_s


def test_scene_coughs_are_far_enough_apart_to_be_counted(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert np.diff([event.onset_s for event in scene.of("cough")]).min() >= 0.45


def test_scene_onsets_are_where_the_sound_sets_in(scenes: list[Scene]) -> None:
    """Within 30 ms of its onset a cough or a knock stands 12 dB above the room, and not before."""
    for scene in scenes:
        previous_s = 0.0
        for event in scene.events:
            start = round(event.onset_s * SAMPLE_RATE_HZ)
            quiet = event.onset_s - previous_s > 0.6
            previous_s = event.offset_s
            if event.label not in ("cough", "knock") or not quiet:
                continue
            before, after = scene.samples[start - 480 : start], scene.samples[start : start + 480]
            assert _level_dbfs(after) - _level_dbfs(before) > 12


def test_scene_levels_are_those_of_a_room(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert np.abs(scene.samples).max() < 1.0
        coughs = [_level_dbfs(_cut(scene, event)) for event in scene.of("cough")]
        assert min(coughs) > -34
        assert max(coughs) < -14
        assert _level_dbfs(scene.samples[: round((scene.events[0].onset_s - 0.01) * SAMPLE_RATE_HZ)]) == pytest.approx(
            -45, abs=1.5
        )


def test_scene_ambience_follows_its_level() -> None:
    assert _level_dbfs(compose_scene(1.0, ambience_dbfs=-60.0).samples) == pytest.approx(-60, abs=0.5)


def test_cough_lasts_as_long_as_the_literature_says_and_begins_with_its_loudest_part() -> None:
    rng = np.random.default_rng(0)
    coughs = [synthesis.cough(rng, voiced=0.0) for _ in range(50)]
    durations_s = [cough.size / SAMPLE_RATE_HZ for cough in coughs]
    assert min(durations_s) >= 0.25
    assert max(durations_s) <= 0.7
    assert max(durations_s) - min(durations_s) > 0.2
    for cough in coughs:
        burst = cough[: SAMPLE_RATE_HZ // 15]
        assert _level_dbfs(burst) > _level_dbfs(cough[burst.size :])


def test_cough_is_broadband_and_falls_towards_high_frequencies() -> None:
    rng = np.random.default_rng(1)
    coughs = np.concatenate([synthesis.cough(rng) for _ in range(50)])
    middle = _power(coughs, 300, 2000)
    assert _power(coughs, 20, 80) < 0.05 * middle
    assert 1e-4 * middle < _power(coughs, 5000, 7500) < 0.1 * middle


def test_speech_is_voiced_and_breath_is_not() -> None:
    """Voice repeats itself after one period of its pitch: a peak of the autocorrelation that noise has not."""
    rng = np.random.default_rng(2)

    def periodicity(sound: np.ndarray) -> float:
        frames = sound[: sound.size // 1024 * 1024].reshape(-1, 1024)
        loud = frames[np.argsort(np.mean(frames**2, axis=1))[-5:]]
        peaks = []
        for frame in loud:
            correlation = np.correlate(frame, frame, "full")[1023:]
            peaks.append(correlation[60:200].max() / correlation[0])
        return float(np.median(peaks))

    assert min(periodicity(synthesis.speech(rng, 2.0)) for _ in range(5)) > 0.5
    assert max(periodicity(synthesis.breath(rng)) for _ in range(5)) < 0.5


@pytest.mark.parametrize("name", ["cough", "breath", "knock"])
def test_sounds_have_peak_1_and_begin_and_end_in_silence(name: str) -> None:
    sound = getattr(synthesis, name)(np.random.default_rng(0))
    assert np.abs(sound).max() == 1.0
    assert sound[0] == sound[-1] == 0.0
    assert sound.dtype == np.float32


def test_room_response_begins_with_the_direct_sound_and_dies_away() -> None:
    for seed in SEEDS:
        response = synthesis.room_response(np.random.default_rng(seed))
        assert response[0] == 1.0 == np.abs(response).max()
        energy = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
        assert energy[response.size // 2] < 0.05 * energy[0]


def test_convolve_agrees_with_numpy() -> None:
    rng = np.random.default_rng(0)
    sound, response = (rng.standard_normal(n).astype(np.float32) for n in (1000, 77))
    assert synthesis.convolve(sound, response) == pytest.approx(np.convolve(sound, response), abs=1e-4)
