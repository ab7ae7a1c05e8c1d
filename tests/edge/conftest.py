"""A bundle small enough to build in a second: hand-written ONNX graphs with the contract's shapes, without torch.

Its "cough" score rises with the energy between 1.5 and 3.6 kHz (a burst of white noise), its "breath" score with how
far the energy below 900 Hz exceeds that (a burst of low-passed noise). It says nothing about real sounds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import structlog
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from structlog.testing import LogCapture

from edge import mqtt
from edge.backends import open_backend
from edge.backends.base import Backend
from edge.bundle import Bundle, Corpus, Label, Manifest, Metric, OperatingPoint, load_bundle, write_manifest
from edge.mqtt import Publisher
from edge.outbox import Outbox
from tests.brokers import PATIENCE_S, Broker, mosquitto

ROOT = Path(__file__).parents[2]
RATE_HZ = 16_000
WINDOW, FRAME, HOP, BANDS, FRAMES, STEPS, EMBEDDING = 32_000, 400, 160, 64, 198, 50, 8
LOW, HIGH = slice(0, 7), slice(12, 29)
LOG_OFFSET = 1e-6

POINT = OperatingPoint(on=0.6, off=0.3, minimum_duration_s=0.04, merge_gap_s=0.05, refractory_s=0.15, split_depth=0.5)


@pytest.fixture(scope="session")
def tiny_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unsigned bundle, shared: do not change its files."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    folder.mkdir()
    _save(folder / "frontend.onnx", *_frontend())
    _save(folder / "encoder.onnx", *_encoder())
    (folder / "card.md").write_text("# A bundle for tests\n")
    manifest = Manifest(
        name="tiny",
        version="1.2.3",
        created="2026-01-02T03:04:05Z",
        embedding_size=EMBEDDING,
        labels=(Label(name="cough", operating_point=POINT), Label(name="breath", operating_point=POINT)),
        precision="float32",
        corpora=(Corpus(name="noise", licence="CC0-1.0", source="numpy", recordings=0),),
        metrics=(Metric(name="auroc", value=0.5, low=0.4, high=0.6),),
        golden_tolerance=1e-3,
    )
    noise = np.random.default_rng(1).normal(0, 0.1, (2, WINDOW)).astype(np.float32)
    noise[:, : WINDOW // 2] *= 0.001
    # Two passes: the golden outputs come from the bundle itself, which needs a manifest to be opened.
    np.savez(folder / "golden.npz", waveform=noise)
    write_manifest(folder, manifest)
    backend = open_backend(load_bundle(folder, allow_unsigned=True))
    outputs = [backend.infer(waveform) for waveform in noise]
    arrays = {
        name: np.stack([getattr(output, name) for output in outputs]) for name in ("log_mel", "embedding", "scores")
    }
    np.savez(folder / "golden.npz", waveform=noise, **arrays)
    write_manifest(folder, manifest)
    return folder


@pytest.fixture
def tiny_bundle_copy(tiny_bundle_path: Path, tmp_path: Path) -> Path:
    """A copy of the bundle to damage."""
    return Path(shutil.copytree(tiny_bundle_path, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_bundle_path: Path) -> Bundle:
    """The bundle, loaded."""
    return load_bundle(tiny_bundle_path, allow_unsigned=True)


@pytest.fixture(scope="session")
def tiny_backend(tiny_bundle: Bundle) -> Backend:
    """The bundle's models, running."""
    return open_backend(tiny_bundle)


@pytest.fixture(scope="session")
def sounds() -> Callable[..., NDArray[np.float32]]:
    """`sounds(rate_hz, duration_s, coughs=[1.0], breaths=[3.0])`: (frames,) with bursts of 0.3 s at these seconds."""
    return _sounds


AS_NOBODY = """
import contextlib, os, sys
# Before the user changes, who may not be allowed to read Python's own files.
import edge.config, edge.pipeline
with contextlib.suppress(ImportError): import tomllib
from edge.__main__ import main
if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def shut_folder() -> Iterator[Path]:
    """An empty folder that an ordinary user may neither enter nor list; the owner opens it as far as a test needs."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        shut = Path(name) / "shut"
        shut.mkdir()
        Path(name).chmod(0o755)
        yield shut
        shut.chmod(0o755)


@pytest.fixture(scope="session")
def edge_as_nobody() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`edge_as_nobody("run", ...)`: the program as a user whom permissions bind."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", AS_NOBODY, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """A program that a test ran in this process must not leave its log level to the next."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture.entries
    structlog.reset_defaults()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db", max_mb=10, max_age_days=1)
    yield outbox
    outbox.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def slow_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishers wait for a broker on a busy machine, and do not take it for one that cannot parse version 5."""
    monkeypatch.setattr(mqtt, "_FIRST_ANSWER_TIMEOUT_S", PATIENCE_S)


@pytest.fixture
def publishers() -> Iterator[list[Publisher]]:
    """Whatever a test puts in here is stopped at its end."""
    started: list[Publisher] = []
    yield started
    for publisher in started:
        publisher.stop(0)


def _sounds(
    rate_hz: int, duration_s: float, coughs: Sequence[float] = (), breaths: Sequence[float] = (), seed: int = 0
) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    sound = random.normal(0, 1e-3, round(duration_s * rate_hz))
    burst = round(0.3 * rate_hz)
    for second in coughs:
        at = round(second * rate_hz)
        sound[at : at + burst] += random.normal(0, 0.1, burst)[: max(0, len(sound) - at)]
    for second in breaths:
        at = round(second * rate_hz)
        spectrum = np.fft.rfft(random.normal(0, 0.1, burst))
        spectrum[np.fft.rfftfreq(burst, 1 / rate_hz) > 900] = 0
        sound[at : at + burst] += np.fft.irfft(spectrum, burst)[: max(0, len(sound) - at)]
    return sound.astype(np.float32)


def _frontend() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray], tuple[str, list[int]], dict[str, list[int]]]:
    """Power of a Hann-windowed frame at 64 evenly spaced frequencies, in the logarithm."""
    time_s = np.arange(FRAME) / RATE_HZ
    phase = 2 * np.pi * np.outer(np.linspace(100, 7900, BANDS), time_s)
    kernels = np.concatenate([np.cos(phase), np.sin(phase)]) * np.hanning(FRAME)
    weights = {
        "channel": np.array([1], np.int64),
        "kernels": kernels[:, None].astype(np.float32),
        "pairs": np.array([1, 2, BANDS, FRAMES], np.int64),
        "offset": np.array(LOG_OFFSET, np.float32),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["waveform", "channel"], ["wave"]),
        helper.make_node("Conv", ["wave", "kernels"], ["parts"], strides=[HOP]),
        helper.make_node("Mul", ["parts", "parts"], ["squares"]),
        helper.make_node("Reshape", ["squares", "pairs"], ["paired"]),
        helper.make_node("ReduceSum", ["paired", "channel"], ["power"], keepdims=0),
        helper.make_node("Add", ["power", "offset"], ["positive"]),
        helper.make_node("Log", ["positive"], ["log_mel"]),
    ]
    return nodes, weights, ("waveform", [1, WINDOW]), {"log_mel": [1, BANDS, FRAMES]}


def _encoder() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray], tuple[str, list[int]], dict[str, list[int]]]:
    """Mean log energy of bands over four frames through a sigmoid."""
    width = FRAMES // STEPS + 1
    bands = np.zeros((2, BANDS, width), np.float32)
    bands[0, HIGH] = 1.5 / (17 * width)
    bands[1, LOW] = 1.5 / (7 * width)
    bands[1, HIGH] = -1.5 / (17 * width)
    weights = {
        "silence": np.array(-np.log(LOG_OFFSET), np.float32),
        "bands": bands,
        "bias": np.array([-15.0, -5.0], np.float32),
        "projection": np.random.default_rng(2).normal(0, 0.1, (BANDS, EMBEDDING)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Add", ["log_mel", "silence"], ["loudness"]),  # silence is 0, as is the padding
        helper.make_node("Conv", ["loudness", "bands", "bias"], ["logits"], strides=[width], pads=[0, 2]),
        helper.make_node("Sigmoid", ["logits"], ["by_label"]),
        helper.make_node("Transpose", ["by_label"], ["scores"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["loudness"], ["mean"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["mean", "projection"], ["embedding"]),
    ]
    return nodes, weights, ("log_mel", [1, BANDS, FRAMES]), {"embedding": [1, EMBEDDING], "scores": [1, STEPS, 2]}


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    source: tuple[str, list[int]],
    results: dict[str, list[int]],
) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, source[1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in results.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
