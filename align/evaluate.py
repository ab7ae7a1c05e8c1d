"""Score a trained encoder on people it never heard: `python -m align.evaluate --aligned runs/x --recordings CSV`.

For each task a linear probe on the frozen encoder is fitted on the training split and scored on the test split, beside
the same probe on log-mel statistics of the same recordings. Prints AUROC with 95 % intervals by bootstrap over people,
and writes it to `evaluation.json` in the folder. It trains no encoder.
"""

from __future__ import annotations

import sys

from align.aligned_config import EvaluateSettings
from align.files import refuse_absent
from edge.settings import run_program


def main() -> int:
    """Run the program and return its exit status."""

    def run(settings: EvaluateSettings) -> int:
        refuse_absent(settings.recordings, "give the recordings of the training, of which the test split is scored")
        # Here, because torch takes seconds to load, and a mistake in the settings shall not wait for it.
        from align.scores import evaluate, table, write_evaluation

        found = evaluate(settings)
        print(table(found))
        print(f"figures: {write_evaluation(settings, found)}")
        return 0

    return run_program(EvaluateSettings, run, prog="python -m align.evaluate", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
