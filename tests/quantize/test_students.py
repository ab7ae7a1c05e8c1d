"""The table by which a student is chosen."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from pydantic_settings import TomlConfigSettingsSource

from bench.listening import open_bundle
from distill.config import TrainSettings
from distill.student import Student, StudentShape
from distill.teach_config import TeachSettings
from edge.bundle import find_bundle
from edge.manifest import FrontEnd
from quantize import students
from quantize.rules.graph import WEIGHTED, Graph
from quantize.rules.placement import multiplications
from quantize.students import StudentsSettings, costs, multiply_adds
from tests.aligning import refused, run_main

ROOT = Path(__file__).parents[2]
SMALL = {"context_blocks": 1, "window_s": 0.5, "rounds": 1}


def test_every_student_of_the_family_has_its_costs() -> None:
    found = costs(StudentsSettings.model_validate({**SMALL, "widths": [16, 32], "depths": [1, 2]}))
    assert len(found) == 8
    assert len({cost.parameters for cost in found}) == 8
    assert all(cost.float32_ms > 0 and cost.int8_ms > 0 for cost in found)
    by_shape = {(cost.shape.form, cost.shape.width, cost.shape.depth): cost for cost in found}
    dense, depthwise = by_shape["dense", 32, 1], by_shape["depthwise", 32, 1]
    assert depthwise.multiply_adds_per_s < dense.multiply_adds_per_s / 3
    assert by_shape["dense", 16, 2].multiply_adds_per_s > by_shape["dense", 16, 1].multiply_adds_per_s


def test_multiply_adds_are_counted_layer_by_layer() -> None:
    shape = StudentShape(mel_bands=32, labels=1, width=16, context_blocks=1, embedding_size=16, form="depthwise")
    student = Student(shape)
    steps = 10
    expected = 16 * 16 * 20 * 9  # the first convolution: 16 channels of 16 bands and 20 frames
    expected += (16 * 9 + 16 * 16) * 8 * steps  # to 8 bands and 10 steps
    expected += (16 * 9 + 16 * 16) * 8 * steps  # residual
    expected += (16 * 9 + 16 * 32) * 4 * steps
    expected += (32 * 9 + 32 * 32) * 4 * steps
    expected += (32 * 9 + 32 * 64) * 2 * steps
    expected += 64 * 2 * steps  # the bands that are left
    expected += (64 * 3 + 64 * 64) * steps  # context
    expected += 64 * steps + 128 * 16 + 16  # heads and embedding
    assert multiply_adds(student, 40) == expected


@pytest.mark.parametrize("name", ["room", "auscultation"])
def test_students_of_the_bundles_that_ship_fit_a_small_board(name: str) -> None:
    settings: type[TrainSettings] | type[TeachSettings] = TrainSettings if name == "room" else TeachSettings
    given = TomlConfigSettingsSource(settings, toml_file=ROOT / "configs" / f"{name}.toml")()
    fields = {field: given[field] for field in ("width", "context_blocks", "depth", "form") if field in given}
    labels = given.get("labels") or given["tasks"]
    front_end = FrontEnd(**given.get("front_end", {}))
    student = Student(StudentShape(mel_bands=front_end.mel_bands, labels=len(labels), **fields))
    assert sum(parameter.numel() for parameter in student.parameters()) <= 1_000_000
    frames_in_2_s = 2 * front_end.sample_rate_hz // front_end.hop_samples
    assert multiply_adds(student, frames_in_2_s) <= 100e6


@pytest.mark.parametrize("name", ["room", "auscultation"])
def test_encoders_that_ship_fit_a_small_board(name: str) -> None:
    bundle = open_bundle(find_bundle(name))
    graph = Graph(onnx.load(str(bundle.encoder_path)))
    multiply_adds_a_window = sum(multiplications(graph, node) for node in graph.of_type(*WEIGHTED))
    assert 1e6 < 2.0 * multiply_adds_a_window / bundle.manifest.window_s <= 100e6
    assert bundle.encoder_path.stat().st_size < 1e6  # INT8: a byte a parameter


def test_the_program_prints_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--widths", "16", "--forms", "depthwise", "--context_blocks", "1", "--window_s", "0.5", "--rounds", "1"]
    assert run_main(students.main, monkeypatch, *flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("form")
    assert lines[1].split()[:3] == ["depthwise", "16", "1"]


def test_a_width_that_int8_cannot_use_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(students.main, monkeypatch, "--widths", "20") == 2
    assert "multiples of 16" in refused(capsys)
