"""What alignment teaches, on real hearts: `python -m bench.circor --recordings RECORDINGS`.

Trains the encoder of `configs/circor.toml` under ten conditions with several seeds, fits a linear probe on training
children and scores test children, who are nobody else's. Prints AUROC for murmur and outcome as the mean over seeds,
with 95 % intervals by bootstrap over children, and how far each condition lies from the aligned one (paired). Stops and
resumes: a finished run is not repeated, so give another --output for other recordings or settings. `--processes` runs
several trainings at once, one core each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_settings import TomlConfigSettingsSource
from tqdm import tqdm

from align.checkpointing import write_bytes
from align.config import AlignSettings
from align.report import report
from align.reports.config import ReportSettings
from align.statistics import Interval, auroc, bootstrap
from bench.study import arguments
from edge.errors import UserError, exit_status

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "circor.toml"

HIDDEN = ("murmur", "outcome")
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "untrained": {},
    "self-supervised only": {"objective": {"name": "none", "preservation": 1.0}},
    "aligned": {},
    "aligned, acoustics kept": {"objective": {"preservation": 0.05}},
    "acoustics kept, shuffled once": {"objective": {"preservation": 0.05, "shuffled": "once"}},
    # Pairs that are wrong but stay the same still tell recordings from one another, as noise for a target does
    # (arXiv 1704.05310); pairs that change with every batch tell nothing.
    "aligned, shuffled once": {"objective": {"preservation": 0.0, "shuffled": "once"}},
    "aligned, shuffled anew": {"objective": {"preservation": 0.0, "shuffled": "anew"}},
    "loss as released": {
        "objective": {"name": "released", "text": "head", "audio_head": "mlp", "pointwise": 0.0, "preservation": 1.0}
    },
    "aligned, label hidden": {"objective": {"preservation": 0.0}, "reports": "hidden.parquet"},
    "supervised": {"objective": {"name": "labels", "preservation": 0.0}},
}
REFERENCE = "aligned"


def place(condition: str, seed: int, output: Path) -> Path:
    """The folder of one training; its scores are beside it, as .json."""
    return output / f"{condition.replace(', ', '-').replace(' ', '-')}-{seed}"


def scores_file(training: Path) -> Path:
    """Where the scores of a training lie."""
    return training.with_name(training.name + ".json")


def settings_of(condition: str, seed: int, recordings: Path, output: Path) -> AlignSettings:
    """The settings of one training."""
    given = TomlConfigSettingsSource(AlignSettings, toml_file=CONFIG)()
    changes = dict(CONDITIONS[condition])
    fixed = {
        "recordings": recordings,
        "reports": output / str(changes.pop("reports", "reports.parquet")),
        "output": place(condition, seed, output),
        "teacher_cache": output / "teacher",
        "seed": seed,
        "validate_epochs": 10_000,
    }
    return AlignSettings.model_validate({**given, **changes, **fixed})


def scores_of(settings: AlignSettings, trained: bool) -> dict[str, Any]:
    """Train, or take the encoder as it was made, and score the test children of each task."""
    import torch

    from align.embedding import embed_recordings
    from align.encoders import build_encoder
    from align.probe import probe_scores
    from align.tasks import examples
    from align.training import open_pairs, train

    torch.manual_seed(settings.seed)
    encoder = train(settings).encoder if trained else build_encoder(settings.encoder)
    splits, _ = open_pairs(settings)
    found: dict[str, Any] = {}
    clips = {name: splits[name].clips for name in ("train", "test")}
    embeddings = {name: embed_recordings(encoder, clips[name], torch.device("cpu")) for name in ("train", "test")}
    for task in settings.tasks:
        fitted, asked = (examples(task, clips[name].rows, embeddings[name]) for name in ("train", "test"))
        found[task.name] = {
            "groups": asked.groups,
            "answers": asked.answers.tolist(),
            "scores": probe_scores(fitted, asked).tolist(),
        }
    return found


def run_one(condition: str, seed: int, recordings: Path, output: Path) -> Path:
    """Run a condition in a process of its own, and return the file of its scores."""
    scores = scores_file(place(condition, seed, output))
    run_alone("bench.circor", condition, seed, recordings, output, scores)
    return scores


def run_alone(program: str, condition: str, seed: int, recordings: Path, output: Path, scores: Path) -> None:
    """Run a condition of a study in a process of its own, on one core, unless its scores are there.

    Raises:
        UserError: it failed; with the last line that it said.
    """
    if not scores.is_file():
        command = [sys.executable, "-m", program, "--recordings", str(recordings), "--output", str(output)]
        command += ["--condition", condition, "--seed", str(seed)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if finished.returncode:
            raise UserError(f"{condition}, seed {seed}: {(finished.stderr.strip().splitlines() or ['killed'])[-1]}")


def write_reports(recordings: Path, output: Path) -> None:
    """Reports by template, with and without the labels."""
    for name, hidden in (("reports.parquet", ()), ("hidden.parquet", HIDDEN)):
        given = {"recordings": recordings, "corpora": ["circor"], "output": output / name, "hide": hidden}
        report(ReportSettings.model_validate(given))


def mean_auroc(answers: NDArray[np.bool_], scores: Sequence[NDArray[np.float64]], rows: NDArray[np.int64]) -> float:
    """Mean over seeds of the AUROC of these children."""
    return float(np.mean([auroc(answers[rows], each[rows]) for each in scores]))


def table(task: str, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Lines of a table: condition, AUROC, each seed's, and aligned less it."""
    first = results[REFERENCE][0][task]
    answers, groups = np.array(first["answers"]), first["groups"]
    scores = {name: [np.array(run[task]["scores"]) for run in runs] for name, runs in results.items()}
    lines = [f"{task}: {int(answers.sum())} of {len(answers)} test children"]
    for name, each in scores.items():
        value = interval(answers, each, groups)
        seeds = " ".join(f"{auroc(answers, one):.3f}" for one in each)
        line = f"  {name:26} {value}   seeds {seeds}"
        if name != REFERENCE:
            line += f"   aligned is higher by {difference(answers, scores[REFERENCE], each, groups)}"
        lines.append(line)
    return lines


def interval(answers: NDArray[np.bool_], scores: Sequence[NDArray[np.float64]], groups: Sequence[str]) -> Interval:
    """Mean AUROC over seeds with its bootstrap interval over children."""
    return bootstrap(lambda rows: mean_auroc(answers, scores, rows), groups)


def difference(
    answers: NDArray[np.bool_],
    one: Sequence[NDArray[np.float64]],
    other: Sequence[NDArray[np.float64]],
    groups: Sequence[str],
) -> Interval:
    """Mean AUROC of one condition less that of another, paired by child."""
    return bootstrap(lambda rows: mean_auroc(answers, one, rows) - mean_auroc(answers, other, rows), groups)


def program() -> int:
    """Run all conditions and print the tables, or run one of them (`--condition`, `--seed`)."""
    given = arguments("python -m bench.circor", __doc__, CONDITIONS, output=Path("runs/circor/study"), seeds=5)
    if given.condition:
        settings = settings_of(given.condition, given.seed, given.recordings, given.output)
        found = scores_of(settings, given.condition != "untrained")
        write_bytes(scores_file(settings.output), json.dumps(found).encode())
        return 0
    write_reports(given.recordings, given.output)
    jobs = [(condition, seed) for seed in range(given.seeds) for condition in CONDITIONS]
    with ThreadPoolExecutor(given.processes) as pool:
        done = pool.map(lambda job: run_one(job[0], job[1], given.recordings, given.output), jobs)
        files = list(tqdm(done, total=len(jobs), desc="trainings", unit="training"))
    results: dict[str, list[dict[str, Any]]] = {condition: [] for condition in CONDITIONS}
    for (condition, _), file in zip(jobs, files, strict=True):
        results[condition].append(json.loads(file.read_text(encoding="utf-8")))
    for task in results[REFERENCE][0]:
        print("\n".join(table(task, results)))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(program))
