"""What `python -m edge bench` does: how much of this machine does hearing take, and is it fast enough for its hop?

Does: opens the model as the daemon would, and passes noise through it, on which a net works as long as on any sound:
once as fast as it can, and once at the pace of a microphone, where the processor sleeps between windows and its caches
go cold. Does not: capture, store or send, which cost little beside it (`bench.daemon`, in the sources, measures all).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TextIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.config import Settings
from edge.metrics import hottest_celsius
from edge.pipeline import Model, open_model
from edge.quantile import quantile
from edge.update.record import bundle_to_run

SAMPLE_RATE_HZ = 16_000
FAST_S = 60.0
BLOCK_S = 0.1
MOST_OF_HOP = 0.25
"""A slow window takes no more of the hop than this, or a busy moment makes the analysis fall behind."""


@dataclass(frozen=True)
class Cost:
    """What a stretch of sound took."""

    windows: int
    median_ms: float
    """Of a window."""
    slowest_percent_ms: float
    """The time that 99 % of the windows stay below."""
    processor: float
    """Processor seconds of all threads for a second of sound."""


@dataclass(frozen=True)
class Report:
    """What was measured."""

    bundle: str
    backend: str
    hop_s: float
    fast: Cost
    """As fast as it can."""
    paced: Cost
    """At the pace of a microphone."""
    celsius: float | None
    """The hottest thermal zone at the end; None where the machine tells none."""

    @property
    def is_fast_enough(self) -> bool:
        """Whether windows leave room for a busy moment."""
        return self.paced.slowest_percent_ms <= MOST_OF_HOP * self.hop_s * 1000


def bench(settings: Settings, seconds: float, output: TextIO, *, as_json: bool) -> int:
    """Measure and tell; return the exit status: 0, or 1 where the machine is too slow for the hop.

    Args:
        settings: bundle, windows and thresholds are used.
        seconds: length of the paced part.
        output: takes the report.
        as_json: as one JSON object in place of lines for people.

    Raises:
        UserError: a bundle or a setting that cannot be used.
    """
    report = measure(settings, seconds)
    output.write((json.dumps(asdict(report)) if as_json else text(report)) + "\n")
    return 0 if report.is_fast_enough else 1


def measure(settings: Settings, seconds: float) -> Report:
    """Pass sound through the model that the daemon would run, as `bench` says."""
    model = open_model(bundle_to_run(settings))
    fast = _cost(model, settings, _noise(FAST_S), lambda _: None)
    begun = time.monotonic()
    with tqdm(total=round(seconds, 1), desc="at the pace of a microphone", unit="s", disable=None, leave=False) as bar:

        def wait(heard_s: float) -> None:
            time.sleep(max(0.0, begun + heard_s - time.monotonic()))
            bar.update(round(heard_s, 1) - bar.n)

        paced = _cost(model, settings, _noise(seconds), wait)
    return Report(
        bundle=model.name,
        backend=model.backend.name,
        hop_s=settings.windows.hop_s or model.bundle.manifest.hop_s,
        fast=fast,
        paced=paced,
        celsius=hottest_celsius(),
    )


def _noise(seconds: float) -> NDArray[np.float32]:
    """(samples,) at -40 dBFS."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE_HZ), dtype=np.float32)
    return np.asarray(0.01 * noise, dtype=np.float32)


def _cost(model: Model, settings: Settings, sound: NDArray[np.float32], wait: Callable[[float], None]) -> Cost:
    """Analyse; `wait` is called before each block with the seconds of sound up to its end."""
    analyzer = model.analyzer(settings, input_rate_hz=SAMPLE_RATE_HZ, channels=1)
    latencies_s: list[float] = []
    analyzer.on_window = lambda analysed: latencies_s.append(analysed.latency_s)
    block = round(BLOCK_S * SAMPLE_RATE_HZ)
    begun_s = time.process_time()
    for start in range(0, len(sound), block):
        wait(min(start + block, len(sound)) / SAMPLE_RATE_HZ)
        analyzer.push(sound[start : start + block, None])
    analyzer.flush()
    return Cost(
        windows=len(latencies_s),
        median_ms=1000 * quantile(latencies_s, 0.5),
        slowest_percent_ms=1000 * quantile(latencies_s, 0.99),
        processor=(time.process_time() - begun_s) / (len(sound) / SAMPLE_RATE_HZ),
    )


def text(report: Report) -> str:
    """The report for people."""
    both = (report.fast, report.paced)
    hop_ms = 1000 * report.hop_s
    rows = [
        ("", ["as fast as it can", "at the pace of a microphone"]),
        ("windows", [str(cost.windows) for cost in both]),
        ("window, median", [f"{cost.median_ms:.2f} ms" for cost in both]),
        ("window, 99 % below", [f"{cost.slowest_percent_ms:.2f} ms" for cost in both]),
        (f"of the hop, {report.hop_s:g} s", [f"{cost.slowest_percent_ms / hop_ms:.1%}" for cost in both]),
        ("of one core", [f"{cost.processor:.2%}" for cost in both]),
        ("sources a core", [f"{1 / cost.processor:.0f}" for cost in both]),
    ]
    heat = "" if report.celsius is None else f", {report.celsius:.0f} °C at the end"
    lines = [f"{report.bundle} on {report.backend}{heat}"]
    lines += [f"{name:20}{first:>20}{second:>30}" for name, (first, second) in rows]
    if not report.is_fast_enough:
        lines.append(
            f"too slow: a slow window takes more than {MOST_OF_HOP:.0%} of the hop; "
            "lighten the load of this machine, or set a wider windows.hop_s"
        )
    return "\n".join(lines)
