"""Align an audio encoder to the reports of its recordings: `python -m align.train --config configs/circor.toml`.

Stops and resumes, in the middle of an epoch too: run the same command again. Under `torchrun` several processes share
each batch and compute the loss of the whole. Writes into the output folder `last.ckpt`, `encoder.safetensors` and
`encoder.json` (what the next stage opens), `metrics.csv`, `metrics.json`, `training.png`, `settings.toml`, and
TensorBoard's log.
"""

from __future__ import annotations

import sys

from align.chatter import hush_lightning
from align.config import AlignSettings, refuse_misfits, refuse_missing
from align.presets import NEEDS
from edge.settings import run_program


def main() -> int:
    """Run the program and return its exit status."""
    if len(sys.argv) == 1:
        print(NEEDS, file=sys.stderr)
        return 2

    def run(settings: AlignSettings) -> int:
        refuse_misfits(settings)
        refuse_missing(settings)
        hush_lightning()
        # Here, because torch and Lightning take seconds to load, and a mistake in the settings shall not wait for them.
        import torch

        from align.training import make_demonstration, train

        torch.set_float32_matmul_precision("high")
        if settings.preset == "demo":
            make_demonstration(settings)
        task = train(settings)
        if task.global_rank == 0:
            print(
                f"encoder: {settings.output}\nnext: python -m align.evaluate --aligned {settings.output} "
                f"--recordings {settings.recordings}"
            )
        return 0

    return run_program(AlignSettings, run, prog="python -m align.train", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
