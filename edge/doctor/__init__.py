"""Looks at everything that the daemon needs, and says what is wrong and what to do: `python -m edge doctor`.

Does: runs each check against the real thing (opens the device, logs in at the broker, computes the golden vectors).
Does not: change anything, or disturb a daemon that runs, except that a sound card which it holds cannot be opened, and
that a broker which lets each user connect but once (as that of deploy/mosquitto does) breaks its connection, which
comes back by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TextIO

from edge import logs
from edge.config import Settings
from edge.doctor.broker import check_broker
from edge.doctor.finding import Finding
from edge.doctor.machine import check_audio_group, check_clock, check_disk, check_outbox
from edge.doctor.model import check_model
from edge.doctor.sound import check_sources
from edge.sections import LogSettings

_CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    check_model,
    check_clock,
    check_disk,
    check_outbox,
    check_audio_group,
    check_sources,
    check_broker,
)


def examine(settings: Settings) -> Iterator[Finding]:
    """The findings of all checks, each as soon as it is known."""
    for check in _CHECKS:
        yield from check(settings)


def report(settings: Settings, output: TextIO, *, as_json: bool) -> int:
    """Write the findings; the exit status: 0, or 1 where something fails."""
    # What a source logs of its attempts is in its finding.
    logs.configure(LogSettings(level="error"))
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            print(finding.text(), file=output, flush=True)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]), file=output)
    return int(any(finding.state == "fail" for finding in findings))
