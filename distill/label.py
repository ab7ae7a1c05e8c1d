"""Add a label by text alone: `python -m distill.label --student S --name NAME --positive TEXT --negative TEXT`.

The language model that the teacher was aligned to reads the two texts; the student's text map turns their difference
into a row of its head (`distill.prompts`). No recording is needed and nothing is trained. The label's score ranks
recordings, 0.5 being the average of the training's; it is no probability. Give the checkpoint that it writes to
`python -m quantize.export` for a bundle that has the label.
"""

from __future__ import annotations

import sys

from distill.student_config import LabelSettings
from edge.errors import ConfigError
from edge.settings import run_program


def add_label(settings: LabelSettings) -> list[str]:
    """Write the student with the label, and return the names of its labels.

    Raises:
        UserError: no student, none that was taught by an aligned encoder, or texts that it does not tell apart.
    """
    from align.teacher import embed_reports
    from distill.checkpoint import LabelSpec, StudentError, load_student, save_student
    from distill.prompts import TextMap

    if settings.output.is_dir():
        raise ConfigError(f"{settings.output}: is a folder; name a file for the student with the label")
    student = load_student(settings.student)
    if student.text is None:
        raise StudentError(f"{settings.student}: taught by an encoder that was not aligned to texts; it knows none")
    text_map = TextMap.from_state(student.text["map"])
    positive, negative = embed_reports([settings.positive, settings.negative], text_map.teacher, settings.text_cache)
    spec = LabelSpec(
        name=settings.name, kind="clip", origin="text", positive=settings.positive, negative=settings.negative
    )
    grown = student.with_label(spec, *text_map.row(positive, negative))
    made_of_text = [(row, label.name) for row, label in enumerate(grown.labels) if label.origin == "text"]
    rows = [grown.student.window_head.weight.detach()[row] for row, _ in made_of_text]
    save_student(settings.output, grown.with_text(text_map.state(), [name for _, name in made_of_text], rows))
    return [label.name for label in grown.labels]


def main() -> int:
    """Run the program and return its exit status."""

    def run(settings: LabelSettings) -> int:
        names = add_label(settings)
        print(f"labels: {', '.join(names)}\nstudent: {settings.output}")
        return 0

    return run_program(LabelSettings, run, prog="python -m distill.label", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
