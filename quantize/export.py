"""Turn a trained student into a bundle: `python -m quantize.export --checkpoint runs/room/last.ckpt ...`.

Builds beside the output folder and puts the bundle in place only after it passed every gate: float32 parity with torch,
AUROC against float32, hashes, signature, golden vectors. The same checkpoint in the same precision gives the same bytes
again, which is why no clock time and no speed is written into a bundle; `--report` keeps those.
"""

from __future__ import annotations

import sys

from edge.settings import run_program
from quantize.config import ExportSettings, refuse_missing


def main() -> int:
    """Turn a trained student into a bundle for a device and measure what quantising costs."""

    def run(settings: ExportSettings) -> int:
        refuse_missing(settings)
        # Here, because torch takes seconds to load, and a mistake in the settings shall not wait for it.
        from quantize.exporter import export

        return export(settings)

    return run_program(ExportSettings, run, prog="python -m quantize.export", description=main.__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
