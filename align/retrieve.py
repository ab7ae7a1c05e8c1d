"""Find reports by sound: `python -m align.retrieve --query clip.wav --reports reports.parquet --aligned runs/x`.

Prints the reports nearest to a recording with their cosines; `--sheet` draws them below its spectrogram. With
`--recordings` instead of `--query` it tells how often the recordings of the test split find their own report, with
95 % intervals by bootstrap over people, beside chance. Equal reports count once. It writes no reports and trains
nothing; a near report says what sounded alike in training, not what a person has.
"""

from __future__ import annotations

import sys

from align.aligned_config import RetrieveSettings, refuse_unclear
from edge.settings import run_program


def main() -> int:
    """Run the program and return its exit status."""

    def run(settings: RetrieveSettings) -> int:
        refuse_unclear(settings)
        # Here, because torch takes seconds to load, and a mistake in the settings shall not wait for it.
        from align.nearest import retrieve

        retrieve(settings)
        return 0

    return run_program(RetrieveSettings, run, prog="python -m align.retrieve", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
