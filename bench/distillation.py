"""What a student keeps of its teacher, on real hearts: `python -m bench.distillation --recordings RECORDINGS`.

For each seed the encoder of `configs/circor.toml` is aligned, and the student of `configs/auscultation.toml` is taught
three times: by the labels only, by distillation only (no label at all), and by both; a student of a twentieth of the
teacher's parameters by labels only and by both. A linear probe on the frozen
embeddings is fitted on training children and scores test children, who are nobody else's; that of log-mel statistics
stands beside. Prints AUROC for murmur and outcome as the mean over seeds, what share of the teacher's each student
keeps, and how far it lies from the teacher and from the student by labels only, with 95 % intervals by bootstrap over
children (paired). Stops and resumes: a finished run is not repeated, so give another --output for other recordings or
settings. `--processes` runs several trainings at once, one core each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic_settings import TomlConfigSettingsSource
from tqdm import tqdm

from align.checkpointing import write_bytes
from align.statistics import Interval, bootstrap
from align.tasks import Task
from bench.circor import difference, interval, mean_auroc, run_alone, scores_file, write_reports
from bench.circor import place as place_of_teacher
from bench.circor import settings_of as settings_of_teacher
from bench.study import arguments
from distill.teach_config import TeachSettings
from edge.errors import exit_status

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "auscultation.toml"

TEACHER, LABELS = "teacher", "labels only"
TAUGHT_BY = "aligned, acoustics kept"
"""The condition of `bench.circor` whose encoder is the teacher, as that of the bundle that ships."""
NO_DISTILLATION = {"cosine": 0.0, "smooth_l1": 0.0, "relational": 0.0, "cka": 0.0, "soft_labels": 0.0}
SMALLEST = {"form": "depthwise", "width": 16, "depth": 1, "context_blocks": 1, "embedding_size": 64}
"""A shape of a twentieth of the parameters of `configs/circor.toml`'s encoder."""

STUDENTS: Mapping[str, Mapping[str, Any]] = {
    LABELS: {"objective": NO_DISTILLATION | {"hard_labels": 1.0}},
    "distillation only": {"objective": {"soft_labels": 0.0, "hard_labels": 0.0}},
    "both": {},
    "labels only, smallest": SMALLEST | {"objective": NO_DISTILLATION | {"hard_labels": 1.0}},
    "both, smallest": SMALLEST,
}
CONDITIONS = (TEACHER, *STUDENTS)
PARTS: tuple[Literal["train", "test"], ...] = ("train", "test")

KEPT_AIM = 0.98
SIZE_AIM = 20


def place(condition: str, seed: int, output: Path) -> Path:
    """The folder of one training; its scores are beside it, as .json."""
    if condition == TEACHER:
        return place_of_teacher(TAUGHT_BY, seed, output)
    return output / f"student-{condition.replace(', ', '-').replace(' ', '-')}-{seed}"


def settings_of(condition: str, seed: int, recordings: Path, output: Path) -> TeachSettings:
    """The settings of one student."""
    given = TomlConfigSettingsSource(TeachSettings, toml_file=CONFIG)()
    teacher = {"aligned": place(TEACHER, seed, output), "text_cache": output / "teacher"}
    changes = dict(STUDENTS[condition])
    fixed = {
        "recordings": recordings,
        "output": place(condition, seed, output),
        "teacher": teacher,
        "objective": {**given.get("objective", {}), **changes.pop("objective", {})},
        "views": {**given.get("views", {}), "cache": output / "views"},
        "seed": seed,
    }
    return TeachSettings.model_validate({**given, **changes, **fixed})


def scores_of(condition: str, seed: int, recordings: Path, output: Path) -> dict[str, Any]:
    """Train, and score the test children of each task."""
    import torch

    from align.baseline import log_mel_statistics
    from align.embedding import embed_recordings as embed_by_encoder
    from align.scores import open_parts
    from align.training import train
    from distill.checkpoint import load_student
    from distill.course import teach
    from distill.embedding import embed_recordings
    from distill.frontend import LogMel

    if condition == TEACHER:
        settings = settings_of_teacher(TAUGHT_BY, seed, recordings, output)
        encoder = train(settings).encoder
        clips = open_parts(recordings, encoder.sample_rate_hz, settings.corpora)
        features = {part: embed_by_encoder(encoder, clips[part], torch.device("cpu")) for part in PARTS}
        plain = {part: log_mel_statistics(clips[part], encoder.sample_rate_hz) for part in PARTS}
        size = sum(parameter.numel() for parameter in encoder.parameters())
        found = {"log-mel statistics": _scores(settings.tasks, clips, plain)}
        return found | {"tasks": _scores(settings.tasks, clips, features), "parameters": size}
    to_teach = settings_of(condition, seed, recordings, output)
    taught = load_student(teach(to_teach))
    clips = open_parts(recordings, taught.front_end.sample_rate_hz, to_teach.corpora)
    log_mel = LogMel(taught.front_end)
    features = {part: embed_recordings(taught.student, log_mel, clips[part], taught.window_samples) for part in PARTS}
    size = sum(parameter.numel() for parameter in taught.student.parameters())
    return {"tasks": _scores(to_teach.tasks, clips, features), "parameters": size}


def _scores(tasks: Sequence[Task], clips: Mapping[Any, Any], features: Mapping[Any, NDArray[np.float32]]) -> Any:
    from align.probe import probe_scores
    from align.tasks import examples

    found: dict[str, Any] = {}
    for task in tasks:
        fitted, asked = (examples(task, clips[part].rows, features[part]) for part in PARTS)
        scores = probe_scores(fitted, asked).tolist()
        found[task.name] = {"groups": asked.groups, "answers": asked.answers.tolist(), "scores": scores}
    return found


def run_one(condition: str, seed: int, recordings: Path, output: Path) -> Path:
    """Run a condition in a process of its own, and return the file of its scores."""
    scores = scores_file(place(condition, seed, output))
    run_alone("bench.distillation", condition, seed, recordings, output, scores)
    return scores


def kept(
    answers: NDArray[np.bool_],
    student: Sequence[NDArray[np.float64]],
    teacher: Sequence[NDArray[np.float64]],
    groups: Sequence[str],
) -> Interval:
    """Mean AUROC of the student as a share of the teacher's, paired by child."""
    return bootstrap(lambda rows: mean_auroc(answers, student, rows) / mean_auroc(answers, teacher, rows), groups)


def table(task: str, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Lines of a table: condition, parameters, AUROC, share of the teacher's, differences."""
    first = results[TEACHER][0]["tasks"][task]
    answers, groups = np.array(first["answers"]), first["groups"]
    scores = {name: [np.array(run["tasks"][task]["scores"]) for run in runs] for name, runs in results.items()}
    plain = [np.array(results[TEACHER][0]["log-mel statistics"][task]["scores"])]
    seeds = len(results[TEACHER])
    lines = [f"{task}: {int(answers.sum())} of {len(answers)} test children, {seeds} seeds"]
    lines.append(f"  {'log-mel statistics':21} {'':>7}  {interval(answers, plain, groups)}")
    for name, each in scores.items():
        size = results[name][0]["parameters"]
        line = f"  {name:21} {size:7}  {interval(answers, each, groups)}"
        if name != TEACHER:
            line += f"   keeps {kept(answers, each, scores[TEACHER], groups)} of the teacher's"
            line += f"   less the teacher {difference(answers, each, scores[TEACHER], groups)}"
        if (other := LABELS + name.removeprefix("both")) in scores and name.startswith("both"):
            line += f"   less {other} {difference(answers, each, scores[other], groups)}"
        lines.append(line)
    return lines


def verdict(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """One line on the aim: the share of the teacher's parameters, and that of its AUROC over all tasks."""
    tasks = list(results[TEACHER][0]["tasks"])
    student = "both, smallest"
    ratio = results[TEACHER][0]["parameters"] / results[student][0]["parameters"]
    shares = []
    for task in tasks:
        first = results[TEACHER][0]["tasks"][task]
        answers, rows = np.array(first["answers"]), np.arange(len(first["answers"]))
        both, teacher = (
            mean_auroc(answers, [np.array(run["tasks"][task]["scores"]) for run in results[name]], rows)
            for name in (student, TEACHER)
        )
        shares.append(both / teacher)
    share = float(np.mean(shares))
    met = "met" if share >= KEPT_AIM and ratio >= SIZE_AIM else "missed"
    return (
        f"{student}: {share:.1%} of the teacher's AUROC at 1/{ratio:.1f} of its parameters "
        f"(aim {KEPT_AIM:.0%} at 1/{SIZE_AIM}: {met})"
    )


def program() -> int:
    """Run all conditions and print the tables, or run one of them (`--condition`, `--seed`)."""
    given = arguments("python -m bench.distillation", __doc__, CONDITIONS, output=Path("runs/distillation"), seeds=4)
    if given.condition:
        found = scores_of(given.condition, given.seed, given.recordings, given.output)
        target = scores_file(place(given.condition, given.seed, given.output))
        write_bytes(target, json.dumps(found).encode())
        return 0
    write_reports(given.recordings, given.output)
    results: dict[str, list[dict[str, Any]]] = {condition: [] for condition in CONDITIONS}
    with tqdm(total=len(CONDITIONS) * given.seeds, desc="trainings", unit="training") as bar:
        # Teachers first: a student cannot begin before its own has ended.
        for conditions in ((TEACHER,), tuple(STUDENTS)):
            jobs = [(condition, seed) for seed in range(given.seeds) for condition in conditions]
            with ThreadPoolExecutor(given.processes) as pool:
                done = pool.map(lambda job: run_one(job[0], job[1], given.recordings, given.output), jobs)
                for (condition, _), file in zip(jobs, done, strict=True):
                    results[condition].append(json.loads(file.read_text(encoding="utf-8")))
                    bar.update()
    for task in results[TEACHER][0]["tasks"]:
        print("\n".join(table(task, results)))
    print(verdict(results))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(program))
