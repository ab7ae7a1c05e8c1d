"""Teach a student what an encoder hears: `python -m distill.teach --config configs/auscultation.toml`.

The teacher is asked once about every view of every training recording, and its answers are kept; then the student
learns from the same views; then its heads are fitted and calibrated. Stops and resumes: run the same command again.
Writes into the output folder `student.ckpt` (what the next stage opens), `last.ckpt` (to resume from), `metrics.csv`,
`metrics.json` (figures of the validation people), `learning_curves.png` and `settings.toml`.
"""

from __future__ import annotations

import sys

from align.chatter import hush_lightning
from distill.teach_config import TeachSettings, refuse_misfits, refuse_missing
from edge.settings import run_program


def main() -> int:
    """Run the program and return its exit status."""

    def run(settings: TeachSettings) -> int:
        refuse_misfits(settings)
        refuse_missing(settings)
        hush_lightning()
        # Here, because torch and Lightning take seconds to load, and a mistake in the settings shall not wait for them.
        from distill.course import teach

        student = teach(settings)
        print(
            f"student: {student}\n"
            f"next: python -m distill.evaluate --student {student} --recordings {settings.recordings}"
        )
        return 0

    return run_program(TeachSettings, run, prog="python -m distill.teach", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
