"""Choose a finished bundle's operating points anew: `python -m quantize.tune --bundle edge/bundles/room ...`.

For when the device's segmentation has changed, or labels are to mask each other, and the models have not. The models,
the golden vectors and what the card says of training and quantisation stay as they are; operating points, figures of
the test split, failures and the drift reference are made anew. Operating points are chosen on the validation split.
"""

from __future__ import annotations

import sys

from edge.settings import run_program
from quantize.config import TuneSettings, refuse_missing


def main() -> int:
    """Choose a finished bundle's operating points anew."""

    def run(settings: TuneSettings) -> int:
        refuse_missing(settings)
        # Here, because torch takes seconds to load, and a mistake in the settings shall not wait for it.
        from quantize.retuning import tune

        return tune(settings)

    return run_program(TuneSettings, run, prog="python -m quantize.tune", description=main.__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
