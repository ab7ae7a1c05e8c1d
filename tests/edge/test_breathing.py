"""The breathing rate as the daemon tells it: live, by the kind of the bundle, and never across a gap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.backends.base import Backend
from edge.breathing import Breathing
from edge.bundle import Bundle, load_bundle, write_manifest
from edge.config import Settings
from edge.hooks import Hooks
from edge.listener import Listener
from edge.pipeline import Model
from edge.sources.base import Block
from tests.brokers import PATIENCE_S, Broker, Subscriber, eventually
from tests.programs import Daemon

Sounds = Callable[..., NDArray[np.float32]]
RATE_HZ = 16_000


def night(sounds: Sounds, bpm: float, seconds: float) -> NDArray[np.float32]:
    return sounds(RATE_HZ, seconds, breaths=list(np.arange(0.5, seconds - 1, 60 / bpm)))


class Recorded:
    """A source that yields blocks and ends."""

    name, sample_rate_hz, channels, trouble = "bed-12", RATE_HZ, 1, ""

    def __init__(self, *parts: tuple[int, NDArray[np.float32]]) -> None:
        self._parts = parts

    def blocks(self) -> Iterator[Block]:
        for start, sound in self._parts:
            for at in range(0, len(sound), 4096):
                yield Block(start + at, sound[at : at + 4096, None])

    def close(self) -> None:
        pass


def hear(
    bundle: Bundle, backend: Backend, source: Recorded, *, airborne: bool = True
) -> tuple[Breathing, list[dict[str, Any]]]:
    hooks, told = Hooks(), list[dict[str, Any]]()
    breathing = Breathing(hooks, airborne=airborne)
    hooks.on_respiration.append(lambda listener, payload: told.append({**payload, "name": listener.name}))
    listener = Listener(
        source.name,
        source,
        Model(bundle, backend),
        Settings(),
        pace="fast",
        keep=lambda _listener, _event: None,
        hooks=hooks,
    )
    listener.start()
    listener.join(PATIENCE_S)
    assert listener.is_done
    assert listener.error is None
    return breathing, told


def contact(bundle: Bundle) -> Bundle:
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"modality": "contact"}))


@pytest.mark.parametrize("kind", ["airborne", "contact"])
def test_rate_is_told_every_five_seconds_with_its_source(
    tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds, kind: str
) -> None:
    bundle = tiny_bundle if kind == "airborne" else contact(tiny_bundle)
    _, told = hear(bundle, tiny_backend, Recorded((0, night(sounds, 15.0, 56.0))))
    assert [one["rate_bpm"] for one in told] == pytest.approx([15.0] * 3, abs=0.5)
    assert {(one["name"], one["source"], one["bundle"]) for one in told} == {("bed-12", "bed-12", "tiny-1.2.3")}
    assert all(0.4 <= one["quality"] <= 1.0 for one in told)


@pytest.mark.parametrize("kind", ["airborne", "contact"])
def test_gap_begins_a_new_window(tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds, kind: str) -> None:
    bundle = tiny_bundle if kind == "airborne" else contact(tiny_bundle)
    before, after = night(sounds, 15.0, 30.0), night(sounds, 15.0, 44.0)
    _, told = hear(bundle, tiny_backend, Recorded((0, before), (100 * RATE_HZ, after)))
    assert told == []


def test_coughs_are_no_breaths(tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds) -> None:
    _, told = hear(tiny_bundle, tiny_backend, Recorded((0, sounds(RATE_HZ, 50.0, coughs=list(range(2, 48, 4))))))
    assert [one["rate_bpm"] for one in told] == [None, None]


def test_bundle_without_the_label_says_nothing(tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds) -> None:
    cough, breath = tiny_bundle.manifest.labels
    labels = (cough, breath.model_copy(update={"name": "sigh"}))
    bundle = replace(tiny_bundle, manifest=tiny_bundle.manifest.model_copy(update={"labels": labels}))
    assert hear(bundle, tiny_backend, Recorded((0, night(sounds, 15.0, 50.0))))[1] == []


def test_airborne_sound_is_followed_only_where_asked_for(
    tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds
) -> None:
    sound = Recorded((0, night(sounds, 15.0, 46.0)))
    assert hear(tiny_bundle, tiny_backend, sound, airborne=False)[1] == []
    assert len(hear(contact(tiny_bundle), tiny_backend, sound, airborne=False)[1]) == 1


def test_clearest_reading_is_taken_once(tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds) -> None:
    breathing, told = hear(tiny_bundle, tiny_backend, Recorded((0, night(sounds, 15.0, 56.0))))
    taken = breathing.take("bed-12")
    assert taken.quality == max(one["quality"] for one in told)
    assert taken.rate_bpm == pytest.approx(15.0, abs=0.5)
    assert breathing.take("bed-12").rate_bpm is None


@pytest.mark.broker
def test_daemon_with_a_contact_bundle_tells_the_rate_live_and_by_the_minute(
    tiny_bundle_copy: Path, tmp_path: Path, broker: Broker, sounds: Sounds
) -> None:
    manifest = load_bundle(tiny_bundle_copy, allow_unsigned=True).manifest
    write_manifest(tiny_bundle_copy, manifest.model_copy(update={"modality": "contact"}))
    with Subscriber(broker.port) as subscriber, Daemon(tiny_bundle_copy, tmp_path, broker.port) as daemon:
        eventually(lambda: subscriber.states()[-1:] == ["online"], "status online")
        daemon.hear(night(sounds, 12.0, 47.0))
        eventually(lambda: bool(subscriber.payloads("/respiration")), "the live rate")
        told = subscriber.payloads("/respiration")[-1]
        daemon.stop()

        def rates() -> list[float]:
            told = [minute["respiration"]["rate_bpm"] for minute in subscriber.payloads("/minute")]
            return [rate for rate in told if rate is not None]

        eventually(lambda: bool(rates()), "a minute with a rate")
    assert rates() == [pytest.approx(12.0, abs=0.5)]
    assert told["rate_bpm"] == pytest.approx(12.0, abs=0.5)
    assert set(told) == {"at", "rate_bpm", "quality", "source", "bundle"}


@pytest.mark.broker
@pytest.mark.parametrize("given", ["", "--no-respiration.enabled"])
def test_daemon_tells_no_rate_of_a_room_unless_asked(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Sounds, given: str
) -> None:
    silent = (given,) if given else ()
    with Subscriber(broker.port) as subscriber, Daemon(tiny_bundle_path, tmp_path, broker.port, *silent) as daemon:
        eventually(lambda: subscriber.states()[-1:] == ["online"], "status online")
        sound = night(sounds, 12.0, 56.0)
        sound[48 * RATE_HZ :] = sounds(RATE_HZ, 8.0, coughs=[2.0])
        daemon.hear(sound)
        eventually(lambda: bool(subscriber.payloads("/event")), "an event after the first window of breath")
        eventually(lambda: any(one["label"] == "cough" for one in subscriber.payloads("/event")), "the cough")
        assert subscriber.payloads("/respiration") == []
