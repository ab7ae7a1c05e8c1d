"""A real Prometheus that reads a daemon as deploy/prometheus tells it to, and the questions that deploy/ has for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from bench.mosquitto import free_port
from tests.brokers import eventually
from tests.needs import lacking
from tests.programs import ROOT

DEPLOY = ROOT / "deploy"


def alerts() -> list[str]:
    """The expressions of the alerts."""
    return re.findall(r"expr: (.*)", (DEPLOY / "prometheus" / "alerts.yml").read_text())


class Panel(NamedTuple):
    """A question of the dashboard, as Grafana asks it of all boards over the last hour."""

    expression: str
    labels: set[str]
    """That the legend names."""


def panels() -> list[Panel]:
    """All of them, those of a table as well."""
    dashboard = json.loads((DEPLOY / "grafana" / "acula-edge.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [
        Panel(
            target["expr"].replace("$device", ".+").replace("$__range", "1h"),
            set(re.findall(r"{{(\w+)}}", target.get("legendFormat", ""))),
        )
        for target in targets
    ]


class Prometheus:
    """Reads the metrics at `address` once a second. Skips where the program is missing, and fails there in CI."""

    def __init__(self, folder: Path, address: str) -> None:
        program = shutil.which("prometheus")
        if program is None:
            lacking("prometheus is not installed")
        target = urllib.parse.urlsplit(address).netloc
        configuration = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
        # As on a device, but faster, to another port, and with the alerts instead of a server to send to.
        for old, new in (
            ("scrape_interval: 30s", "scrape_interval: 1s\n  evaluation_interval: 1s"),
            ("127.0.0.1:9105", target),
            (configuration[configuration.index("remote_write:") :], f"rule_files: [{DEPLOY}/prometheus/alerts.yml]\n"),
        ):
            assert configuration.count(old) == 1
            configuration = configuration.replace(old, new)
        (folder / "prometheus.yml").write_text(configuration)
        self._log = (folder / "prometheus.log").open("w+")
        self._address = f"127.0.0.1:{free_port()}"
        self._command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
        self._command += [f"--web.listen-address={self._address}"]

    def ask(self, path: str, **question: str) -> Any:
        """What its HTTP interface answers; an expression that it refuses fails the test with its reason."""
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(question)}"
        try:
            answer = urllib.request.urlopen(url, timeout=60)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{question}: {error.read().decode()}") from error
        with answer:
            return json.load(answer)["data"]

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._said()
        try:
            urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=60).close()
        except OSError:
            return False
        return True

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def __enter__(self) -> Prometheus:
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        eventually(self._is_ready, "a Prometheus that is ready")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
