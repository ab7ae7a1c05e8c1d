"""Which bundle a start of the daemon runs, and how a new one proves itself or is left again.

Does: chooses between the installed bundle and the configured one, counts the starts of a bundle on probation, goes back
when one follows an end out of order or the bundle does not open, and confirms after the probation. Does not: install
(`edge.update.install`), or watch the process: a watchdog that bites it ends it out of order.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from edge import clock
from edge.config import Settings
from edge.errors import UpdateError, UserError
from edge.manifest import Manifest
from edge.pipeline import Model, open_model
from edge.update.record import Outcome, Record, RecordFile, State

log = structlog.get_logger()


class RunningBundle:
    """The bundle of one run of the daemon. `open` first; then `progress` as windows are analysed, and `end` at the end.

    A bundle on probation is left in three cases: it does not open; the daemon starts again although the run before did
    not end in order, be it by a crash, a kill, a watchdog or a loss of power; its scores are no numbers.
    """

    def __init__(self, settings: Settings, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: a clock in seconds that nobody sets."""
        self.on_left: Callable[[], None] = lambda: None
        """Called once when the bundle is left while it runs: restart."""
        self._settings = settings
        self._records = RecordFile(settings.update_folder, settings.bundle.path)
        self._now = now
        self._probation: tuple[float, Manifest] | None = None
        """Since when, in seconds of `now`, which bundle is on probation; None: it is not, or not any more."""
        self._lock = threading.Lock()
        self._status: dict[str, Any] | None = None
        self._status_mark: tuple[int, int] | None = None

    def open(self) -> Model:
        """Open the bundle that this start runs.

        Raises:
            BundleError: the configured bundle is not to be used either.
            ConfigError: windows or thresholds are set that it cannot run with.
        """
        return self._open(self._choose())

    def progress(self, scores: NDArray[np.float32]) -> None:
        """Judge scores of the live sound; once the probation is over, confirm the bundle and remove the old one."""
        with self._lock:  # every listener has a thread, and one verdict is enough
            if self._probation is None:
                return
            since, manifest = self._probation
            if not np.isfinite(scores).all():
                self._probation = None
                self._go_back(self._records.read(), "it gives scores of the live sound that are no numbers")
                self.on_left()
            elif self._now() - since >= self._settings.update.probation_s:
                self._probation = None
                self._confirm(manifest)

    def end(self) -> None:
        """The run ends in order: the next start need not suspect the bundle."""
        if self._probation is not None:
            self._write(lambda record: record.model_copy(update={"in_order": True}))

    def status(self) -> dict[str, Any] | None:
        """How the last update stands, for the status, which is asked for often; None where there was none."""
        mark = self._records.mark()
        if mark != self._status_mark:
            self._status, self._status_mark = self._read_status(), mark
        return self._status

    def _read_status(self) -> dict[str, Any] | None:
        try:
            outcome = self._records.read().outcome
        except UpdateError as error:
            return {"state": "refused", "bundle": "", "reason": str(error), "at": None}
        return outcome.model_dump() if outcome else None

    def _open(self, record: Record) -> Model:
        try:
            model = open_model(self._records.bundle_of(record, self._settings.bundle))
            model.widest(self._settings)
        except UserError as error:
            if not record.current:
                raise
            return self._open(self._go_back(record, f"it does not open: {error}"))
        if record.on_probation:
            self._probation = (self._now(), model.bundle.manifest)
            log.info(
                "update_on_probation", bundle=model.name, start=record.starts, for_s=self._settings.update.probation_s
            )
        return model

    def _choose(self) -> Record:
        """The record of what this start runs, counted."""
        try:
            record = self._records.read()
            if record.on_probation and not record.in_order:
                reason = f"run {record.starts} of its probation did not end in order"
                return self._go_back(record, reason)
            if record.on_probation:
                record = self._records.change(_started)
        except UpdateError as error:
            log.warning("update_record_unusable", reason=str(error), action="the configured bundle runs")
            return Record()
        return record

    def _go_back(self, record: Record, reason: str) -> Record:
        """Make the bundle before this one the current one, in any case for this start; return the record of that."""

        def leave(record: Record) -> Record:
            before = record.previous if record.on_probation else ""
            outcome = _outcome("rolled back", record.name, reason)
            return Record(configured=record.configured, current=before, confirmed=record.confirmed, outcome=outcome)

        self._write(leave)
        log.error("update_rolled_back", bundle=record.name, reason=reason)
        return leave(record)

    def _confirm(self, manifest: Manifest) -> None:
        def confirm(record: Record) -> Record:
            confirmed = {**record.confirmed, manifest.name: manifest.version}
            outcome = _outcome("confirmed", record.name)
            return record.model_copy(
                update={"on_probation": False, "previous": "", "confirmed": confirmed, "outcome": outcome}
            )

        if (record := self._write(confirm)) is None:
            return  # it runs well; the next start gives it another probation
        for folder in self._records.store.iterdir():
            if folder.name != record.current:
                shutil.rmtree(folder, ignore_errors=True)
        log.info("update_confirmed", bundle=record.name)

    def _write(self, change: Callable[[Record], Record]) -> Record | None:
        """The changed record; None where the disk does not take it, which is no reason to stop listening."""
        try:
            return self._records.change(change)
        except UpdateError as error:
            log.warning("update_record_not_writable", reason=str(error))
            return None


def _started(record: Record) -> Record:
    outcome = record.outcome and record.outcome.model_copy(update={"state": "probation"})
    return record.model_copy(update={"starts": record.starts + 1, "in_order": False, "outcome": outcome})


def _outcome(state: State, bundle: str, reason: str = "") -> Outcome:
    return Outcome(state=state, bundle=bundle, reason=reason, at=clock.rfc3339(clock.utc_now()))
