"""Score a student on people it never heard: `python -m distill.evaluate --student S --recordings RECORDINGS`.

For each label that answers a question: AUROC over the test people, each scored by the mean logit of their recordings,
beside a logistic regression on log-mel statistics that is fitted on the same training people, and beside chance; how
much INT8 takes of it (simulated as `distill.quantised` does); how far its probabilities are off. A label made of text
is scored by the question that it is like, and held against the head that was taught it. 95 % intervals by bootstrap
over people. Writes `evaluation.json` beside the student. It trains no student and tunes nothing.
"""

from __future__ import annotations

import sys

from align.files import refuse_absent
from distill.student_config import EvaluateSettings
from edge.settings import run_program


def main() -> int:
    """Run the program and return its exit status."""

    def run(settings: EvaluateSettings) -> int:
        refuse_absent(settings.student, "give the student.ckpt that python -m distill.teach left")
        refuse_absent(settings.recordings, "give the recordings that the student was taught with")
        # Here, because torch takes seconds to load, and a mistake in the settings shall not wait for it.
        from distill.scores import evaluate, table, write_evaluation

        found = evaluate(settings)
        print(table(found))
        print(f"figures: {write_evaluation(settings, found)}")
        return 0

    return run_program(EvaluateSettings, run, prog="python -m distill.evaluate", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
