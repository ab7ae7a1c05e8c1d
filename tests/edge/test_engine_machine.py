"""The board, its CUDA runtime, and the versions that are known to fail."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.engines.board import Board, read_board
from edge.engines.cuda import Cuda
from edge.engines.plan import check_known_bad, parse_version, plan
from edge.errors import EngineError
from tests.engines import stand_in_runtime

ROOT = Path(__file__).parents[2]


def test_failing_copy_is_told_and_memory_given_back() -> None:
    found = stand_in_runtime()
    cuda = Cuda(found.cudart)
    cuda.allocate(64)
    found.cudart.fails = {"cudaMalloc"}
    with pytest.raises(EngineError, match="cudaMalloc failed"):
        cuda.allocate(64)
    cuda.close()
    cuda.close()
    assert found.cudart.memory == {}


def _real_cudart() -> Path:
    """The CUDA runtime that a build of torch for NVIDIA's GPUs brings along."""
    for folder in sys.path:
        for path in sorted(Path(folder).glob("nvidia/*/lib/libcudart.so.*")):
            return path
    pytest.skip("no libcudart is installed beside torch")


def test_every_cuda_call_is_one_of_the_real_runtimes() -> None:
    source = (ROOT / "edge/engines/cuda.py").read_text()
    called = set(re.findall(r'_call\("(\w+)"', source)) | set(re.findall(r"_library\.(cuda\w+)", source))
    library = ctypes.CDLL(str(_real_cudart()))
    assert "cudaGraphInstantiateWithFlags" in called
    assert [name for name in sorted(called) if not hasattr(library, name)] == []


def test_real_runtime_copies_there_and_back_or_says_that_there_is_no_gpu() -> None:
    library = ctypes.CDLL(str(_real_cudart()))
    if library.cudaGetDeviceCount(ctypes.byref(ctypes.c_int())) != 0:
        with pytest.raises(EngineError, match=r"CUDA: cudaStreamCreateWithFlags failed with error \d+"):
            Cuda(library)
        return
    cuda = Cuda(library)
    given, found = cuda.host_array((2, 3)), cuda.host_array((2, 3))
    device = cuda.allocate(given.nbytes)
    cuda.begin_capture()
    cuda.copy_in(device, given)
    cuda.copy_out(found, device)
    cuda.end_capture()
    given[:] = np.arange(6).reshape(2, 3)
    cuda.launch()
    cuda.wait()
    assert found.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    cuda.close()


def test_board_is_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    (tmp_path / "proc/device-tree/model").write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    nvpmodel = tmp_path / "nvpmodel"
    nvpmodel.write_text("#!/bin/sh\necho 'NV Power Mode: 15W'\necho 0\n")
    nvpmodel.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert read_board("10.3.0", "8.7", tmp_path) == Board(
        "10.3.0", "8.7", "36.4.3", "NVIDIA Jetson Orin Nano Developer Kit", "15W"
    )


def test_other_machine_has_no_release_and_no_model(tmp_path: Path) -> None:
    found = read_board("11.1.0", "9.0", tmp_path)
    assert (found.l4t, found.model) == ("", "")


@pytest.mark.parametrize(
    ("version", "sm", "words"),
    [
        ("8.2.1", "7.2", "older than 8.5"),
        ("10.2.0", "8.7", "10.2.0 is known to fail"),
        ("10.13.3.9", "11.0", "wrong results on Thor"),
        ("8.5.2", "5.3", "no INT8"),
    ],
)
def test_known_bad_is_refused(version: str, sm: str, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        check_known_bad(parse_version(version), sm)


@pytest.mark.parametrize(
    ("version", "sm"), [("8.5.2", "7.2"), ("10.3.0", "8.7"), ("10.16.1", "11.0"), ("11.4.1", "8.7")]
)
def test_the_rest_is_not(version: str, sm: str) -> None:
    check_known_bad(parse_version(version), sm)
    assert plan(parse_version(version), "fp16").graph == "encoder.fp16.onnx"


def test_version_that_is_none_is_told() -> None:
    with pytest.raises(EngineError, match="calls its version 'dev': not understood"):
        parse_version("dev")
