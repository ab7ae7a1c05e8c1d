"""The model card: what a bundle is for, what it is not, and every figure that was measured, as Markdown.

Written from results alone, so the same results give the same bytes. Speed is not on it: it belongs to a machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge.scoring import Report
from quantize.calibration import RECIPES
from quantize.corpora import NOTES
from quantize.failures import SHOWN, Failures
from quantize.gate import TITLES
from quantize.operating_points import Choice
from quantize.results import Results
from quantize.scarce import LEAST_CLIPS, LEAST_SOURCES
from quantize.sources import FEWEST_GROUPS, HEAD, SourceAccuracy, cells

FEW_CLIPS = 50
"""Below so many clips with a label, its figures are called weak."""


def card(results: Results) -> str:
    """Write the card."""
    labels = [choice.label for choice in results.choices]
    sections = [_purpose(results), training(results), _accuracy(results), events_section(results.events)]
    sections += [failures(results.failures), triggers(results.failures, labels)]
    sections += [operating_points(results.choices), precision(results), limitations(results)]
    return "\n\n".join(sections) + "\n"


def _purpose(results: Results) -> str:
    manifest = results.manifest
    labels = ", ".join(label.name for label in manifest.labels)
    return f"""# {manifest.name} {manifest.version}

Detects {labels} in airborne sound: {manifest.front_end.sample_rate_hz} Hz mono in windows of {manifest.window_s:g} s,
a score for each label every {1000 * manifest.step_s:.0f} ms, times of events from the scores. Meant for counting such
sounds in a room over time, by microphone, on a small computer.

The encoder has {results.size}.

**Not a medical device.** It does not diagnose, it does not tell people apart, and a count of coughs is no statement
about anybody's health. It must not be relied on for the care of a patient."""


def training(results: Results) -> str:
    """Which recordings, under which licences, and how they were split."""
    rows = [
        f"| {corpus.name} | {corpus.recordings} | {corpus.licence} | {corpus.source} |"
        for corpus in results.manifest.corpora
    ]
    notes = [f"- {NOTES[corpus.name]}" for corpus in results.manifest.corpora if corpus.name in NOTES]
    counts = results.recordings
    return "\n".join(
        [
            "## Training data",
            "",
            "| corpus | recordings | licence | source |",
            "|---|---|---|---|",
            *rows,
            "",
            *notes,
            "" if notes else "No corpus asks for more to be said.",
            f"Recordings are split by person, or by source where persons are not known: {counts['train']} to train on, "
            f"{counts['validation']} to validate, {counts['test']} to test. Operating points were chosen on the "
            "validation split, and so was the way to quantise; the test split decided only whether INT8 costs too "
            "much to ship, and gave the figures below.",
            "",
            *_left_out(results),
            f"Checkpoint: SHA-256 `{results.checkpoint.sha256}`, {results.manifest.created}.",
        ]
    )


def _left_out(results: Results) -> list[str]:
    rows = [f"- {label.label}: {label.reason}." for label in results.left_out]
    lines = ["Labels that were trained and are left out of the bundle:", "", *rows, ""] if rows else []
    few, enough = (
        ", ".join(f"{one.label} {one.clips}" for one in results.never_labels if one.enough is wanted)
        for wanted in (False, True)
    )
    if few:
        lines += [
            f"No detector ships for sounds with fewer than {LEAST_CLIPS} held-out recordings, or of fewer than "
            f"{LEAST_SOURCES} sources; they were heard as what is none of the labels: {few}.",
            "",
        ]
    if enough:
        lines += [
            f"Other sounds have as many and were not trained as labels, but heard as what is none of them: {enough}.",
            "",
        ]
    return lines


def auroc_table(results: Results, head: tuple[str, str, str]) -> str:
    """AUROC of what ships, a row for each of its labels; `head` names the label and its two counts."""
    rows = [
        (
            label.label,
            f"{label.positives}",
            f"{label.negatives}",
            f"{label.auroc}",
            f"{label.drop.value:+.4f} [{label.drop.low:+.4f}, {label.drop.high:+.4f}]",
        )
        for label in results.candidates[results.verdict.precision].accuracy
    ]
    return table_of((*head, "AUROC", "below float32"), rows)


def _accuracy(results: Results) -> str:
    return "\n".join(
        [
            "## Clips of the test split",
            "",
            "A clip's score is the mean over its highest-scored second. Clips of which it is not known whether they "
            "hold the label are left out; the others are of all sources together. 95 % intervals by bootstrap over "
            "people or, where a corpus names none, recordings.",
            "",
            auroc_table(results, ("label", "with", "without")),
            "",
            sources_section(results.sources),
        ]
    )


def sources_section(sources: Sequence[SourceAccuracy]) -> str:
    """How well each label is told in each source."""
    return (
        "### AUROC by source\n\nOver all sources a detector may do well by their microphones alone. So: among a "
        "source's own recordings; its recordings with the label against those of all sources without; those of all "
        "sources with it against its own without. Without an interval where one side has fewer than "
        f"{FEWEST_GROUPS} people.\n\n" + table_of(HEAD, cells(sources))
    )


def events_section(events: Mapping[str, Report]) -> str:
    """How well each label's marked events were found."""
    lines = ["## Events of the test split", ""]
    if not events:
        return "\n".join([*lines, "No label has recordings with hand-marked times in the test split."])
    for label, report in events.items():
        lines += [
            f"**{label}**, onsets matched one to one within {report.tolerance_s:.2f} s:",
            "",
            _event_rows(report),
            "",
        ]
    return "\n".join(lines).rstrip()


def _event_rows(report: Report) -> str:
    counts = report.counts
    rows = []
    for measure, title in (("sensitivity", "sensitivity"), ("ppv", "PPV"), ("f1", "F1")):
        bounds = next((f" [{i.low:.3f}, {i.high:.3f}]" for name, i in report.intervals.items() if name == measure), "")
        value = {"sensitivity": counts.sensitivity, "ppv": counts.ppv, "f1": counts.f1}[measure]
        rows.append(f"| {title} | {value:.3f}{bounds} |")
    rows.append(
        f"| false positives | {report.fp_with_events} in recordings with events, {report.fp_without_events} in others |"
    )
    return "\n".join(["| measure | value |", "|---|---|", f"| marked events | {counts.reference} |", *rows])


def failures(found: Failures) -> str:
    """Which test recordings are told wrongly."""
    head = (
        "## Failures heard\n\nRecordings of the test split that the detector tells wrongly at the operating points "
        "below. A false alarm is an event where the sound is not, a miss none where it is."
    )
    counts = [
        (one.label, f"{one.false_alarms} of {one.without}", f"{one.misses} of {one.holding}") for one in found.counts
    ]
    head += "\n\n" + table_of(("label", "false alarms", "misses"), counts)
    if not found.worst:
        return head
    head += f"\n\nAt most {SHOWN} of each kind for each label, the worst first:"
    rows = [(one.label, one.kind, one.event, f"`{one.recording}`", f"{one.score:.3f}") for one in found.worst]
    return f"{head}\n\n" + table_of(("label", "what", "the corpus says", "recording", "score"), rows)


def triggers(failures: Failures, labels: Sequence[str]) -> str:
    """Which sounds that are no labels are taken for one."""
    head = (
        "## Sounds that are no labels\n\nHow many test clips of each kind of sound set off at least one event of a "
        "label. What a corpus does not call so may still hold one: speech in laughter, breath in a sneeze."
    )
    found, silent = failures.triggers, failures.silent
    rows = [(one.event, f"{one.clips}", *(f"{alarms}" for alarms in one.alarms)) for one in found]
    rest = f"{silent} {'other ' if found else ''}kinds set off nothing."
    return "\n\n".join([head, *([table_of(("sound", "clips", *labels), rows)] if rows else []), rest])


def table_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    ruler = "|" + "---|" * len(head)
    return "\n".join(["| " + " | ".join(head) + " |", ruler, *("| " + " | ".join(row) + " |" for row in rows)])


def operating_points(choices: Sequence[Choice]) -> str:
    """The points, and the curves that they were chosen on."""
    head = (
        "| label | on | off | minimum, s | merge gap, s | refractory, s | split depth |\n|---|---|---|---|---|---|---|"
    )
    points = [(choice.label, choice.point) for choice in choices]
    rows = [
        f"| {label} | {point.on:g} | {point.off:g} | {point.minimum_duration_s:g} | {point.merge_gap_s:g} | "
        f"{point.refractory_s:g} | {point.split_depth:g} |"
        for label, point in points
    ]
    curves = [_curve(choice) for choice in choices]
    return "\n\n".join(["## Operating points", "\n".join([head, *rows]), *curves])


def _curve(choice: Choice) -> str:
    head = "| " + " | ".join(choice.columns) + " |\n|" + "---|" * len(choice.columns)
    rows = []
    for row in choice.curve:
        mark = "**" if row[0] == choice.point.on else ""
        rows.append("| " + " | ".join(f"{mark}{value:.3f}{mark}" for value in row) + " |")
    title = f"### {choice.label} on the validation split: {choice.criterion} {choice.value:.3f}"
    return "\n".join([title, "", f"Chosen on {choice.basis}.", "", head, *rows])


def precision(results: Results) -> str:
    """How the encoder was quantised, and what rounding costs."""
    int8, chosen = results.candidates["int8"], results.selection.chosen
    error = int8.error
    assert error is not None  # noqa: S101 - INT8 was compared before it was measured
    drops = ", ".join(f"{label.label} {label.drop.value:+.4f}" for label in int8.accuracy)
    ways = [
        (
            way.calibrator,
            f"{way.weight_bits}",
            ", ".join(way.kept_float) or "none",
            f"{way.sqnr_db:.1f}",
            f"{way.cosine:.4f}",
            f"{way.drop:+.4f} ({way.label})",
        )
        for way in results.selection.tried
    ]
    reason = f"{results.verdict.reason}."
    if results.verdict.allowed:
        reason += f"\n\n**The accuracy gate failed and was overridden: {results.verdict.allowed}.**"
    return f"""## Precision

The encoder is {TITLES[results.verdict.precision]}. {reason}

INT8 ({RECIPES[results.target].words}; the first convolution and what makes the scores float) was calibrated on
{results.calibration.windows} windows of the training split, drawn in turn from {results.calibration.strata} pairs of
corpus and event (index SHA-256 `{results.calibration.index_sha256}`). The ways that were tried, compared with float32
on one window of each validation recording; {chosen.calibrator} with weights of {chosen.weight_bits} bits was taken:

{table_of(("calibrator", "bits of weights", "further float layers", "SQNR, dB", "cosine", "AUROC drop"), ways)}

Against float32, over {error.windows} test windows: scores differ by at most {error.max_score:.3f}, embeddings have
cosine {error.cosine_mean:.4f} (least {error.cosine_min:.4f}), SQNR {error.sqnr_db:.1f} dB, linear CKA {error.cka:.4f}.
AUROC below float32's: {drops}. The front-end is always float32.{_on_boards(results)}"""


def _on_boards(results: Results) -> str:
    """What is known, and what not, of the engines that a board will build."""
    if results.target == "cpu":
        return ""
    built = "INT8 and float16 and keeps the faster" if results.verdict.precision == "int8" else "float16"
    return f"""

**Not yet run on hardware.** `encoder.onnx`, which ONNX Runtime runs on the board until there is an engine, is float32.
`python -m edge engine`, or `build_engine.sh` without Python, builds {built} if it gives the golden outputs. Every graph
was held against the rules of TensorRT 8.5 to 11 (`lint.json`) and run by ONNX Runtime, which gave the figures here; no
engine was built, and no speed on a board is known."""


def limitations(results: Results) -> str:
    """What the figures do not show."""
    shipped = results.candidates[results.verdict.precision]
    weak = [
        f"- {label.label}: only {label.positives} test clips hold it, so its figures are weak."
        for label in shipped.accuracy
        if label.positives < FEW_CLIPS
    ]
    unmarked = [choice.label for choice in results.choices if choice.label not in results.events]
    if unmarked:
        weak.append(
            f"- {', '.join(unmarked)}: no recording has marked times, so onsets and counts were not measured, only "
            "whether a clip holds the sound; durations are those of typical sounds."
        )
    return "\n".join(
        [
            "## Limitations",
            "",
            *weak,
            "- Most recordings were made by phone, close by and on request. Distant, muffled and involuntary sounds "
            "are known from simulation only.",
            "- Where a corpus names no people, two recordings may be of one person, and intervals are then too narrow.",
            "- Sneezes, laughter, snoring and throat-clearing are in few recordings; expect some to count as coughs.",
            "- False positives an hour depend on the room. Measure them in yours before relying on counts.",
        ]
    )
