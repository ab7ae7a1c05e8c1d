"""How well the breathing rate is told: `python -m bench.respiration --recordings RECORDINGS`.

Recordings of the corpus `rrujo` (people who breathed to a metronome, by stethoscope, 45 s), heard as the device hears
contact audio. Prints, with 95 % intervals by bootstrap over people: mean absolute error, share within 2 a minute, bias,
limits of agreement and coverage, where a rate is given and for every recording; beside it the guess that knows only the
training rates, and the strongest period of the envelope. Draws error against coverage.

`--split train` is what the method was chosen by: there the choice of the octave is fitted anew without each person.
Its last line gives the constants of `edge.respiration`, fitted on all of them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from align.audio import load
from align.corpora import CorpusError, Recording, read_table
from align.figures import save
from align.statistics import Interval, bootstrap
from bench.program import parser, run
from edge import respiration
from edge.errors import UserError
from edge.respiration import BANDS, LEAST_QUALITY, OCTAVE_MIDDLE, OCTAVE_SLOPE, BandLevels, Spectrum

CORPUS = "rrujo"
SAMPLE_RATE_HZ = 4000
"""That of a bundle for contact audio."""
CLOSE_BPM = 2.0
SAME_BPM = 1.5
"""A rate nearer than this is taken for the true one, or for twice it, when the octave is fitted."""
REGULARISATION = 10.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """Rates of recordings, in breaths a minute, and how sure they are; arrays of one length."""

    truth: Floats
    rate: Floats
    quality: Floats
    groups: list[str]

    def sure(self) -> Told:
        """Those that the device would give."""
        kept = np.flatnonzero(self.quality >= LEAST_QUALITY)
        return Told(self.truth[kept], self.rate[kept], self.quality[kept], [self.groups[at] for at in kept])

    @property
    def error(self) -> Floats:
        """Told less true."""
        return self.rate - self.truth


def levels(recordings: Sequence[Recording]) -> list[Floats]:
    """Rows of band levels of each recording."""
    return [BandLevels(SAMPLE_RATE_HZ).push(load(row.path, SAMPLE_RATE_HZ)) for row in tqdm(recordings, desc="listen")]


def spectra(rows: Sequence[Floats], recordings: Sequence[Recording]) -> list[Spectrum]:
    """What decides, of each recording.

    Raises:
        CorpusError: nothing moves in one, or it is too short for a breath.
    """
    found = []
    for row, recording in zip(rows, recordings, strict=True):
        if (one := respiration.analyse(row, BANDS)) is None:
            raise CorpusError(f"{recording.path}: is silent or too short to hold breaths; take it out of the table")
        found.append(one)
    return found


def rates_of(rows: Sequence[Recording], table: Path) -> Floats:
    """The breathing rate of each recording, in breaths a minute.

    Raises:
        CorpusError: one has none that is a number above 0.
    """
    rates = []
    for row in rows:
        cell = row.metadata.get("respiration_bpm", "")
        try:
            rate = float(cell)
        except ValueError:
            rate = math.nan
        if not 0 < rate < math.inf:
            raise CorpusError(f"{table}: respiration_bpm of {row.path.name} is '{cell}'; write breaths a minute")
        rates.append(rate)
    return np.array(rates)


def told(found: Sequence[Spectrum], truth: Floats, groups: list[str], octaves: Sequence[float]) -> Told:
    """Rates by the device's rule, with the log-odds of each recording's octave."""
    decided = [respiration.decide(one, BANDS, octave) for one, octave in zip(found, octaves, strict=True)]
    return Told(truth, np.array([rate for rate, _ in decided]), np.array([sure for _, sure in decided]), groups)


def fit_octave(found: Sequence[Spectrum], truth: Floats) -> tuple[float, float]:
    """Slope and middle of the log-odds that step 1 gave twice the rate, where it gave either."""
    rate, alternation = np.array([one.rate_bpm for one in found]), np.array([one.alternation for one in found])
    doubled = np.abs(rate / 2 - truth) < SAME_BPM
    known = doubled | (np.abs(rate - truth) < SAME_BPM)
    if len(set(doubled[known].tolist())) < 2:
        raise CorpusError("the recordings have no rate that was doubled and one that was not, so nothing can be fitted")
    model = LogisticRegression(C=REGULARISATION).fit(alternation[known, np.newaxis], doubled[known])
    slope = float(model.coef_[0, 0])
    return slope, -float(model.intercept_[0]) / slope


def held_out_octaves(found: Sequence[Spectrum], truth: Floats, groups: Sequence[str]) -> list[float]:
    """Log-odds of each recording's octave by the others' people."""
    octaves = []
    for one, group in zip(found, groups, strict=True):
        others = [at for at, other in enumerate(groups) if other != group]
        slope, middle = fit_octave([found[at] for at in others], truth[others])
        octaves.append(slope * (one.alternation - middle))
    return octaves


def envelope_rates(rows: Sequence[Floats]) -> Floats:
    """The strongest period of the mean level: what one would try first."""
    rates = []
    for row in rows:
        level = row.mean(axis=1)
        power = np.abs(np.fft.rfft(level - level.mean(), 16 * len(level)))
        bpm = np.fft.rfftfreq(16 * len(level), 1 / (60 * respiration.STEPS_PER_S))
        allowed = (bpm >= respiration.SLOWEST_BPM) & (bpm <= respiration.FASTEST_BPM)
        rates.append(float(bpm[allowed][np.argmax(power[allowed])]))
    return np.array(rates)


def limits_of_agreement(error: Floats, groups: Sequence[str]) -> tuple[float, float]:
    """Bias -+ 1.96 standard deviations, repeated measures (Bland and Altman 2007, section 3: the true value varies).

    The variance is that within people, and what their means differ beyond it.
    """
    members = [error[np.array(groups) == name] for name in sorted(set(groups))]
    sizes = np.array([len(one) for one in members], dtype=np.float64)
    within = sum(float(np.square(one - one.mean()).sum()) for one in members) / max(1.0, sizes.sum() - len(members))
    between = sum(len(one) * (one.mean() - error.mean()) ** 2 for one in members) / max(1, len(members) - 1)
    typical = (sizes.sum() ** 2 - np.square(sizes).sum()) / (max(1, len(members) - 1) * sizes.sum())
    deviation = math.sqrt(within + max(0.0, float((between - within) / typical)))
    return float(error.mean() - 1.96 * deviation), float(error.mean() + 1.96 * deviation)


def lines(title: str, rates: Told, of: int) -> list[str]:
    """Figures of one method: `of` recordings were asked for."""
    error, groups = rates.error, rates.groups
    if not len(error):
        return [title, f"  coverage                0% (0 of {of})"]

    def over_people(values: Floats) -> Interval:
        return bootstrap(lambda rows: float(values[rows].mean()), groups)

    low, high = limits_of_agreement(error, groups)
    return [
        f"{title}",
        f"  coverage                {len(error) / of:.0%} ({len(error)} of {of})",
        f"  mean absolute error     {over_people(np.abs(error))} a minute",
        f"  root mean square error  {math.sqrt(float(np.square(error).mean())):.2f}",
        f"  within {CLOSE_BPM:g} a minute       {over_people((np.abs(error) <= CLOSE_BPM).astype(np.float64))}",
        f"  bias                    {over_people(error)}, limits of agreement {low:.1f} to {high:.1f}",
    ]


def draw(rates: Told, constant: float, image: Path) -> None:
    """Mean absolute error of the surest recordings against their share.

    Raises:
        UserError: the image cannot be written.
    """
    order = np.argsort(-rates.quality, kind="stable")
    error = np.abs(rates.error)[order]
    share = np.arange(1, len(error) + 1) / len(error)
    given = float((rates.quality >= LEAST_QUALITY).mean())
    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    axis.plot(share, np.cumsum(error) / np.arange(1, len(error) + 1), marker=".", label="surest recordings")
    axis.axvline(given, color="grey", linestyle="--", label=f"rates given by the device ({given:.0%})")
    axis.axhline(constant, color="grey", linestyle=":", label="constant guess")
    axis.set(xlabel="coverage", ylabel="mean absolute error, breaths a minute", ylim=(0, None), xlim=(0, 1.02))
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    try:
        save(figure, image)
    except OSError as error:
        raise UserError(f"{image}: cannot be written ({error.strerror}); name another --plot") from error


def _print(arguments: argparse.Namespace) -> None:
    table = [row for row in read_table(arguments.recordings) if row.corpus == CORPUS]
    rows = [row for row in table if row.split == arguments.split]
    if not rows:
        raise CorpusError(f"{arguments.recordings}: no {arguments.split} recording of the corpus {CORPUS}")
    train = [row for row in table if row.split == "train"]
    if not train:
        raise CorpusError(f"{arguments.recordings}: no training recording of {CORPUS}, whose rates are the usual ones")
    if arguments.plot.suffix.lower() != ".png":
        raise UserError(f"{arguments.plot}: the plot is a PNG; name it so")
    if not arguments.plot.absolute().parent.is_dir():
        raise UserError(f"{arguments.plot}: there is no such folder; make it, or name another --plot")
    truth = rates_of(rows, arguments.recordings)
    usual = float(np.median(rates_of(train, arguments.recordings)))
    groups, heard = [row.group for row in rows], levels(rows)
    found = spectra(heard, rows)
    octaves = (
        held_out_octaves(found, truth, groups)
        if arguments.split == "train"
        else [OCTAVE_SLOPE * (one.alternation - OCTAVE_MIDDLE) for one in found]
    )
    rates = told(found, truth, groups, octaves)
    print(f"{len(rows)} {arguments.split} recordings of {len(set(groups))} people\n")
    print(*lines("rates that the device gives", rates.sure(), len(rows)), sep="\n")
    print(*lines("every recording, however unsure", rates, len(rows)), sep="\n")
    sure = np.ones(len(rows))
    print(
        *lines("strongest period of the envelope", Told(truth, envelope_rates(heard), sure, groups), len(rows)),
        sep="\n",
    )
    constant = Told(truth, np.full(len(rows), usual), sure, groups)
    print(*lines(f"always {usual:g}", constant, len(rows)), sep="\n")
    draw(rates, float(np.abs(constant.error).mean()), arguments.plot)
    print(f"\n{arguments.plot}: error against coverage")
    if arguments.split == "train":
        print("octave: slope {:.2f}, middle {:.2f}".format(*fit_octave(found, truth)))


def main() -> None:
    """Print the figures and draw the curve."""
    flags = parser("respiration", __doc__)
    flags.add_argument("--recordings", type=Path, required=True, help="CSV that lists the recordings")
    flags.add_argument("--split", default="test", choices=("test", "train"), help="which recordings (default: test)")
    flags.add_argument(
        "--plot",
        type=Path,
        default=Path("respiration.png"),
        help="PNG of error against coverage (default: %(default)s)",
    )
    run(flags, _print)


if __name__ == "__main__":
    main()
