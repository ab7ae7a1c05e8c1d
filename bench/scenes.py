"""False alarms an hour: `python -m bench.scenes --recordings RECORDINGS`.

Composes hours of continuous sound of test recordings (`quantize.scenes` says of what) and counts what the device hears
in them. Every onset is known, so every false alarm can be laid at the door of the sound that caused it. The intervals
are over scenes; a recording comes in several of them, so they are somewhat too narrow. Then as many hours in which
somebody always speaks, and coughs that are heard in those (`bench.speech`).
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from align.audio import load
from align.corpora import read_table
from align.statistics import Interval
from bench.listening import Heard, Listener, open_bundle
from bench.program import parser, run
from bench.speech import speech_lines
from edge.errors import UserError
from edge.intervals import poisson_interval
from edge.matching import EventCounts, bootstrap_f1, count_events, match_onsets
from quantize.scenes import SCENE_S, WITHIN, Composer, Scene

BLOCK_S = 1.0
LABEL = "cough"


def hear(listener: Listener, scene: Scene, sample_rate_hz: int) -> Heard:
    """What the device makes of a scene."""
    block = round(BLOCK_S * sample_rate_hz)

    def blocks() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(scene.samples), block):
            yield scene.samples[start : start + block, None]

    return listener.hear(blocks(), sample_rate_hz)


def main() -> None:
    """Print event figures, false alarms an hour, and what caused them."""
    flags = parser("scenes", __doc__)
    flags.add_argument("--recordings", type=Path, required=True, help="CSV that lists the recordings")
    flags.add_argument("--bundle", type=Path, help="bundle folder (default: the one that ships)")
    flags.add_argument("--hours", type=float, default=4.0, help="hours to compose, of each (default: 4)")
    flags.add_argument("--seed", type=int, default=0, help="seed of the scenes (default: 0)")
    run(flags, _measure)


def _measure(arguments: argparse.Namespace) -> None:
    if not math.isfinite(arguments.hours) or round(arguments.hours * 3600 / SCENE_S) < 1:
        raise UserError(f"--hours {arguments.hours:g} is not one scene of {SCENE_S / 60:g} minutes or more")
    listener = Listener(open_bundle(arguments.bundle))
    rate = listener.bundle.manifest.front_end.sample_rate_hz
    rows = [row for row in read_table(arguments.recordings) if row.split == "test" and row.modality == "airborne"]
    if not any(row.event == LABEL and row.times_s for row in rows):
        raise UserError(f"{arguments.recordings}: no test recording has marked times of {LABEL}")
    composer = Composer([(row, load(row.path, rate)) for row in rows], LABEL, rate)

    def onsets_in(scene: Scene) -> list[float]:
        return hear(listener, scene, rate).onsets_s(LABEL)

    counts: list[EventCounts] = []
    causes: Counter[str] = Counter()
    placed: Counter[str] = Counter()
    for index in tqdm(range(round(arguments.hours * 3600 / SCENE_S)), desc="scenes", unit="scene"):
        scene = composer.scene(np.random.default_rng([arguments.seed, index]))
        detected = onsets_in(scene)
        counts.append(count_events(scene.onsets_s, detected))
        matched = {found for _, found in match_onsets(scene.onsets_s, detected)}
        causes.update(scene.cause(time) for number, time in enumerate(detected) if number not in matched)
        placed.update(item.sound.kind for item in scene.placed)
    _report(counts, causes, placed)
    print(*speech_lines(composer, arguments.hours, arguments.seed, onsets_in), sep="\n")


def _report(counts: Sequence[EventCounts], causes: Counter[str], placed: Counter[str]) -> None:
    total = sum(counts, EventCounts())
    hours = len(counts) * SCENE_S / 3600
    rate = poisson_interval(total.fp)
    f1 = bootstrap_f1(counts)
    shown = Interval(total.f1, f1.low, f1.high) if f1 else f"{total.f1:.3f}"
    print(f"{hours:.1f} h in {len(counts)} scenes, {total.reference} coughs, {sum(placed.values())} sounds")
    print(f"F1 {shown}   sensitivity {total.sensitivity:.3f}   PPV {total.ppv:.3f}")
    print(
        f"false positives {total.fp / hours:.2f} an hour [{rate.low / hours:.2f}, {rate.high / hours:.2f}], caused by:"
    )
    for kind, number in causes.most_common():
        print(f"  {number:>4}  {kind:<24} ({placed[kind.removesuffix(WITHIN)] or '-'} placed)")
    if within := sum(number for kind, number in causes.items() if kind.endswith(WITHIN)):
        left = replace(total, fp=total.fp - within)
        print(f"if what lies within a mark is not counted: F1 {left.f1:.3f}, {left.fp / hours:.2f} an hour")


if __name__ == "__main__":
    main()
