"""Which runtime a device takes: an engine that has proved itself, else ONNX Runtime, and why."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edge.backends.choice import choose_backend
from edge.bundle import Bundle, load_bundle
from edge.engines import runtime as engine_runtime
from edge.engines.board import read_board
from edge.engines.build import build_engine
from edge.engines.runtime import Runtime, find_runtime
from edge.errors import EngineError
from tests.brokers import Broker, eventually, retained
from tests.engines import jetson_bundle, stand_in_runtime
from tests.programs import BASE, Daemon


@pytest.fixture(scope="module")
def bundle(tiny_bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = jetson_bundle(tiny_bundle_path, tmp_path_factory.mktemp("jetson") / "tiny")
    return load_bundle(folder, allow_unsigned=True)


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    return tmp_path / "engines"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A machine with TensorRT 10.3."""
    found = stand_in_runtime("10.3")
    monkeypatch.setitem(sys.modules, "tensorrt", found.trt)
    monkeypatch.setattr(engine_runtime, "load_cudart", lambda: found.cudart)
    # What `importlib.util.find_spec` asks of a module that is loaded already.
    found.trt.__spec__ = sys.modules["json"].__spec__
    return Runtime(found.trt, found.logger, found.cudart, read_board(found.trt.__version__, "8.7"))


def test_auto_takes_a_proven_engine(installed: Runtime, bundle: Bundle, engines: Path) -> None:
    build_engine(bundle, installed, engines)
    choice = choose_backend(bundle, "auto", engines)
    assert (choice.backend.name, choice.trouble()) == ("tensorrt", "")


def test_onnxruntime_goes_on_where_the_engine_is_wrong(installed: Runtime, bundle: Bundle, engines: Path) -> None:
    build_engine(bundle, installed, engines)
    installed.trt.error = 0.3
    choice = choose_backend(bundle, "tensorrt", engines)
    assert choice.backend.name == "onnxruntime"
    assert choice.trouble().startswith("not on TensorRT: the ") and "golden.tensorrt.npz" in choice.trouble()


def test_onnxruntime_goes_on_where_no_engine_was_built(installed: Runtime, bundle: Bundle, engines: Path) -> None:
    choice = choose_backend(bundle, "auto", engines)
    assert choice.backend.name == "onnxruntime"
    assert "run python -m edge engine" in choice.trouble()


def test_engine_that_fails_while_running_is_given_up(installed: Runtime, bundle: Bundle, engines: Path) -> None:
    build_engine(bundle, installed, engines)
    choice = choose_backend(bundle, "tensorrt", engines)
    waveform = bundle.golden()["waveform"][0]
    before = choice.backend.infer(waveform)
    installed.cudart.fails = {"cudaGraphLaunch"}
    after = choice.backend.infer(waveform)
    np.testing.assert_allclose(after.scores, before.scores, atol=0.02)
    assert choice.trouble() == "no longer on TensorRT: CUDA: cudaGraphLaunch failed with error 801"
    choice.backend.infer(waveform)


def test_error_of_the_bindings_is_told_and_onnxruntime_goes_on(
    installed: Runtime, bundle: Bundle, engines: Path
) -> None:
    build_engine(bundle, installed, engines)
    installed.trt.raises = "Unable to cast Python instance\nto C++ type"
    choice = choose_backend(bundle, "auto", engines)
    assert choice.backend.name == "onnxruntime"
    assert choice.trouble() == "not on TensorRT: TensorRT: RuntimeError: Unable to cast Python instance"
    assert installed.cudart.memory == {}
    with pytest.raises(EngineError, match="TensorRT: RuntimeError"):
        build_engine(bundle, installed, engines)


def test_auto_says_nothing_where_there_is_no_tensorrt(bundle: Bundle, tiny_bundle: Bundle, engines: Path) -> None:
    for one in (bundle, tiny_bundle):
        choice = choose_backend(one, "auto", engines)
        assert (choice.backend.name, choice.trouble()) == ("onnxruntime", "")


def test_tensorrt_that_was_asked_for_and_is_missing_is_told(bundle: Bundle, engines: Path) -> None:
    choice = choose_backend(bundle, "tensorrt", engines)
    assert choice.backend.name == "onnxruntime"
    assert "module tensorrt cannot be loaded" in choice.trouble() and "--system-site-packages" in choice.trouble()


@pytest.mark.broker
def test_status_of_the_daemon_says_why_tensorrt_does_not_run(bundle: Bundle, tmp_path: Path, broker: Broker) -> None:
    with Daemon(bundle.path, tmp_path, broker.port, "--bundle.backend", "tensorrt"):
        eventually(lambda: (retained(broker.port, f"{BASE}/status") or {}).get("state") == "degraded", "the status")
        status = retained(broker.port, f"{BASE}/status")
    assert status is not None
    assert "not on TensorRT: Python's module tensorrt cannot be loaded" in status["reason"]


def test_machine_without_a_gpu_is_told(installed: Runtime) -> None:
    installed.cudart.fails = {"cudaStreamCreateWithFlags"}
    with pytest.raises(EngineError, match="cudaStreamCreateWithFlags failed with error 801"):
        find_runtime()


def test_machine_is_found(installed: Runtime) -> None:
    found = find_runtime()
    assert (found.board.tensorrt, found.board.sm) == ("10.3.0", "8.7")
