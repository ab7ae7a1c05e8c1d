"""Hears recordings again, by a virtual clock: the same pipeline as the daemon, events as JSON lines.

Does: analyses files as fast as it can and writes one JSON object per event, the payload of the event topic and
`onset_s`, `offset_s` (seconds from the file's start) and `file`. Does not: publish, store, or write anything else to
that stream.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TextIO

from tqdm import tqdm
from uuid6 import uuid7

from edge import __version__, clock, logs
from edge.clock import Anchor
from edge.config import Settings
from edge.errors import AudioError
from edge.payloads import Origin, event_payload
from edge.pipeline import Model, SourceAnalyzer, detect, open_model
from edge.sources.base import Block
from edge.sources.file import FileSource

_SECOND_DIGITS = 4
"""Of onset_s and offset_s; the scores have a frame every 0.01 s."""


def replay(files: Sequence[str], settings: Settings, *, start: datetime | None, output: TextIO) -> int:
    """Replay each file, and return the exit status: 0, or 2 when a file could not be used.

    Args:
        files: paths; each is heard by itself, from its own start.
        settings: bundle, windows, thresholds and log are used.
        start: UTC of every file's first sample; None: the present.
        output: takes the JSON lines, each as soon as its event is found.

    Raises:
        UserError: a bundle or a setting that cannot be used. A file that cannot be used is told on standard error, in
            one line, and the others are still heard.
    """
    logs.configure(settings.log)
    recorder = _Recorder(open_model(settings.bundle), settings, start, output)
    heard = [recorder.hear(file) for file in files]
    return 0 if all(heard) else 2


class _Recorder:
    """Writes the events of one file after the other."""

    def __init__(self, model: Model, settings: Settings, start: datetime | None, output: TextIO) -> None:
        model.widest(settings)  # a mistake in the settings is told once, not for each file
        self._model = model
        self._settings = settings
        # A start that was given is taken at its word.
        self._synchronised = start is not None or clock.is_synchronised()
        self._start = start or clock.utc_now()
        self._output = output
        self._boot_id = str(uuid7())
        self._seq = 0

    def hear(self, file: str) -> bool:
        """Write the events of a file; whether it could be used to its end."""
        try:
            source = FileSource(file, pace="fast")
            with contextlib.closing(source):
                self._write_events(source, file)
        except AudioError as error:
            tqdm.write(f"error: {error}", file=sys.stderr)
            return False
        return True

    def _write_events(self, source: FileSource, file: str) -> None:
        analyzer = SourceAnalyzer(self._model, self._settings, source)
        rate_hz = self._model.sample_rate_hz
        anchor = Anchor(self._start, 0, rate_hz, self._synchronised)
        origin = Origin(self._boot_id, __version__, self._model.name, source.name)
        with _progress(source) as progress:

            def advance(block: Block) -> None:
                progress.update(len(block.samples) / source.sample_rate_hz)

            for event in detect(source, analyzer, advance):
                payload = event_payload(origin, event, anchor, event_id=str(uuid7()), seq=self._seq)
                payload["onset_s"] = round(event.onset / rate_hz, _SECOND_DIGITS)
                payload["offset_s"] = round(event.offset / rate_hz, _SECOND_DIGITS)
                payload["file"] = file
                # Not print: on a terminal the line would go on where the progress bar ends.
                tqdm.write(json.dumps(payload), file=self._output)
                self._output.flush()
                self._seq += 1


def _progress(source: FileSource) -> tqdm[Any]:
    """A bar on a terminal; nothing elsewhere."""
    return tqdm(
        total=round(source.duration_s, 1),
        desc=source.name.removeprefix("file:"),
        unit="s",
        bar_format="{desc}: {percentage:3.0f}% |{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]",
        disable=None,
        leave=False,
        file=sys.stderr,
    )
