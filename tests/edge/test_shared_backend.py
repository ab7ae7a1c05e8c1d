"""One runtime, many threads: each gets the outputs of its own windows, and a stuck runtime shows."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edge.backends import open_backend
from edge.backends.base import Backend, Output
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.backends.shared import LARGEST_BATCH, SharedBackend
from edge.bundle import Bundle
from tests.brokers import eventually


def windows(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(0, 0.1, (count, 32_000)).astype(np.float32)


class Gated:
    """A backend that computes when the test lets it, and keeps the sizes of its batches."""

    name = "gated"

    def __init__(self, backend: OnnxRuntimeBackend) -> None:
        self._backend = backend
        self.gate = threading.Event()
        self.sizes: list[int] = []

    def infer(self, waveform: NDArray[np.float32]) -> Output:
        self.sizes.append(1)
        self.gate.wait()
        return self._backend.infer(waveform)

    def infer_batch(self, waveforms: NDArray[np.float32]) -> list[Output]:
        self.sizes.append(len(waveforms))
        self.gate.wait()
        return self._backend.infer_batch(waveforms)


def ask(shared: SharedBackend, waveforms: NDArray[np.float32]) -> tuple[list[Output | None], list[threading.Thread]]:
    """One thread for each window."""
    outputs: list[Output | None] = [None] * len(waveforms)

    def one(number: int) -> None:
        outputs[number] = shared.infer(waveforms[number])

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(len(waveforms))]
    for thread in threads:
        thread.start()
    return outputs, threads


@pytest.fixture(params=["fixed", "free"])
def backend(request: pytest.FixtureRequest, tiny_bundle_copy: Path, tiny_bundle: Bundle) -> OnnxRuntimeBackend:
    """The models with a batch of one, as they ship, and with any."""
    if request.param == "free":
        for name in ("frontend.onnx", "encoder.onnx"):
            model = onnx.load(tiny_bundle_copy / name)
            for value in (*model.graph.input, *model.graph.output):
                value.type.tensor_type.shape.dim[0].dim_param = "batch"
            for tensor in model.graph.initializer:
                if tensor.name == "pairs":  # the front-end's reshape names the batch as well
                    tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([-1, 2, 64, 198], np.int64), "pairs"))
            onnx.save(model, tiny_bundle_copy / name)
    return OnnxRuntimeBackend(Bundle(tiny_bundle_copy, tiny_bundle.manifest))


def test_windows_that_wait_together_go_as_one_batch_with_the_outputs_of_each(backend: OnnxRuntimeBackend) -> None:
    gated = Gated(backend)
    shared = SharedBackend(gated)
    waveforms = windows(LARGEST_BATCH + 6)
    first, thread = ask(shared, waveforms[:1])
    eventually(lambda: gated.sizes == [1], "the first window in the runtime")
    others, threads = ask(shared, waveforms[1:])
    eventually(lambda: len(shared._waiting) == len(waveforms) - 1, "the others behind it")
    gated.gate.set()
    for waiting in (*thread, *threads):
        waiting.join(60)
    assert gated.sizes == [1, LARGEST_BATCH, 5]
    for waveform, output in zip(waveforms, [*first, *others], strict=True):
        alone = backend.infer(waveform)
        assert output is not None
        for name in ("log_mel", "embedding", "scores"):
            np.testing.assert_allclose(getattr(output, name), getattr(alone, name), atol=1e-5)


def test_shared_backend_gives_what_the_one_inside_gives_bit_for_bit(tiny_backend: Backend) -> None:
    shared = SharedBackend(tiny_backend)
    for waveform in windows(3):
        assert shared.infer(waveform).scores.tobytes() == tiny_backend.infer(waveform).scores.tobytes()


def test_error_of_the_runtime_reaches_who_asked_and_the_next_is_served(tiny_backend: Backend) -> None:
    shared = SharedBackend(tiny_backend)
    with pytest.raises(ValueError, match="expected 32000 samples"):
        shared.infer(np.zeros(7, np.float32))
    assert shared.infer(windows(1)[0]).scores.shape == (50, 2)


def test_runtime_that_does_not_answer_is_told_and_forgotten_when_it_does(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.backends.shared.SLOW_S", 0.0)
    gated = Gated(open_backend(tiny_bundle))
    shared = SharedBackend(gated)
    assert shared.trouble == ""
    outputs, threads = ask(shared, windows(1))
    eventually(lambda: shared.trouble == "the runtime does not answer", "the trouble")
    gated.gate.set()
    threads[0].join(60)
    eventually(lambda: shared.trouble == "", "the end of the trouble")
    assert outputs[0] is not None
