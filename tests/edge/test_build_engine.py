"""build_engine.sh against a stand-in for trtexec that takes the options of one version and no others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import Bundle, load_bundle, write_manifest
from edge.engines.board import Board
from edge.engines.plan import PRECISIONS, parse_version, plan
from edge.engines.store import check_sidecar, folder_of, read_engine, read_sidecar
from tests.engines import jetson_bundle

ROOT = Path(__file__).parents[2]
OPTIONS = json.loads((ROOT / "tests/trtexec_options.json").read_text())
VERSIONS = {
    "8.5.2": ("8502", "8.5"),
    "8.6.2": ("8602", "8.6"),
    "10.3.0": ("100300", "10.3"),
    "10.13.3": ("101303", "10.13"),
    "11.4.1": ("110401", "11.1"),
}
"""How trtexec writes each version, and the version whose options it has: those of 11.4 are not published as source."""
ORIN = "NVIDIA Jetson Orin Nano Developer Kit"


@dataclass
class Machine:
    """A board: a folder that its file system begins in, with trtexec, uname and nvpmodel in front of the real ones."""

    root: Path
    bundle: Bundle

    def set_up(self, version: str = "10.3.0", *, model: str = ORIN, machine: str = "aarch64", **setup: Any) -> None:
        number, options = VERSIONS.get(version, ("".join(f"{int(part):02}" for part in version.split(".")), "10.3"))
        tools = self.root / "bin"
        tools.mkdir(parents=True, exist_ok=True)
        stand_in = (ROOT / "tests/trtexec_stand_in.py").read_text()
        _executable(tools / "trtexec", f"#!{sys.executable}\n{stand_in}")
        _executable(tools / "uname", f"#!/bin/sh\necho {machine}\n")
        _executable(tools / "nvpmodel", "#!/bin/sh\necho 'NV Power Mode: 15W'\n")
        known = {"number": number, "options": OPTIONS[options], "milliseconds": {"int8": 0.8, "fp16": 1.2}}
        (tools / "trtexec.json").write_text(json.dumps(known | setup))
        (self.root / "etc").mkdir(exist_ok=True)
        (self.root / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n")
        (self.root / "proc/device-tree").mkdir(parents=True, exist_ok=True)
        (self.root / "proc/device-tree/model").write_bytes(model.encode() + b"\0")

    def build(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(self.bundle.path / "build_engine.sh"), *(arguments or ("--engines", str(self.engines)))]
        path = f"{self.root / 'bin'}:/usr/bin:/bin"
        settings = {"PATH": path, "ACULA_ROOT": str(self.root), "HOME": str(self.root), **environment}
        return subprocess.run(command, cwd=self.root, env=settings, capture_output=True, text=True, check=False)

    @property
    def engines(self) -> Path:
        return self.root / "engines"

    @property
    def folder(self) -> Path:
        return folder_of(self.bundle, self.engines)

    def calls(self) -> list[dict[str, str]]:
        path = self.root / "bin/calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def left(self) -> list[str]:
        """What lies in the engines' folder."""
        return sorted(path.name for path in self.engines.iterdir()) if self.engines.exists() else []


def _executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(scope="module")
def bundle(tiny_bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """In a folder whose name trtexec would split."""
    folder = jetson_bundle(tiny_bundle_path, tmp_path_factory.mktemp("jetson") / "ward: 3, bed 1")
    return load_bundle(folder, allow_unsigned=True)


@pytest.fixture
def machine(bundle: Bundle, tmp_path: Path) -> Machine:
    return Machine(tmp_path / "board", bundle)


FLAGS = {
    "8.5.2": ({"int8", "fp16"}, {"fp16"}, "buildOnly"),
    "8.6.2": ({"int8", "fp16"}, {"fp16"}, "skipInference"),
    "10.3.0": ({"int8", "fp16"}, {"fp16"}, "skipInference"),
    "10.13.3": ({"stronglyTyped"}, {"stronglyTyped"}, "skipInference"),
    "11.4.1": (set(), set(), "skipInference"),
}


@pytest.mark.parametrize("version", list(VERSIONS))
def test_each_version_gets_its_flags_and_graphs(version: str, machine: Machine) -> None:
    machine.set_up(version)
    done = machine.build()
    assert done.returncode == 0, done.stdout + done.stderr
    builds = [call for call in machine.calls() if "onnx" in call]
    int8, fp16, build_only = FLAGS[version]
    precise = {"int8", "fp16", "best", "stronglyTyped", "calib"}
    assert [call.keys() & precise for call in builds] == [int8, fp16]
    assert all(build_only in call and "timingCacheFile" in call for call in builds)
    # The same as the device's own table, but that TensorRT 11 need not be told to be strongly typed.
    for call, precision in zip(builds, PRECISIONS, strict=True):
        how = plan(parse_version(version), precision)
        assert call["onnx"] == how.graph
        told = {flag.lower() for flag in how.flags} | ({"stronglyTyped"} if how.strongly_typed else set())
        assert call.keys() & precise == (told if version != "11.4.1" else set())


@pytest.mark.parametrize("version", list(VERSIONS))
def test_device_takes_what_the_script_built(version: str, machine: Machine) -> None:
    machine.set_up(version)
    assert machine.build().returncode == 0
    sidecar = read_sidecar(machine.folder)
    check_sidecar(sidecar, machine.bundle, Board(version, "8.7", "36.4.3"))
    assert read_engine(machine.folder, sidecar) == (machine.bundle.path / sidecar.graph).read_bytes()
    assert (sidecar.precision, sidecar.median_ms) == ("int8", {"int8": 0.8, "fp16": 1.2})
    assert (sidecar.model, sidecar.power_mode, sidecar.builder) == (ORIN, "15W", "trtexec")
    assert machine.left() == [machine.folder.name]


def test_float16_is_kept_where_it_is_faster(machine: Machine) -> None:
    machine.set_up(milliseconds={"int8": 1.31, "fp16": 1.3})
    done = machine.build()
    assert "kept fp16" in done.stdout
    assert read_sidecar(machine.folder).graph == "encoder.fp16.onnx"


def test_faster_engine_of_other_outputs_is_not_kept(machine: Machine) -> None:
    machine.set_up(error={"int8": 0.2})
    done = machine.build()
    assert done.returncode == 0
    assert "the int8 engine gives other outputs than the golden ones: " in done.stdout
    assert read_sidecar(machine.folder).precision == "fp16"


@pytest.mark.parametrize("error", [0.2, float("nan"), float("inf")])
def test_no_engine_is_kept_where_none_is_right(error: float, machine: Machine) -> None:
    machine.set_up()
    assert machine.build().returncode == 0
    before = machine.left(), (machine.folder / "engine.json").read_bytes()
    machine.set_up(error={"int8": error, "fp16": error})
    done = machine.build()
    assert done.returncode == 1
    assert "no engine gives the golden outputs; ONNX Runtime runs the bundle here" in done.stderr
    assert (machine.left(), (machine.folder / "engine.json").read_bytes()) == before


def test_bundle_without_accurate_int8_gets_a_float16_engine(machine: Machine, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(machine.bundle.path, tmp_path / "copy"))
    write_manifest(copy, machine.bundle.manifest.model_copy(update={"tensorrt_tolerance": {"fp16": 0.01}}))
    other = Machine(machine.root, load_bundle(copy, allow_unsigned=True))
    other.set_up()
    assert other.build().returncode == 0
    assert read_sidecar(other.folder).median_ms == {"fp16": 1.2}


def test_bundle_without_a_tolerance_is_refused(machine: Machine, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(machine.bundle.path, tmp_path / "copy"))
    write_manifest(copy, machine.bundle.manifest.model_copy(update={"tensorrt_tolerance": {}}))
    other = Machine(machine.root, load_bundle(copy, allow_unsigned=True))
    other.set_up()
    done = other.build()
    assert (done.returncode, other.calls()) == (2, [])
    assert "names no tensorrt_tolerance" in done.stderr


def test_trtexec_that_fails_half_way_leaves_nothing(machine: Machine) -> None:
    machine.set_up(fails="encoder.fp16.onnx")
    done = machine.build()
    assert done.returncode == 1
    assert "UNSUPPORTED_NODE: no importer for Fancy" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: trtexec could not build encoder.fp16.onnx; no engine was written"
    assert machine.left() == []


def test_second_build_replaces_the_engine(machine: Machine) -> None:
    machine.set_up("10.3.0")
    assert machine.build().returncode == 0
    machine.set_up("11.4.1")
    assert machine.build().returncode == 0
    assert read_sidecar(machine.folder).tensorrt == "11.4.1"


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ({"machine": "x86_64"}, "this machine is x86_64: an engine is built on the Jetson board that runs it"),
        ({"model": "NVIDIA Jetson Nano Developer Kit"}, "no INT8 (Nano, TX2)"),
        ({"model": "NVIDIA Jetson TX2"}, "no INT8 (Nano, TX2)"),
        ({"version": "10.13.3", "model": "NVIDIA Jetson AGX Thor Developer Kit"}, "wrong results on Thor"),
        ({"version": "10.02.0"}, "10.2.0 is known to fail"),
    ],
)
def test_board_that_cannot_is_refused_in_one_line(setup: dict[str, str], words: str, machine: Machine) -> None:
    machine.set_up(**setup)
    done = machine.build()
    assert done.returncode == 2
    assert words in done.stderr and done.stderr.count("\n") == 1
    assert machine.calls() == [] and machine.left() == []


def test_old_tensorrt_is_refused(machine: Machine) -> None:
    machine.set_up(number="8201")
    done = machine.build()
    assert (done.returncode, machine.calls()) == (2, [])
    assert "TensorRT 8.2.1: older than 8.5" in done.stderr


def test_missing_trtexec_is_told(machine: Machine) -> None:
    machine.set_up()
    (machine.root / "bin/trtexec").unlink()
    done = machine.build()
    assert done.returncode == 2
    assert done.stderr.startswith("error: trtexec is not installed") and done.stderr.count("\n") == 1


def test_trtexec_is_found_where_jetpack_puts_it(machine: Machine) -> None:
    machine.set_up()
    place = machine.root / "usr/src/tensorrt/bin"
    place.mkdir(parents=True)
    for name in ("trtexec", "trtexec.json"):
        shutil.move(machine.root / "bin" / name, place / name)
    assert machine.build().returncode == 0


def test_altered_graph_is_not_built(machine: Machine, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(machine.bundle.path, tmp_path / "copy"))
    (copy / "encoder.int8.onnx").write_bytes(b"something else")
    altered = Machine(machine.root, Bundle(copy, machine.bundle.manifest))
    altered.set_up()
    done = altered.build()
    assert done.returncode == 2
    assert "encoder.int8.onnx is not what manifest.json lists" in done.stderr
    (copy / "golden.int8.txt").unlink()
    assert "golden.int8.txt is missing" in altered.build().stderr


def test_relative_folder_is_the_callers(machine: Machine) -> None:
    machine.set_up()
    assert machine.build("--engines", "here").returncode == 0
    assert (machine.root / "here" / machine.folder.name / "encoder.engine").is_file()


def test_service_builds_into_its_state_directory(machine: Machine) -> None:
    machine.set_up()
    script = ["sh", str(machine.bundle.path / "build_engine.sh")]
    environment = {"PATH": f"{machine.root / 'bin'}:/usr/bin:/bin", "ACULA_ROOT": str(machine.root), "HOME": "/none"}
    done = subprocess.run(script, env={**environment, "STATE_DIRECTORY": str(machine.root / "state")}, check=False)
    assert done.returncode == 0
    assert (machine.root / "state/engines" / machine.folder.name / "encoder.engine").is_file()


def test_unknown_argument_is_told_and_help_is_printed(machine: Machine) -> None:
    machine.set_up()
    refused = machine.build("--fast")
    assert refused.returncode == 2 and "--fast is not known" in refused.stderr
    helped = machine.build("--help")
    assert helped.returncode == 0 and "Usage: sh build_engine.sh" in helped.stdout
