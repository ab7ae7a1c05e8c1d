"""Standard input: every sample once, and the time at which it was recorded, whoever fills the pipe."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from edge.errors import AudioError
from edge.sources import stdin
from edge.sources.stdin import StdinSource
from tests.brokers import Broker, Subscriber, eventually
from tests.listening import Recorder, drain
from tests.programs import Daemon

RATE_HZ = 8_000


def source(stream: Any, *, channels: int = 1, stall_s: float = 60.0) -> StdinSource:
    return StdinSource(stream, sample_rate_hz=RATE_HZ, channels=channels, stall_s=stall_s)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_stdin_gives_all_frames_and_drops_a_partial_one(channels: int) -> None:
    integers = np.random.default_rng(0).integers(-32768, 32768, (50_000, channels), dtype=np.int16)
    stream = io.BytesIO(integers.astype("<i2").tobytes() + b"\x01")
    with capture_logs() as logs:
        samples = drain(source(stream, channels=channels))
    assert np.array_equal(samples, (integers / 32768).astype(np.float32))
    assert [(log["event"], log["bytes"]) for log in logs] == [("partial_frame_dropped", 1)]


def test_stdin_joins_frames_that_arrive_in_pieces() -> None:
    read_end, write_end = os.pipe()
    content = np.arange(999, dtype="<i2").tobytes()

    def feed() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as pipe:
            for at in range(0, len(content), 7):
                pipe.write(content[at : at + 7])

    writer = threading.Thread(target=feed)
    with os.fdopen(read_end, "rb") as stream:
        writer.start()
        samples = drain(source(stream, channels=3))
        writer.join()
    assert (samples.ravel() * 32768).tolist() == list(range(999))


@pytest.mark.parametrize("content", [b"", b"\x00"])
def test_stdin_without_a_frame_says_so(content: bytes) -> None:
    with pytest.raises(AudioError, match="stdin: ended without sound"):
        drain(source(io.BytesIO(content)))


def test_stdin_closed_ends_a_reader_that_waits_for_a_silent_pipe() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as stream, os.fdopen(write_end, "wb"):
        opened = source(stream)
        reader = threading.Thread(target=drain, args=(opened,))
        reader.start()
        opened.close()
        reader.join(timeout=20)
        assert not reader.is_alive()


PIPED = """
import sys, time
rate, mode = int(sys.argv[1]), sys.argv[2]
def write(samples):
    sys.stdout.buffer.write(bytes(2 * samples))
    sys.stdout.buffer.flush()
if mode == "at once":
    for minutes in (15, 5):
        write(60 * minutes * rate)
        sys.stdin.readline()
last = time.monotonic()
while mode != "at once":
    time.sleep(0.05)
    now = time.monotonic()
    # A recorder that was stopped has all since then, or the last second of it.
    write(round(min(now - last, 1.0 if mode == "loses" else 3600.0) * rate))
    last = now
"""
"""What fills the pipe: silence at the pace of a recorder, or as fast as it can."""


@contextmanager
def piped(mode: str, *, stall_s: float = 60.0) -> Iterator[tuple[subprocess.Popen[bytes], Recorder]]:
    """A process that fills a pipe, and what the source at its other end has given so far."""
    command = [sys.executable, "-c", PIPED, str(RATE_HZ), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            with Recorder(source(process.stdout, stall_s=stall_s)) as recorder:
                yield process, recorder
        finally:
            process.kill()


def seconds(recorder: Recorder) -> float:
    """How far the source has come, gaps included."""
    return (recorder.blocks[-1].position + len(recorder.blocks[-1].samples)) / RATE_HZ if recorder.blocks else 0.0


def stop_for(process: subprocess.Popen[bytes], pause_s: float) -> None:
    process.send_signal(signal.SIGSTOP)
    time.sleep(pause_s)
    process.send_signal(signal.SIGCONT)


def test_recorder_that_is_paused_leaves_a_gap_as_long_as_the_pause() -> None:
    begun = time.monotonic()
    with piped("loses", stall_s=1.0) as (process, recorder):
        eventually(lambda: seconds(recorder) > 0.5, "sound")
        stop_for(process, 4.0)
        eventually(lambda: sum(end - start for start, end in recorder.gaps) > 1.9 * RATE_HZ, "the gap")
        assert seconds(recorder) < time.monotonic() - begun


def test_silent_pipe_is_told_as_trouble_until_it_goes_on() -> None:
    with capture_logs() as logs, piped("loses", stall_s=0.5) as (process, recorder):
        eventually(lambda: seconds(recorder) > 0.5, "sound")
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: "nothing on standard input" in recorder.source.trouble, "the trouble")
        process.send_signal(signal.SIGCONT)
        eventually(lambda: recorder.source.trouble == "", "the end of the trouble")
    assert {"no_sound", "sound_is_back"} <= {entry["event"] for entry in logs}


def test_sound_that_was_held_up_on_its_way_comes_without_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdin, "MAKE_UP_S", 30.0)  # of a busy machine
    with piped("keeps") as (process, recorder):
        eventually(lambda: seconds(recorder) > 0.5, "sound")
        stop_for(process, 3.0)
        eventually(lambda: seconds(recorder) > 4.0, "all sound")
        assert recorder.gaps == []


def test_recording_that_is_piped_at_once_is_dated_by_its_samples() -> None:
    with piped("at once") as (process, recorder):
        eventually(lambda: seconds(recorder) == 900.0, "the first part")
        time.sleep(2 * stdin.LATE_S)
        assert process.stdin is not None
        process.stdin.write(b"\n\n")
        process.stdin.flush()
        eventually(lambda: seconds(recorder) == 1200.0, "the second part")
        assert recorder.gaps == []


@pytest.mark.broker
def test_events_after_a_pause_have_their_true_times_and_the_pause_is_a_gap(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Callable[..., NDArray[np.float32]]
) -> None:
    with Subscriber(broker.port) as subscriber:
        arguments = ("--source.stall_s", "1.0")
        with Daemon(tiny_bundle_path, tmp_path, broker.port, *arguments) as daemon:
            daemon.wait_for("ready")
            daemon.hear(sounds(16_000, 2.0, coughs=[1.0]))
            eventually(lambda: len(subscriber.event_ids()) == 1, "the cough before the pause")
            eventually(lambda: "degraded" in subscriber.states(), "the pause in the status")
            assert "nothing on standard input for 1 s" in subscriber.payloads("/status")[-1]["reason"]
            time.sleep(8.0)
            resumed = datetime.now(timezone.utc)
            daemon.hear(sounds(16_000, 4.0, coughs=[1.0]))
            eventually(lambda: len(subscriber.event_ids()) == 2, "the cough after it")
            assert daemon.finish() == 0, daemon.errors()
        eventually(lambda: subscriber.states()[-1:] == ["offline"], "the end")
        onset = datetime.fromisoformat(subscriber.payloads("/event")[1]["onset"].replace("Z", "+00:00"))
        minutes = subscriber.payloads("/minute")
    # Four seconds came at once, as they were recorded until then.
    assert onset > resumed - timedelta(seconds=4.0)
    assert sum(minute["monitored_s"] for minute in minutes) == pytest.approx(6.0, abs=0.01)
    assert sum(minute["gap_s"] for minute in minutes) > 3.0
