"""Drift: near for windows like those of the training, more the further their mean lies, and alarm only after long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edge.analysis import Analysed
from edge.backends.base import Output
from edge.bundle import Bundle, load_bundle, write_manifest
from edge.drift import (
    DRIFT,
    FAR_MINUTES,
    FEWEST_WINDOWS,
    NEWEST_WINDOWS,
    Drift,
    DriftMeter,
    DriftReference,
    load_reference,
)
from edge.errors import BundleError
from edge.hooks import Hooks
from tests.brokers import Broker, Subscriber, eventually
from tests.programs import Daemon

SIZE = 8
REFERENCE = DriftReference(np.zeros(SIZE, np.float32), np.eye(SIZE, dtype=np.float32), 0.5, 0.5)
ACTIVE, SILENT = np.full((50, 2), 0.9, np.float32), np.full((50, 2), 0.1, np.float32)


def embedding(value: float) -> NDArray[np.float32]:
    return np.full(SIZE, value, np.float32)


def meter(value: float, count: int = NEWEST_WINDOWS) -> DriftMeter:
    heard = DriftMeter(REFERENCE)
    for _ in range(count):
        heard.add(embedding(value), ACTIVE)
    return heard


def test_distance_is_that_of_mahalanobis_of_the_mean_for_each_dimension() -> None:
    rng = np.random.default_rng(3)
    root = rng.normal(size=(SIZE, SIZE))
    covariance = root @ root.T + np.eye(SIZE)
    whitening = np.linalg.cholesky(np.linalg.inv(covariance)).T.astype(np.float32)
    embeddings = rng.normal(size=(10, SIZE)).astype(np.float32)
    reference = DriftReference(np.ones(SIZE, np.float32), whitening, 1.0, 0.5)
    difference = embeddings.mean(axis=0) - 1
    expected = np.sqrt(difference @ np.linalg.solve(covariance, difference) / SIZE)
    assert reference.distance(embeddings) == pytest.approx(expected, rel=1e-4)


def test_share_of_the_threshold_grows_with_the_distance() -> None:
    assert [meter(value).minute() for value in (0.0, 0.25, 0.5, -1.0)] == [0.0, 0.5, 1.0, 2.0]


def test_nothing_is_told_before_enough_was_heard_and_silence_does_not_count() -> None:
    heard = meter(1.0, FEWEST_WINDOWS - 1)
    for _ in range(100):
        heard.add(embedding(5.0), SILENT)
        heard.add(embedding(np.nan), ACTIVE)
    assert heard.minute() is None
    heard.add(embedding(1.0), ACTIVE)
    assert heard.minute() == 2.0


def test_only_the_newest_windows_count() -> None:
    heard = meter(3.0)
    for _ in range(NEWEST_WINDOWS):
        heard.add(embedding(0.0), ACTIVE)
    assert heard.minute() == 0.0


class _Listener:
    name = "bed-12"


def test_status_is_told_of_what_has_been_far_for_an_hour() -> None:
    hooks = Hooks()
    drift = Drift(REFERENCE, hooks)
    listener: Any = _Listener()
    assert drift.minute("bed-12") is None

    def hear(value: float) -> None:
        output = Output(np.zeros((64, 198), np.float32), embedding(value), ACTIVE)
        for _ in range(NEWEST_WINDOWS):
            hooks.window(listener, Analysed(0, 32_000, 0.001, output))

    hear(1.5)
    for _ in range(FAR_MINUTES - 1):
        assert drift.minute("bed-12") == 3.0
    assert drift.trouble == ""
    drift.minute("bed-12")
    assert drift.trouble == "bed-12 sounds unlike all that the bundle was trained on: look after the microphone"
    hear(0.1)
    drift.minute("bed-12")
    assert drift.trouble == ""


def with_drift(folder: Path, **changes: Any) -> Bundle:
    """The bundle with a reference of 8 dimensions, changed."""
    arrays = {
        "mean": REFERENCE.mean,
        "whitening": REFERENCE.whitening,
        "threshold": np.float32(0.5),
        "active_score": np.float32(0.5),
    }
    np.savez(folder / DRIFT, **(arrays | changes))
    write_manifest(folder, load_bundle_manifest(folder))
    return load_bundle(folder, allow_unsigned=True)


def load_bundle_manifest(folder: Path) -> Any:
    from edge.manifest import Manifest

    return Manifest.model_validate_json((folder / "manifest.json").read_text())


def test_reference_travels_in_the_bundle_and_may_be_missing(tiny_bundle: Bundle, tiny_bundle_copy: Path) -> None:
    assert load_reference(tiny_bundle) is None
    reference = load_reference(with_drift(tiny_bundle_copy))
    assert reference is not None
    assert (reference.threshold, reference.active_score) == (0.5, 0.5)
    np.testing.assert_array_equal(reference.whitening, np.eye(SIZE))


@pytest.mark.broker
def test_minute_tells_the_drift_where_the_bundle_has_a_reference(
    tiny_bundle_copy: Path, tmp_path: Path, broker: Broker, sounds: Callable[..., NDArray[np.float32]]
) -> None:
    ward = tmp_path / "ward.wav"
    soundfile.write(ward, sounds(16_000, 30.0, coughs=list(range(1, 29))), 16_000)
    bundle = with_drift(tiny_bundle_copy).path
    file = ("--source.kind", "file", "--source.path", str(ward), "--source.pace", "fast")
    with Subscriber(broker.port) as subscriber, Daemon(bundle, tmp_path, broker.port, *file) as daemon:
        assert daemon.finish() == 0, daemon.errors()
        eventually(lambda: subscriber.states()[-1:] == ["offline"], "status offline")
        # The last report is made once all has been heard.
        assert subscriber.payloads("/minute")[-1]["drift"] > 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mean": np.zeros(7, np.float32)}, r"holds mean as float32 \(7,\), expected float32 \(8,\)"),
        ({"whitening": np.full((8, 8), np.nan, np.float32)}, "holds whitening as .* finite"),
        ({"threshold": np.float32(0)}, "holds a threshold of 0.0, expected above 0"),
        ({"mean": np.array([object()])}, "cannot be read: Object arrays cannot be loaded"),
    ],
)
def test_reference_that_is_none_is_one_line(tiny_bundle_copy: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BundleError, match=told):
        load_reference(with_drift(tiny_bundle_copy, **changes))
