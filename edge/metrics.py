"""What Prometheus may ask of this device: how loud it is, how far behind, what was found, lost and delivered.

Does: counts what passes by the hooks, asks the other parts when it is asked itself, and serves the figures over HTTP.
Does not: keep figures over a restart. No label comes from what was heard: there are the names of the sources and the
labels of the bundle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prometheus_client
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from edge import __version__
from edge.errors import first_line
from edge.level import LevelMeter

if TYPE_CHECKING:
    from edge.analysis import Analysed
    from edge.events import Event
    from edge.hooks import Hooks
    from edge.listener import Listener
    from edge.mqtt import Publisher
    from edge.outbox import Outbox
    from edge.pipeline import Model
    from edge.sections import MetricsSettings
    from edge.sources.base import Block
    from edge.upkeep import Upkeep

log = structlog.get_logger()

LEVEL_S = 10.0
"""Levels are of the last whole stretch of this length."""
_LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

# When a counter began is known from the time at which the process did.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Owns a registry of its own; hooks feed it from the listeners' threads."""

    def __init__(self, hooks: Hooks, *, version: str, bundle: str, backend: str, labels: Iterable[str]) -> None:
        """Nothing is counted yet.

        Args:
            hooks: tell what is heard.
            version: of this program.
            bundle: name and version.
            backend: what computes.
            labels: all that the bundle can find.
        """
        self.registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        about = prometheus_client.Info("acula", "What runs", registry=self.registry)
        about.info({"version": version, "bundle": bundle, "backend": backend})
        self._labels = tuple(labels)
        self._level = self._gauge("level_dbfs", f"Root mean square of the last {LEVEL_S:g} s, in dB of full scale")
        self._floor = self._gauge("noise_floor_dbfs", f"Level of the quietest tenth of the last {LEVEL_S:g} s")
        self._clipped = self._gauge("clipped_ratio", f"Share of the last {LEVEL_S:g} s that is clipped")
        self._audio_s = self._counter("audio_seconds", "Sound taken in, in seconds")
        self._gaps = self._counter("gaps", "Places where sound is missing")
        self._gap_s = self._counter("gap_seconds", "Sound that is missing, in seconds, what was dropped included")
        self._events = self._counter("events", "Events found", "label")
        self._window_s = Histogram(
            "acula_window_seconds",
            "Time that a window took, waiting for its turn included",
            ["source"],
            buckets=_LATENCIES_S,
            registry=self.registry,
        )
        self._asked = _Asked()
        self.registry.register(self._asked)
        self._heard: dict[str, _Heard] = {}
        hooks.on_block.append(self._on_block)
        hooks.on_window.append(self._on_window)
        hooks.on_event.append(self._on_event)

    def watch(self, listener: Listener) -> None:
        """Show a listener, before it starts: zeros until something is heard."""
        name = listener.name
        self._heard[name] = _Heard()
        for counter in (self._audio_s, self._gaps, self._gap_s):
            counter.labels(name)
        self._window_s.labels(name)
        for label in self._labels:
            self._events.labels(name, label)
        self.ask("up", "Whether the source is heard without trouble", lambda: not listener.trouble, source=name)
        self.ask("lag_seconds", "How far the analysis is behind the sound", lambda: listener.lag_s, source=name)
        text = "Sound given up because the analysis fell behind, in seconds"
        self.ask("dropped_seconds", text, lambda: listener.backlog.dropped_s, source=name, total=True)

    def ask(
        self, name: str, text: str, read: Callable[[], float], *, source: str | None = None, total: bool = False
    ) -> None:
        """Show what `read` answers whenever Prometheus asks; `total`: it only grows."""
        self._asked.add(f"acula_{name}", text, read, source=source, total=total)

    def _on_block(self, listener: Listener, block: Block) -> None:
        name, rate_hz, frames = listener.name, listener.source.sample_rate_hz, len(block.samples)
        heard = self._heard[name]
        if missing := block.position - heard.end:
            self._gaps.labels(name).inc()
            self._gap_s.labels(name).inc(missing / rate_hz)
        heard.end = block.position + frames
        self._audio_s.labels(name).inc(frames / rate_hz)
        heard.meter = heard.meter or LevelMeter(rate_hz)
        heard.meter.push(block.samples)
        heard.frames += frames
        if heard.frames >= LEVEL_S * rate_hz:
            level = heard.meter.level()
            self._level.labels(name).set(level.level_dbfs or 0.0)
            self._floor.labels(name).set(level.noise_floor_dbfs or 0.0)
            self._clipped.labels(name).set(level.clipped)
            heard.meter, heard.frames = None, 0

    def _on_window(self, listener: Listener, analysed: Analysed) -> None:
        self._window_s.labels(listener.name).observe(analysed.latency_s)

    def _on_event(self, listener: Listener, event: Event, _payload: dict[str, Any]) -> None:
        self._events.labels(listener.name, event.label).inc()

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"acula_{name}", text, ["source"], registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"acula_{name}", text, ["source", *labels], registry=self.registry)


class _Heard:
    """How far a listener has come, and the stretch that is being measured."""

    def __init__(self) -> None:
        self.end = 0
        self.frames = 0
        self.meter: LevelMeter | None = None


class _Asked(Collector):
    """Figures that other parts know at any time."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[str, bool]] = {}
        self._reads: dict[str, list[tuple[str | None, Callable[[], float]]]] = {}

    def add(self, name: str, text: str, read: Callable[[], float], *, source: str | None, total: bool) -> None:
        self._kinds[name] = text, total
        self._reads.setdefault(name, []).append((source, read))

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for name, reads in self._reads.items():
            text, total = self._kinds[name]
            labels = [] if reads[0][0] is None else ["source"]
            family = (CounterMetricFamily if total else GaugeMetricFamily)(name, text, labels=labels)
            for source, read in reads:
                family.add_metric([] if source is None else [source], float(read()))
            yield family


def hottest_celsius(zones: Path = Path("/sys/class/thermal")) -> float | None:
    """Of all thermal zones of this machine; None where it has none."""
    read = []
    for zone in zones.glob("thermal_zone*/temp"):
        with contextlib.suppress(OSError, ValueError):  # a sensor that is switched off
            read.append(int(zone.read_text()) / 1000)
    return max(read, default=None)


def start_metrics(
    settings: MetricsSettings,
    hooks: Hooks,
    model: Model,
    listeners: Iterable[Listener],
    *,
    outbox: Outbox,
    publisher: Publisher,
    upkeep: Upkeep,
) -> Callable[[], None]:
    """Count and serve, where that is on, before the listeners start; returns what ends it."""
    if not settings.enabled:
        return lambda: None
    labels = [label.name for label in model.bundle.manifest.labels]
    metrics = Metrics(hooks, version=__version__, bundle=model.name, backend=model.backend.name, labels=labels)
    for listener in listeners:
        metrics.watch(listener)
    text = "Whether sound or analysis does not go on for no reason that is known, so that a new start is due"
    metrics.ask("stuck", text, lambda: upkeep.is_stuck)
    metrics.ask("outbox_messages", "Messages that wait for the broker", lambda: outbox.depth)
    metrics.ask("dropped", "Messages given up before they were delivered", lambda: outbox.dropped, total=True)
    metrics.ask("broker_connected", "Whether the connection to the broker stands", lambda: publisher.is_connected)
    text = "Connections that failed or broke, and messages that the broker refused"
    metrics.ask("publish_errors", text, lambda: publisher.errors, total=True)
    if hottest_celsius() is not None:
        text = "The hottest thermal zone of the machine"
        metrics.ask("temperature_celsius", text, lambda: hottest_celsius() or float("nan"))
    return serve(metrics, settings)


def serve(metrics: Metrics, settings: MetricsSettings) -> Callable[[], None]:
    """Answer Prometheus in threads of its own; returns what ends it.

    An address that cannot be used is told in the log, and all else goes on.
    """
    try:
        server, thread = prometheus_client.start_http_server(settings.port, settings.host, metrics.registry)
    except (OSError, UnicodeError) as error:  # the latter for what can be no host name
        action = "set metrics.host and metrics.port to a free address, or metrics.enabled = false"
        reason = getattr(error, "strerror", None) or first_line(error)
        log.warning("no_metrics", host=settings.host, port=settings.port, reason=reason, action=action)
        return lambda: None
    log.info("metrics", address=f"http://{settings.host}:{server.server_port}/metrics")

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
