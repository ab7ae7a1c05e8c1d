"""The bundle for contact audio that ships, on synthesised hearts: it proves itself, and reports only what lasts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from edge.backends import open_backend
from edge.bundle import Bundle, check_golden, find_bundle, load_bundle
from tests.brokers import Broker, Subscriber, eventually
from tests.programs import Daemon

ROOT = Path(__file__).parents[2]
RATE_HZ = 4000


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(find_bundle("auscultation"))


def heart(seconds: float, *, murmur: float, seed: int = 0) -> NDArray[np.float64]:
    """(samples,) at 4 kHz: 90 beats a minute, with noise as loud as `murmur` between first and second sound."""
    random = np.random.default_rng(seed)
    sound = 0.002 * random.standard_normal(round(seconds * RATE_HZ))
    hiss = random.standard_normal(len(sound))
    spectrum = np.fft.rfft(hiss)
    hertz = np.fft.rfftfreq(len(hiss), 1 / RATE_HZ)
    spectrum[(hertz < 120) | (hertz > 400)] = 0
    hiss = np.fft.irfft(spectrum, len(hiss))
    hiss /= hiss.std()
    for beat in np.arange(0.1, seconds - 0.6, 2 / 3):
        for at, hz, level in ((0.0, 45, 1.0), (0.3, 60, 0.7)):
            time = np.arange(round(0.1 * RATE_HZ)) / RATE_HZ
            start = round((beat + at) * RATE_HZ)
            sound[start : start + len(time)] += 0.3 * level * np.sin(2 * np.pi * hz * time) * np.exp(-time / 0.025)
        start, stop = round((beat + 0.06) * RATE_HZ), round((beat + 0.28) * RATE_HZ)
        sound[start:stop] += 0.3 * murmur * hiss[start:stop] * np.hanning(stop - start)
    return sound


def replay(path: Path) -> list[dict[str, object]]:
    command = [sys.executable, "-m", "edge", "replay", "--bundle.path", "auscultation", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_bundle_gives_its_golden_outputs(bundle: Bundle) -> None:
    check_golden(bundle, open_backend(bundle))


def test_bundle_is_for_contact_audio_at_4_khz_and_says_what_it_is_worth(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert (manifest.name, manifest.modality, manifest.front_end.sample_rate_hz) == ("auscultation", "contact", RATE_HZ)
    assert [label.name for label in manifest.labels] == ["murmur"]
    assert [(corpus.name, corpus.licence) for corpus in manifest.corpora] == [("circor", "ODC-By-1.0")]
    murmur = next(metric for metric in manifest.metrics if metric.name == "auroc_murmur_people")
    assert murmur.value >= 0.9
    assert murmur.low is not None
    assert murmur.high is not None


@pytest.mark.parametrize("rate_hz", [2000, 44_100])
def test_murmur_that_lasts_is_an_event_at_any_rate(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "heart.wav"
    soundfile.write(path, soxr.resample(heart(40.0, murmur=0.2), RATE_HZ, rate_hz), rate_hz)
    events = replay(path)
    assert [event["label"] for event in events] == ["murmur"] * len(events)
    assert events
    assert all(event["duration_s"] >= 6.0 for event in events)  # type: ignore[operator]
    assert len(events) <= 3


@pytest.mark.parametrize("rate_hz", [2000, 44_100])
def test_heart_without_a_murmur_is_no_event(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "heart.wav"
    soundfile.write(path, soxr.resample(heart(40.0, murmur=0.0), RATE_HZ, rate_hz), rate_hz)
    assert replay(path) == []


def test_murmur_of_two_seconds_is_no_event(tmp_path: Path) -> None:
    sound = heart(40.0, murmur=0.0)
    loud = heart(40.0, murmur=0.2)
    sound[20 * RATE_HZ : 22 * RATE_HZ] = loud[20 * RATE_HZ : 22 * RATE_HZ]
    soundfile.write(tmp_path / "heart.wav", sound, RATE_HZ)
    assert replay(tmp_path / "heart.wav") == []


@pytest.mark.broker
def test_daemon_with_the_bundle_by_its_name_reports_a_murmur_that_lasts(tmp_path: Path, broker: Broker) -> None:
    with Subscriber(broker.port) as subscriber, Daemon(Path("auscultation"), tmp_path, broker.port) as daemon:
        eventually(lambda: subscriber.states()[-1:] == ["online"], "status online")
        daemon.hear(soxr.resample(heart(40.0, murmur=0.2), RATE_HZ, 16_000).astype(np.float32))
        assert daemon.finish() == 0, daemon.errors()
        eventually(lambda: bool(subscriber.payloads("/event")), "the event")
        event = subscriber.payloads("/event")[0]
    assert event["label"] == "murmur"
    assert event["bundle"].startswith("auscultation-")
