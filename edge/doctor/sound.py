"""Checks of what is to be heard: each source is opened, and listened to for about a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge.config import Settings
from edge.devices import LEVEL_S
from edge.doctor.finding import Finding, fail, ok, warn
from edge.errors import UserError
from edge.level import SILENCE_DBFS, measure
from edge.sections import NamedSourceSettings, SourceSettings
from edge.sources import open_source
from edge.sources.supervised import STARTING, SupervisedSource

PATIENCE_S = 20.0
QUIET_DBFS = -90.0
"""Below the noise of any microphone with its amplifier."""

_REMEDY = {
    "microphone": "plug it in, or set source.device to one of python -m edge devices; a running daemon may hold it",
    "url": "see that the camera or server is on and that source.path is its URL, with user and password",
    "file": "set source.path to a recording that can be read",
    "folder": "set source.path to a folder with recordings that can be read",
    "stdin": "",
}


def check_sources(settings: Settings) -> Iterator[Finding]:
    """Whether every source opens, and is not silent."""
    for source in settings.sources or (settings.source,):
        yield check_source(source)


def check_source(settings: SourceSettings) -> Finding:
    """Open one source and listen to it."""
    check = f"source {settings.name}" if isinstance(settings, NamedSourceSettings) else "source"
    remedy = _REMEDY[settings.kind]
    if settings.kind == "stdin":
        return ok(check, "standard input, which is not read here")
    try:
        source = open_source(settings)
    except UserError as error:
        return fail(check, str(error), remedy)
    try:
        if not isinstance(source, SupervisedSource):
            return ok(check, f"{source.name}: {source.sample_rate_hz} Hz, {source.channels} channels")
        heard, trouble = _hear(source)
    finally:
        source.close()
    if trouble:
        return fail(check, f"{source.name}: {trouble}", remedy)
    level = measure(heard, source.sample_rate_hz).level_dbfs or SILENCE_DBFS
    detail = f"{source.name}: {source.sample_rate_hz} Hz, {level:.1f} dBFS"
    if level <= SILENCE_DBFS:
        return fail(check, f"{detail}: nothing but zeros", "unmute it (alsamixer, F4), or see that it is the right one")
    if level < QUIET_DBFS:
        return warn(check, f"{detail}: hardly anything", "raise the gain of the input (alsamixer, F4)")
    return ok(check, detail)


def _hear(source: SupervisedSource) -> tuple[NDArray[np.float32], str]:
    """(frames, 1) of about LEVEL_S, or why there are none."""
    heard: list[NDArray[np.float32]] = []

    def read() -> None:
        heard.extend(block.samples for block in source.blocks())

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and source.trouble in ("", STARTING):
        if heard and sum(map(len, list(heard))) >= LEVEL_S * source.sample_rate_hz:
            break
        time.sleep(0.02)
    trouble = "" if heard and source.trouble == STARTING else source.trouble
    source.close()
    reading.join(PATIENCE_S)
    return np.concatenate([np.zeros((0, 1), np.float32), *heard]), trouble
