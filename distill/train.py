"""Train a student: `python -m distill.train --config configs/room.toml`.

First composes scenes, then trains on windows cut from them. Stops and resumes: run the same command again. Writes into
the output folder `last.ckpt`, `metrics.csv`, `metrics.json` (validation figures of the last epoch),
`learning_curves.png` and `settings.toml`; the scenes lie in its folder `scenes` until the training ends.
"""

from __future__ import annotations

import sys

from align.chatter import hush_lightning
from distill.config import TrainSettings, refuse_missing
from edge.settings import run_program


def main() -> int:
    """Run the program and return its exit status."""

    def run(settings: TrainSettings) -> int:
        refuse_missing(settings)
        hush_lightning()
        # Here, because torch and Lightning take seconds to load, and a mistake in the settings shall not wait for them.
        import torch

        from distill.training import train

        torch.set_float32_matmul_precision("high")
        checkpoint = train(settings)
        export = f"python -m quantize.export --checkpoint {checkpoint} --recordings {settings.recordings}"
        print(f"checkpoint: {checkpoint}\nnext: {export} --name room --output bundles/room")
        return 0

    return run_program(TrainSettings, run, prog="python -m distill.train", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
