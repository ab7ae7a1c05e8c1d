"""How far this room sounds from what the model was trained on, by the embeddings of windows with sound in them.

Does: reads the bundle's reference (`quantize.drift` makes it), keeps the newest embeddings of each listener, and tells
once a minute how far their mean lies from the training windows' mean. Does not: change what is detected.

Only windows in which the model hears something count: the embedding of everything else is much the same whatever the
microphone does. The distance is that of Mahalanobis for the mean of a set, over the square root of the dimensions, and
is told as a share of `threshold`, which sets of a few training windows seldom exceed. One person alone lies further out
than a ward; what tells most is a rise over the weeks.
"""

from __future__ import annotations

import threading
import zipfile
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.errors import BundleError, first_line
from edge.hooks import Hooks

if TYPE_CHECKING:
    from edge.analysis import Analysed
    from edge.listener import Listener

DRIFT = "drift.npz"
"""Optional in a bundle."""

NEWEST_WINDOWS = 256
"""At most; a sound lies in about four overlapping windows."""
FEWEST_WINDOWS = 32
FAR = 2.0
"""Share of the threshold beyond which no training recording has been seen whose sound was whole."""
FAR_MINUTES = 60


@dataclass(frozen=True)
class DriftReference:
    """What training windows with sound in them look like to the model, D being the embedding's size."""

    mean: NDArray[np.float32]
    """(D,)."""
    whitening: NDArray[np.float32]
    """(D, D): W with Wᵀ W the inverse of the shrunk covariance."""
    threshold: float
    """Distance of the mean that sets of a few training windows seldom exceed."""
    active_score: float
    """Highest score of a window, of any label, from which it counts as one with sound in it."""

    def distance(self, embeddings: NDArray[np.float32]) -> float:
        """Distance of the mean of embeddings (n, D): the root of the mean square of the whitened difference."""
        difference = self.whitening.astype(np.float64) @ (embeddings.mean(axis=0, dtype=np.float64) - self.mean)
        return float(np.sqrt(np.mean(difference**2)))


def load_reference(bundle: Bundle) -> DriftReference | None:
    """The bundle's reference; None where it has none.

    Raises:
        BundleError: the file holds anything else.
    """
    if DRIFT not in bundle.manifest.files:
        return None
    size = bundle.manifest.embedding_size
    shapes = {"mean": (size,), "whitening": (size, size), "threshold": (), "active_score": ()}
    try:
        with np.load(bundle.path / DRIFT, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in shapes}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"bundle {bundle.path}: {DRIFT} cannot be read: {first_line(error)}") from error
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            seen = f"{array.dtype} {array.shape}"
            raise BundleError(f"bundle {bundle.path}: {DRIFT} holds {name} as {seen}, expected float32 {shape}, finite")
    if arrays["threshold"] <= 0:
        raise BundleError(f"bundle {bundle.path}: {DRIFT} holds a threshold of {arrays['threshold']}, expected above 0")
    return DriftReference(
        arrays["mean"], arrays["whitening"], float(arrays["threshold"]), float(arrays["active_score"])
    )


class DriftMeter:
    """The newest embeddings of one listener. One thread adds, another asks."""

    def __init__(self, reference: DriftReference) -> None:
        """Nothing heard yet."""
        self._reference = reference
        self._embeddings: deque[NDArray[np.float32]] = deque(maxlen=NEWEST_WINDOWS)
        self._far_minutes = 0
        self._lock = threading.Lock()

    def add(self, embedding: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        """Take a window: embedding (D,), scores (steps, labels); one without sound in it is passed over."""
        if scores.max() >= self._reference.active_score and np.isfinite(embedding).all():
            with self._lock:
                self._embeddings.append(embedding)

    def minute(self) -> float | None:
        """The distance as a share of the threshold; None before enough was heard. To be asked once a minute."""
        with self._lock:
            newest = list(self._embeddings)
        if len(newest) < FEWEST_WINDOWS:
            return None
        share = self._reference.distance(np.stack(newest)) / self._reference.threshold
        self._far_minutes = self._far_minutes + 1 if share > FAR else 0
        return round(share, 3)

    @property
    def is_far(self) -> bool:
        """Whether it has been far for an hour."""
        return self._far_minutes >= FAR_MINUTES


class Drift:
    """The drift of all listeners of a run."""

    def __init__(self, reference: DriftReference, hooks: Hooks) -> None:
        """Hear of every window."""
        self._reference = reference
        self._meters: dict[str, DriftMeter] = {}
        hooks.on_window.append(self._on_window)

    def minute(self, listener: str) -> float | None:
        """That of a listener by its name, as `DriftMeter.minute` tells it."""
        meter = self._meters.get(listener)
        return meter.minute() if meter is not None else None

    @property
    def trouble(self) -> str:
        """Who has been far for long, in one line; empty while nobody has."""
        far = [name for name, meter in list(self._meters.items()) if meter.is_far]
        if not far:
            return ""
        return f"{', '.join(far)} sounds unlike all that the bundle was trained on: look after the microphone"

    def _on_window(self, listener: Listener, analysed: Analysed) -> None:
        if listener.name not in self._meters:
            self._meters[listener.name] = DriftMeter(self._reference)
        self._meters[listener.name].add(analysed.output.embedding, analysed.output.scores)
