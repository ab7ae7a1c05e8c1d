"""Settings of an alignment: presets fill in what is not given, and every mistake is one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import TomlConfigSettingsSource

from align.config import AlignSettings
from align.presets import PRESETS, fill_in
from edge.errors import ConfigError
from edge.settings import Parser, SettingsReader, to_toml
from tests.align.conftest import ROOT

FILES = {"recordings": "a.csv", "reports": "b.parquet", "output": "c"}
FLAGS = ["--recordings", "a.csv", "--reports", "b.parquet", "--output", "c"]


def settings(**given: Any) -> AlignSettings:
    return AlignSettings.model_validate(FILES | given)


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    """The program as a process, whose start takes seconds."""
    command = [sys.executable, "-m", "align.train", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def read(*flags: str) -> AlignSettings:
    """Settings as the program reads them."""
    parser = Parser(prog="align.train")
    reader = SettingsReader(parser, AlignSettings)
    return reader.read(parser.parse_args(flags))


def from_toml(text: str, folder: Path) -> AlignSettings:
    path = folder / "settings.toml"
    path.write_text(text)
    return AlignSettings.model_validate(TomlConfigSettingsSource(AlignSettings, toml_file=path)())


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    return {name: value for key, below in values.items() for name, value in flat(below, f"{prefix}.{key}").items()}


@pytest.mark.parametrize("preset", list(PRESETS))
def test_preset_fills_in_every_setting_that_it_names(preset: str) -> None:
    found, named = flat(settings(preset=preset).model_dump(mode="json")), flat({**PRESETS[preset]})
    named.pop(".tasks", None)
    assert {name: found[name] for name in named} == named


def test_released_preset_is_as_published() -> None:
    found = settings(preset="acula")
    assert (found.encoder.name, found.teacher.model) == ("opera-gt", "google/medgemma-4b-pt")
    assert (found.batch_size, found.accumulate, found.learning_rate, found.epochs) == (24, 2, 1e-5, 50)
    assert (found.objective.text, found.objective.audio_head, found.objective.pointwise) == ("head", "mlp", 0.0)
    assert not found.averaged


def test_given_key_wins_over_the_preset_and_its_neighbours_stay() -> None:
    given = {"epochs": 3, "averaged": True, "encoder": {"clip_s": 2.0}, "objective": {"preservation": 0.0}}
    found = settings(preset="acula", **given)
    assert (found.epochs, found.averaged, found.batch_size) == (3, True, 24)
    assert (found.encoder.name, found.encoder.clip_s) == ("opera-gt", 2.0)
    assert (found.objective.preservation, found.objective.text) == (0.0, "head")


def test_presets_themselves_are_not_changed_by_filling_in() -> None:
    given = {"preset": "demo", "encoder": {"clip_s": 1.0}}
    assert fill_in(given)["encoder"]["clip_s"] == 1.0
    assert fill_in({"preset": "demo"})["encoder"]["clip_s"] == 4.0
    assert given == {"preset": "demo", "encoder": {"clip_s": 1.0}}


def test_without_a_preset_the_defaults_hold() -> None:
    assert fill_in(FILES) == FILES
    found = settings()
    assert (found.preset, found.encoder.name, found.batch_size, found.averaged) == ("", "scratch-conv", 96, True)


def test_demonstration_needs_only_an_output() -> None:
    found = AlignSettings.model_validate({"preset": "demo", "output": "runs/x"})
    assert found.recordings == Path("runs/x/corpus/recordings.csv")
    assert found.reports == Path("runs/x/corpus/reports.parquet")
    assert [task.name for task in found.tasks] == ["murmur"]
    assert settings(preset="demo").recordings == Path("a.csv")


@pytest.mark.parametrize("preset", ["", *PRESETS])
def test_settings_come_back_from_toml(tmp_path: Path, preset: str) -> None:
    found = settings(
        preset=preset,
        corpora=["one", "two"],
        encoder={"name": "scratch-vit", "sample_rate_hz": 8000, "clip_s": 3.5},
        tasks=[{"name": "copd", "column": "copd", "positive": ["mild", "severe"], "unit": "recording"}],
        objective={"name": "infonce", "text": "whitened", "text_size": 32},
    )
    assert from_toml(to_toml(found), tmp_path) == found


def test_flag_wins_over_environment_over_file_over_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.toml"
    file.write_text('preset = "acula"\nepochs = 7\nseed = 7\nwarmup_steps = 7\n[encoder]\nclip_s = 7.0\n')
    for name, value in (("SEED", "8"), ("WARMUP_STEPS", "8"), ("TEACHER__MODEL", "minilm")):
        monkeypatch.setenv(f"ACULA_ALIGN__{name}", value)
    found = read("--config", str(file), *FLAGS, "--seed", "9")
    assert (found.epochs, found.warmup_steps, found.seed, found.batch_size) == (7, 8, 9, 24)
    assert (found.encoder.name, found.encoder.clip_s) == ("opera-gt", 7.0)
    assert (found.teacher.model, found.teacher.unit, found.teacher.max_tokens) == ("minilm", "report", 128)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--preset", "acula"],
            "recordings is not set; give --recordings or name it in the --config file (and 2 more)",
        ),
        ([*FLAGS, "--batch_size", "2"], "command line: batch_size = '2': must be greater than or equal to 4"),
        (
            [*FLAGS, "--objective.name", "clip"],
            "command line: objective.name = 'clip': must be one of cka, infonce, siglip, released, labels, none",
        ),
    ],
)
def test_wrong_setting_is_told_with_its_place(flags: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(*flags)
    assert str(caught.value) == told


def test_section_that_is_no_table_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('preset = "acula"\nencoder = "opera-ct"\n')
    with pytest.raises(ConfigError) as caught:
        read("--config", str(file), *FLAGS)
    told = f"{file}: encoder = 'opera-ct': must be a table, [encoder], with its settings below it"
    assert str(caught.value) == told


def test_unknown_preset_is_one_line_with_those_that_there_are() -> None:
    completed = run("--preset", "x", *FLAGS)
    assert completed.returncode == 2
    assert completed.stderr == "error: command line: preset = 'x': must be one of acula, demo\n"


def test_program_without_arguments_explains_what_it_needs() -> None:
    completed = run()
    assert (completed.returncode, completed.stdout) == (2, "")
    for needed in ("--recordings", "--reports", "--output", "align.prepare", "align.report", "--preset demo"):
        assert needed in completed.stderr
