"""Is the daemon in this container alive? Exit status 0, or 1 and a line that says why: ``healthy.py edge.toml``.

Does: asks its metrics, and fails where they do not answer or say that it is stuck. Does not: fail for a microphone or a
broker that is away, which a new start would not bring back; the status and the figures tell of those. It runs twice a
minute on a small board, so it imports little and reads but two of the settings.
"""

from __future__ import annotations

import http.client
import os
import sys
from pathlib import Path

import tomllib

TIMEOUT_S = 5.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here


def main(settings: Path) -> str:
    """What is wrong; empty while nothing is. The environment wins over the file, as for the daemon."""
    metrics = tomllib.loads(settings.read_text()).get("metrics", {})
    host = os.environ.get("ACULA_EDGE__METRICS__HOST") or metrics.get("host", "127.0.0.1")
    port = os.environ.get("ACULA_EDGE__METRICS__PORT") or metrics.get("port", 9105)
    # No proxy of the environment stands between, as it would with urllib.
    connection = http.client.HTTPConnection(_ANY.get(host, host), int(port), timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from {host}:{port}: {error}"
    return "" if "acula_stuck 0.0" in lines else "it is stuck; its log says why"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])) or 0)
