"""`python -m edge verify` and `engine`: one line a check, and an exit status that tells whether all held."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.__main__ import main
from edge.bundle import load_bundle, write_manifest
from edge.engines import runtime as engine_runtime
from edge.engines.store import folder_of
from edge.update.record import RecordFile
from tests.engines import StandInTensorRt, jetson_bundle, stand_in_runtime


@pytest.fixture(scope="module")
def folder(tiny_bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jetson_bundle(tiny_bundle_path, tmp_path_factory.mktemp("jetson") / "tiny")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> StandInTensorRt:
    found = stand_in_runtime("10.3")
    monkeypatch.setitem(sys.modules, "tensorrt", found.trt)
    monkeypatch.setattr(engine_runtime, "load_cudart", lambda: found.cudart)
    assert isinstance(found.trt, StandInTensorRt)
    return found.trt


def _arguments(command: str, folder: Path, engines: Path, *more: str) -> list[str]:
    return [command, str(folder), "--bundle.allow_unsigned", "--bundle.engines", str(engines), *more]


def test_bundle_for_any_machine_is_checked_on_onnxruntime(
    tiny_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_arguments("verify", tiny_bundle_path, tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "ok", "ok"]
    assert "golden outputs agree on onnxruntime within 0.001" in lines[-1]


def test_bundle_that_an_update_installed_is_checked_where_none_is_named(
    tiny_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = RecordFile(tmp_path / "bundles", "")
    installed = records.store / ("a" * 64)
    records.change(lambda record: record.model_copy(update={"current": installed.name}))
    shutil.copytree(tiny_bundle_path, installed)
    arguments = ["verify", "--bundle.allow_unsigned", "--outbox.path", str(tmp_path / "outbox.db")]
    assert main(arguments) == 0
    assert str(installed) in capsys.readouterr().out
    (tmp_path / "bundles" / "record.json").write_text("{")
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "record.json: is damaged" in told and told.count("\n") == 1


def test_missing_tensorrt_is_skipped_unless_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_arguments("verify", folder, tmp_path)) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("skip  tensorrt: Python's module tensorrt")
    assert main(_arguments("verify", folder, tmp_path, "--backend", "tensorrt")) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith("FAIL  Python's module tensorrt") and not any("onnxruntime" in line for line in told)


def test_bundle_without_graphs_fails_on_tensorrt(
    tiny_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_arguments("verify", tiny_bundle_path, tmp_path, "--backend", "tensorrt")) == 1
    assert "FAIL  bundle" in capsys.readouterr().out


def test_engine_is_built_once_and_verified(
    installed: StandInTensorRt, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_arguments("verify", folder, tmp_path)) == 1
    assert "no engine has been built; run python -m edge engine" in capsys.readouterr().out
    assert main(_arguments("engine", folder, tmp_path)) == 0
    told = capsys.readouterr().out
    assert "building, which takes minutes, because" in told and "kept " in told and told.count("ms a window") == 2
    assert main(_arguments("engine", folder, tmp_path)) == 0
    assert "building" not in capsys.readouterr().out
    assert main(_arguments("verify", folder, tmp_path)) == 0
    assert "golden outputs agree on tensorrt within" in capsys.readouterr().out
    assert len(installed.built) == 2
    assert main(_arguments("engine", folder, tmp_path, "--rebuild")) == 0
    assert len(installed.built) == 4


def test_engine_for_another_jetpack_is_built_again(
    installed: StandInTensorRt, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_arguments("engine", folder, tmp_path)) == 0
    sidecar = folder_of(load_bundle(folder, allow_unsigned=True), tmp_path) / "engine.json"
    sidecar.write_text(sidecar.read_text().replace("10.3.0", "10.7.0"))
    assert main(_arguments("verify", folder, tmp_path, "--backend", "tensorrt")) == 1
    assert "FAIL  the engine was built for TensorRT 10.7.0, here it is 10.3.0" in capsys.readouterr().out
    assert main(_arguments("engine", folder, tmp_path)) == 0
    assert main(_arguments("verify", folder, tmp_path, "--backend", "tensorrt")) == 0


def test_wrong_golden_outputs_fail_with_status_1(
    tiny_bundle_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = load_bundle(tiny_bundle_copy, allow_unsigned=True).manifest
    with np.load(tiny_bundle_copy / "golden.npz") as stored:
        arrays = dict(stored)
    arrays["scores"] = 1.0 - arrays["scores"]
    np.savez(tiny_bundle_copy / "golden.npz", **arrays)
    write_manifest(tiny_bundle_copy, manifest)
    assert main(_arguments("verify", tiny_bundle_copy, tmp_path)) == 1
    assert "FAIL  bundle" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["verify", "engine"])
def test_altered_bundle_ends_with_one_line_and_status_2(
    command: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "encoder.int8.onnx").write_bytes(b"")
    assert main(_arguments(command, copy, tmp_path)) == 2
    told = capsys.readouterr().err
    assert "encoder.int8.onnx is altered" in told and told.count("\n") == 1


def test_building_without_tensorrt_ends_with_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_arguments("engine", folder, tmp_path)) == 2
    told = capsys.readouterr().err
    assert "module tensorrt cannot be loaded" in told and told.count("\n") == 1
