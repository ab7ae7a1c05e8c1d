"""The study's conditions are what their names say, and its shares are paired by child."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.distillation import SIZE_AIM, STUDENTS, TEACHER, kept, settings_of, verdict

EMBEDDING = ("cosine", "smooth_l1", "relational", "cka")
OF_LABELS = ("soft_labels", "hard_labels")


def weights(condition: str) -> dict[str, float]:
    chosen = settings_of(condition, 3, Path("recordings.csv"), Path("runs/study"))
    assert chosen.seed == 3
    assert chosen.teacher.aligned == Path("runs/study/aligned-acoustics-kept-3")
    assert [task.name for task in chosen.tasks] == ["murmur", "outcome"]
    return chosen.objective.model_dump()


def test_the_smallest_student_is_a_twentieth_of_its_teacher() -> None:
    from align.encoders import EncoderSpec, build_encoder
    from distill.course import shape_of
    from distill.student import Student

    teacher = build_encoder(EncoderSpec(name="scratch-conv", sample_rate_hz=2000, clip_s=8.0))
    chosen = settings_of("both, smallest", 0, Path("recordings.csv"), Path("runs/study"))
    sizes = [sum(value.numel() for value in net.parameters()) for net in (teacher, Student(shape_of(chosen)))]
    assert sizes[0] >= SIZE_AIM * sizes[1]


def test_labels_only_learns_nothing_of_the_teacher() -> None:
    chosen = weights("labels only")
    assert not any(chosen[name] for name in (*EMBEDDING, "soft_labels"))
    assert chosen["hard_labels"] > 0


def test_distillation_only_sees_no_label() -> None:
    chosen = weights("distillation only")
    assert not any(chosen[name] for name in OF_LABELS)
    assert any(chosen[name] for name in EMBEDDING)


def test_both_learns_of_both() -> None:
    chosen = weights("both")
    assert any(chosen[name] for name in EMBEDDING)
    assert all(chosen[name] for name in OF_LABELS)


def results(seeds: int = 2) -> dict[str, list[dict[str, Any]]]:
    """Sixty children of whom the teacher tells most; every student says what it says but with more noise."""
    rng = np.random.default_rng(0)
    answers = rng.random(60) < 0.3
    groups = [f"p{n}" for n in range(60)]

    def run(noise: float, parameters: int) -> dict[str, Any]:
        scores = (answers + noise * rng.standard_normal(60)).tolist()
        task = {"murmur": {"groups": groups, "answers": answers.tolist(), "scores": scores}}
        return {"tasks": task, "log-mel statistics": task, "parameters": parameters}

    found = {TEACHER: [run(0.3, 400_000) for _ in range(seeds)]}
    return found | {name: [run(0.6, 20_000) for _ in range(seeds)] for name in STUDENTS}


def test_what_is_the_same_keeps_everything() -> None:
    task = results()[TEACHER][0]["tasks"]["murmur"]
    answers, scores = np.array(task["answers"]), [np.array(task["scores"])]
    share = kept(answers, scores, scores, task["groups"])
    assert (share.value, share.low, share.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("size", "word"), [(20_000, "met"), (40_000, "missed")])
def test_the_aim_is_of_figures_and_size(size: int, word: str) -> None:
    found = results()
    found["both, smallest"] = [{**run, "parameters": size} for run in found[TEACHER]]
    assert verdict(found).endswith(f"{word})")
    assert "100.0% of the teacher's AUROC" in verdict(found)
