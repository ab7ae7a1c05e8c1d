"""Who may import whom, and what the device must never load."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import lacking

ROOT = Path(__file__).parents[1]
PACKAGES = ("align", "distill", "quantize", "edge")

# The base install is `edge`; each further stage may look back at the ones before it, never forward.
ALLOWED = {
    "edge": {"edge"},
    "align": {"align", "edge"},
    "distill": {"distill", "align", "edge"},
    "quantize": {"quantize", "distill", "align", "edge"},
}
TRAINING_ONLY = {
    "torch",
    "torchaudio",
    "lightning",
    "transformers",
    "timm",
    "onnx",
    "scipy",
    "sklearn",
    "matplotlib",
    "av",
    "datasets",
    "openai",
    "pandas",
    "pyarrow",
    "python_calamine",
}

PROGRAMS = (
    *(f"align.{name}" for name in ("evaluate", "prepare", "report", "retrieve", "train")),
    *(f"distill.{name}" for name in ("evaluate", "label", "teach", "train")),
    *(f"quantize.{name}" for name in ("export", "sign", "tune")),
)
SLOW_TO_LOAD = {"torch", "lightning", "transformers", "onnxruntime", "scipy", "sklearn", "matplotlib", "datasets"}


def imported_packages(source: Path) -> set[str]:
    """Top-level names that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package: str) -> None:
    sources = sorted((ROOT / package).rglob("*.py"))
    assert sources
    forbidden = {*PACKAGES, "bench", "tests"} - ALLOWED[package]
    found = {str(path.relative_to(ROOT)): names for path in sources if (names := imported_packages(path) & forbidden)}
    assert not found


def test_edge_never_mentions_training_libraries() -> None:
    found = {
        path.name: names for path in (ROOT / "edge").rglob("*.py") if (names := imported_packages(path) & TRAINING_ONLY)
    }
    assert not found


def test_shell_scripts_are_clean() -> None:
    if shutil.which("shellcheck") is None:
        lacking("shellcheck is not installed")
    folders = ("tests", "quantize")
    scripts = [".ci/run", *(str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).glob("*.sh"))]
    run = subprocess.run(["shellcheck", *scripts], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_edge_loads_no_training_library_in_any_module() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "edge").rglob("*.py"))
        if path.name != "__main__.py"
    ]
    program = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    program += f"print(sorted(set(sys.modules) & {TRAINING_ONLY!r}))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_read_their_settings_before_they_load_what_takes_seconds(program: str) -> None:
    command = f"import {program}, sys; print(sorted(set(sys.modules) & {SLOW_TO_LOAD!r}))"
    run = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_runtime_leaves_nothing_in_home_and_temporary_folder(tmp_path: Path) -> None:
    """onnxruntime's telemetry, on by default, would leave a device identity and a queue of events to send there."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    for folder in ("home", "tmp"):
        (tmp_path / folder).mkdir()
    program = "import edge.backends.onnxruntime, quantize.latency, time; time.sleep(1)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not left
