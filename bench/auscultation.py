"""Figures of the auscultation bundle on test people: `python -m bench.auscultation --recordings RECORDINGS`.

Murmur of children (CirCor), each recording heard through the device's pipeline: AUROC of children, scored by the mean
log-odds of their recordings, and of recordings, asked whether the murmur was heard in them. 95 % intervals by bootstrap
over children. Beside it a regression on log-mel statistics fitted on the training children, and chance. Then what of
the bundle's events somebody would see, and what a window costs on one core. The breathing rate is `bench.respiration`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from align.baseline import log_mel_statistics
from align.clips import Clips, open_clips
from align.probe import probe_scores
from align.statistics import auroc_difference, auroc_interval
from align.tasks import Examples, Task, examples
from bench.listening import open_bundle
from bench.program import parser, run
from edge.analysis import Analyzer
from edge.backends import open_backend
from edge.bundle import Bundle, find_bundle
from edge.errors import UserError
from edge.events import Event
from edge.track import TrackChunk
from quantize.latency import graphs_ms
from quantize.questions import PEOPLE, RECORDINGS, asked, holds_here, log_odds
from quantize.recordings import LabelledClip

CORPUS, LABEL = "circor", "murmur"
QUESTION = Task(name=LABEL, column="murmur", positive=("Present",), negative=("Absent",), unit="person")
CHANCE, AIM = 0.5, 0.90
"""The aim is for children."""


def as_clips(clips: Clips, sample_rate_hz: int) -> list[LabelledClip]:
    """Recordings with what is known of each."""
    heard = []
    for at, row in enumerate(clips.rows):
        samples = clips.samples(at).astype(np.float32) / 32768.0
        heard.append(LabelledClip(row, samples, len(samples) / sample_rate_hz, (holds_here(QUESTION, row),)))
    return heard


def hear(bundle: Bundle, clips: Sequence[LabelledClip]) -> tuple[list[NDArray[np.float32]], list[list[Event]]]:
    """Score tracks (frames, 1) of the label, and events, of each recording."""
    backend, rate = open_backend(bundle), bundle.manifest.front_end.sample_rate_hz
    column = [label.name for label in bundle.manifest.labels].index(LABEL)
    tracks, events = [], []
    for clip in tqdm(clips, desc="listen", unit="clip", leave=False):
        chunks: list[TrackChunk] = []
        analyzer = Analyzer(bundle, backend, input_rate_hz=rate, channels=1)
        analyzer.on_scores = chunks.append
        found = analyzer.push(clip.samples[:, np.newaxis]) + analyzer.flush()
        events.append([event for event in found if event.label == LABEL])
        tracks.append(np.concatenate([chunk.scores[:, [column]] for chunk in chunks]))
    return tracks, events


def regression(train: Clips, test: Clips, rate: int) -> dict[str, Examples]:
    """The baseline's scores of children and of recordings, in the order of `asked`."""
    features = {part: log_mel_statistics(clips, rate) for part, clips in (("train", train), ("test", test))}
    found = {}
    for unit in (PEOPLE, RECORDINGS):
        parts = [_examples(unit, clips, features[part]) for part, clips in (("train", train), ("test", test))]
        scores = probe_scores(*parts).astype(np.float32)[:, np.newaxis]
        found[unit] = Examples(scores, parts[1].answers, parts[1].groups)
    return found


def _examples(unit: str, clips: Clips, features: NDArray[np.float32]) -> Examples:
    if unit == PEOPLE:
        return examples(QUESTION, clips.rows, features)
    answers = [holds_here(QUESTION, row) for row in clips.rows]
    known = [at for at, answer in enumerate(answers) if answer is not None]
    groups = tuple(clips.rows[at].group for at in known)
    return Examples(features[known], np.array([bool(answers[at]) for at in known]), groups)


def table(scored: dict[str, Examples], beside: dict[str, Examples]) -> list[str]:
    """Lines of AUROC, for children and for recordings."""
    head = "".join(f"{title:<23}" for title in ("bundle", "log-mel regression", "better by"))
    lines = [f"{LABEL + ', AUROC':<18}{'yes':>5}{'no':>5}  {head}chance"]
    for unit, title in ((PEOPLE, "children"), (RECORDINGS, "recordings")):
        one, other = scored[unit], beside[unit]
        truth, groups = one.answers, one.groups
        cells = [
            auroc_interval(truth, one.features[:, 0], groups),
            auroc_interval(truth, other.features[:, 0], groups),
            auroc_difference(truth, one.features[:, 0], other.features[:, 0], groups),
        ]
        aim = f"   aim {AIM:.2f}" if unit == PEOPLE else ""
        row = "".join(f"{cell!s:<23}" for cell in cells)
        lines.append(f"{title:<18}{truth.sum():>5}{(~truth).sum():>5}  {row}{CHANCE:.1f}{aim}")
    return lines


def event_lines(clips: Sequence[LabelledClip], events: Sequence[list[Event]]) -> list[str]:
    """How many recordings with and without the sound have an event."""
    lines = []
    for holds, words in ((True, "with a murmur"), (False, "without")):
        told = [bool(found) for clip, found in zip(clips, events, strict=True) if clip.holds[0] is holds]
        lines.append(f"recordings {words}: an event in {sum(told)} of {len(told)}")
    return lines


def cost_line(bundle: Bundle, clips: Sequence[LabelledClip]) -> str:
    """Milliseconds of a window."""
    length = bundle.manifest.window_samples
    long_enough = [clip.samples[:length] for clip in clips if len(clip.samples) >= length]
    if not long_enough:
        return f"no recording is as long as a window, {bundle.manifest.window_s:g} s, so none is timed"
    windows = np.stack(long_enough[:50])
    backend = open_backend(bundle)
    log_mels = np.stack([backend.infer(window).log_mel for window in windows])
    graphs = {"encoder": bundle.encoder_path, "front-end": bundle.frontend_path}
    ms = graphs_ms(graphs, {"encoder": log_mels, "front-end": windows})
    return (
        f"one core, a window of {bundle.manifest.window_s:g} s: encoder ({bundle.manifest.precision}) "
        f"{ms['encoder']:.2f} ms, front-end {ms['front-end']:.2f} ms"
    )


def _print(arguments: argparse.Namespace) -> None:
    bundle = open_bundle(arguments.bundle or find_bundle("auscultation"))
    if LABEL not in [label.name for label in bundle.manifest.labels]:
        raise UserError(f"bundle {bundle.path}: it has no label {LABEL}; name one that has with --bundle")
    rate = bundle.manifest.front_end.sample_rate_hz
    opened = open_clips(arguments.recordings, rate, (CORPUS,))
    parts = {
        part: opened.keep([at for at, row in enumerate(opened.rows) if row.split == part]) for part in ("train", "test")
    }
    for part, given in parts.items():
        if not len(given):
            raise UserError(f"{arguments.recordings}: no {part} recording of {CORPUS}")
    clips = as_clips(parts["test"], rate)
    tracks, events = hear(bundle, clips)
    scored = asked(QUESTION, clips, 0, log_odds(tracks, 0))
    beside = regression(parts["train"], parts["test"], rate)
    print(f"bundle {bundle.manifest.name} {bundle.manifest.version}, {len(clips)} test recordings of {CORPUS}\n")
    print(*table(scored, beside), "", *event_lines(clips, events), "", cost_line(bundle, clips), sep="\n")


def main() -> None:
    """Print the figures."""
    flags = parser("auscultation", __doc__)
    flags.add_argument("--recordings", type=Path, required=True, help="CSV that lists the recordings")
    flags.add_argument("--bundle", type=Path, help="bundle folder (default: auscultation, which ships)")
    run(flags, _print)


if __name__ == "__main__":
    main()
