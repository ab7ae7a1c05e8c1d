"""How fast reports are written by template: `python -m bench.reports`.

Makes a table of 100,000 recordings with metadata like that of public corpora (heart, lung and airborne sound in equal
parts; the files themselves are empty), runs `python -m align.report` on it as a process, and prints the time from start
to end with everything in it: reading the table, writing, checking every report, and the Parquet file.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.program import parser, run
from edge.errors import UserError

ROOT = Path(__file__).parents[1]
COLUMNS = (
    "path group split modality event kind age sex smoker covid19 height_cm weight_kg site murmur murmur_here "
    "murmur_locations most_audible systolic_timing systolic_shape systolic_grading systolic_pitch systolic_quality "
    "outcome crackles wheezes diagnosis device"
)
AREAS = ("AV", "MV", "PV", "TV")
FILES_A_FOLDER = 1000


def heart(dice: random.Random) -> dict[str, str]:
    """A child as CirCor describes one."""
    child = {
        "modality": "heart",
        "event": "heart",
        "age": dice.choice(("Infant", "Child", "Adolescent")),
        "sex": dice.choice(("Female", "Male")),
        "height_cm": str(dice.randint(60, 170)),
        "weight_kg": str(dice.randint(40, 700) / 10),
        "site": dice.choice(AREAS),
        "murmur": dice.choice(("Present", "Absent", "Unknown")),
        "outcome": dice.choice(("Normal", "Abnormal")),
    }
    if child["murmur"] != "Present":
        return child
    heard = dice.sample(AREAS, dice.randint(1, 4))
    return child | {
        "murmur_here": str(child["site"] in heard),
        "murmur_locations": "+".join(heard),
        "most_audible": heard[0],
        "systolic_timing": dice.choice(("Holosystolic", "Early-systolic")),
        "systolic_shape": dice.choice(("Plateau", "Diamond")),
        "systolic_grading": dice.choice(("I/VI", "II/VI", "III/VI")),
        "systolic_pitch": dice.choice(("Low", "High")),
        "systolic_quality": dice.choice(("Harsh", "Blowing")),
    }


def lung(dice: random.Random) -> dict[str, str]:
    """A recording as ICBHI describes one."""
    return {
        "modality": "lung",
        "site": dice.choice(("Tc", "Al", "Ar", "Pl", "Pr", "Ll", "Lr")),
        "crackles": dice.choice("01"),
        "wheezes": dice.choice("01"),
        "diagnosis": dice.choice(("COPD", "Healthy", "URTI", "Pneumonia")),
        "device": dice.choice(("Meditron", "LittC2SE", "AKGC417L")),
        "age": str(dice.randint(1, 90)),
        "sex": dice.choice("FM"),
    }


def airborne(dice: random.Random) -> dict[str, str]:
    """A recording as Coswara describes one."""
    return {
        "modality": "airborne",
        "kind": dice.choice(("cough-heavy", "cough-shallow", "breathing-deep", "vowel-a")),
        "age": str(dice.randint(18, 80)),
        "sex": dice.choice(("male", "female")),
        "smoker": dice.choice(("True", "False", "")),
        "covid19": dice.choice(("1.0", "0.0", "")),
    }


def make_table(folder: Path, count: int) -> Path:
    """A table of `count` recordings, and empty files for them."""
    dice = random.Random(0)  # noqa: S311 - metadata, not secrets
    table = folder / "recordings.csv"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS.split(), restval="")
        writer.writeheader()
        for number in range(count):
            path = folder / str(number // FILES_A_FOLDER) / f"{number}.wav"
            if number % FILES_A_FOLDER == 0:
                path.parent.mkdir()
            path.touch()
            described = (heart, lung, airborne)[number % 3](dice)
            row = {"path": path.relative_to(folder).as_posix(), "group": f"person-{number}", "split": "train"}
            writer.writerow(row | described)
    return table


def main() -> None:
    """Print the time that the program takes."""
    flags = parser("reports", __doc__)
    flags.add_argument("--reports", type=int, default=100_000, help="reports to write (default: 100,000)")
    run(flags, _measure)


def _measure(options: argparse.Namespace) -> int:
    count = options.reports
    if count < 1:
        raise UserError("--reports must be 1 or more")
    with tempfile.TemporaryDirectory() as name:
        table = make_table(Path(name), count)
        command = [sys.executable, "-m", "align.report", "--recordings", str(table), "--output", f"{name}/r.parquet"]
        before = time.monotonic()
        ended = subprocess.run(command, cwd=ROOT, check=False)
        wall_s = time.monotonic() - before
        if ended.returncode:
            return ended.returncode
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        megabytes = Path(f"{name}/r.parquet").stat().st_size / 1e6
    print(f"{count} reports in {wall_s:.1f} s ({count / wall_s:.0f} a second), {os.cpu_count()} cores")
    print(f"processor time {usage.ru_utime + usage.ru_stime:.1f} s, peak memory {usage.ru_maxrss / 1000:.0f} MB")
    print(f"Parquet {megabytes:.1f} MB")
    return 0


if __name__ == "__main__":
    main()
