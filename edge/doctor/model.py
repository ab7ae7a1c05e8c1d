"""Checks of the bundle and of what computes it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from edge.config import Settings
from edge.doctor.finding import Finding, fail, ok, warn
from edge.errors import ConfigError, UserError
from edge.pipeline import Model, open_bundle, open_model
from edge.update.record import bundle_to_run

_RUNS = 5
_BUSY = 0.5
"""Share of one core's time above which a warm day or a second program makes the analysis fall behind."""


def check_model(settings: Settings) -> Iterator[Finding]:
    """Whether the bundle that runs loads, computes the right thing here, and does so in time."""
    try:
        chosen = bundle_to_run(settings)
        bundle = open_bundle(chosen)
    except UserError as error:
        yield fail("bundle", str(error), "install the bundle again, or set bundle.path to another one")
        return
    manifest = bundle.manifest
    labels = ", ".join(label.name for label in manifest.labels)
    yield ok("bundle", f"{manifest.name}-{manifest.version}, {manifest.precision}, hears {labels}: {bundle.path}")
    try:
        model = open_model(chosen)
        model.widest(settings)
    except ConfigError as error:
        yield fail("backend", str(error), "change [windows] or [thresholds]")
    except UserError as error:
        yield fail("backend", str(error), "take another bundle.backend, or a bundle that was made for this machine")
    else:
        if trouble := model.trouble():
            yield warn("engine", trouble, "build the engine for this board: python -m edge engine")
        yield judge_time(model.backend.name, _fastest_s(model), settings.windows.hop_s or manifest.hop_s)


def judge_time(backend: str, window_s: float, hop_s: float) -> Finding:
    """Whether a window is computed well within a hop; both in seconds."""
    detail = f"golden outputs agree on {backend}; a window takes {1000 * window_s:.3g} ms, one comes every {hop_s:g} s"
    if window_s > hop_s:
        return fail("backend", detail, "set windows.hop_s higher, or take a smaller bundle: this one falls behind here")
    if window_s > _BUSY * hop_s:
        return warn("backend", detail, "set windows.hop_s higher: little is left for a warm day or a second program")
    return ok("backend", detail)


def _fastest_s(model: Model) -> float:
    waveform = model.bundle.golden()["waveform"][0]
    taken = []
    for _ in range(_RUNS):
        begun = time.perf_counter()
        model.backend.infer(waveform)
        taken.append(time.perf_counter() - begun)
    return min(taken)
