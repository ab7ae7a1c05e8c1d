"""The model card of a bundle that answers questions about recordings: hearts and lungs by stethoscope.

Written from results alone, as `quantize.card` is for events in rooms. It speaks of sounds and never of illness.
"""

from __future__ import annotations

from edge.events import REGION_LIMIT_S
from quantize.card import FEW_CLIPS, auroc_table, failures, operating_points, precision, training
from quantize.questions import SPECIFICITY
from quantize.results import Results

HEARD = {
    "airborne": "by a microphone in the air",
    "contact": "by a stethoscope or another microphone on the chest",
}


def taught_card(results: Results, has_prompts: bool) -> str:
    """Write the card."""
    sections = [_purpose(results, has_prompts), training(results), _accuracy(results)]
    sections += [failures(results.failures), _points(results), precision(results), _limitations(results)]
    return "\n\n".join(sections) + "\n"


def _purpose(results: Results, has_prompts: bool) -> str:
    manifest = results.manifest
    labels = ", ".join(label.name for label in manifest.labels)
    breathing = (
        "\n\nThe breathing rate is told from the levels of the sound itself (`edge.respiration`), not by this encoder."
        if manifest.modality == "contact"
        else ""
    )
    prompts = " `prompts.npz` holds directions of its embedding for sounds named by text alone." if has_prompts else ""
    return f"""# {manifest.name} {manifest.version}

Scores {labels} in sound taken {HEARD[manifest.modality]}: {manifest.front_end.sample_rate_hz} Hz mono in windows of
{manifest.window_s:g} s, one every {manifest.hop_s:g} s. A score is that of a whole window, 0 to 1: how much the window
sounds like the recordings in which listeners heard a {labels.split(", ", maxsplit=1)[0]}. The embedding of a window
(`embedding`, {manifest.embedding_size} numbers) is for one's own models.{prompts}{breathing}

The encoder has {results.size}.

**Not a medical device.** It does not diagnose, and says nothing about anybody's health: a high score names a sound, a
low one excludes nothing. It must not be relied on for the care of a patient."""


def _accuracy(results: Results) -> str:
    return "\n".join(
        [
            "## Test split",
            "",
            "A recording's score is the mean over its length, a person's the mean log-odds of their recordings. Of a "
            "recording it is asked whether the sound was heard in it, where the corpus says so. 95 % intervals by "
            "bootstrap over people.",
            "",
            auroc_table(results, ("question", "yes", "no")),
        ]
    )


def _points(results: Results) -> str:
    least = min(choice.point.minimum_duration_s for choice in results.choices)
    return (
        operating_points(results.choices)
        + "\n\nAn event is told when the score stays above `on` over windows that agree, for "
        f"{least:g} s at least, and again every {REGION_LIMIT_S:g} s that it goes on. `on` is the lowest that left "
        f"{SPECIFICITY:.0%} of the validation recordings without the sound below it."
    )


def _limitations(results: Results) -> str:
    shipped = results.candidates[results.verdict.precision]
    weak = [
        f"- {label.label}: only {label.positives} in the test split hold it, so the figures are weak."
        for label in shipped.accuracy
        if label.positives < FEW_CLIPS
    ]
    names = ", ".join(corpus.name for corpus in results.manifest.corpora)
    return "\n".join(
        [
            "## Limitations",
            "",
            *weak,
            f"- Trained and tested on one source ({names}): other ages, stethoscopes and places were not heard.",
            "- Scores are probabilities only where the sound is as frequent as in that source.",
            "- Speech, friction and a stethoscope that is moved were not among the training recordings; expect high "
            "scores at times.",
            "- Listeners' opinions are the reference, not an examination.",
        ]
    )
