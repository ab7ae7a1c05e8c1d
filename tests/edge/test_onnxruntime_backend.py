"""The runtime gives the contract's shapes, the same numbers each time, and refuses models that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge.backends import open_backend
from edge.bundle import SHIPPED, Bundle, load_bundle
from edge.errors import BundleError


def noise(seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, 32_000).astype(np.float32)


def test_infer_gives_the_shapes_of_the_contract(tiny_backend):
    output = tiny_backend.infer(noise())
    assert output.log_mel.shape == (64, 198)
    assert output.embedding.shape == (8,)
    assert output.scores.shape == (50, 2)
    assert {array.dtype for array in (output.log_mel, output.embedding, output.scores)} == {np.dtype(np.float32)}
    assert 0 <= output.scores.min() <= output.scores.max() <= 1


def test_infer_depends_on_the_window_alone(tiny_bundle, tiny_backend):
    first = tiny_backend.infer(noise())
    tiny_backend.infer(noise(1))
    # A read-only view at an odd offset, as the ring gives it.
    shifted = np.concatenate([np.zeros(3, np.float32), noise()])[3:]
    shifted.flags.writeable = False
    for backend in (tiny_backend, open_backend(tiny_bundle, threads=2)):
        again = backend.infer(shifted)
        assert np.array_equal(first.scores, again.scores)
        assert np.array_equal(first.log_mel, again.log_mel)


def test_infer_of_an_earlier_window_is_not_overwritten_by_a_later_one(tiny_backend):
    first = tiny_backend.infer(noise())
    before = first.scores.copy()
    tiny_backend.infer(noise(1))
    assert np.array_equal(first.scores, before)


@pytest.mark.parametrize("name", ["room", "auscultation"])
def test_bundle_that_ships_scores_several_sources_in_one_call_as_one_by_one(name):
    bundle = load_bundle(SHIPPED / name, allow_unsigned=True)
    for path in (bundle.frontend_path, bundle.encoder_path):
        (waveform,) = onnx.load(path).graph.input
        assert waveform.type.tensor_type.shape.dim[0].dim_param == "batch"
    backend = open_backend(bundle)
    windows = np.random.default_rng(0).normal(0, 0.1, (5, bundle.manifest.window_samples)).astype(np.float32)
    for window, together in zip(windows, backend.infer_batch(windows), strict=True):
        assert together.scores == pytest.approx(backend.infer(window).scores, abs=1e-5)


@pytest.mark.parametrize("shape", [(31_999,), (1, 32_000), (0,)])
def test_infer_of_another_shape_refuses(tiny_backend, shape):
    with pytest.raises(ValueError, match="expected 32000 samples"):
        tiny_backend.infer(np.zeros(shape, np.float32))


def refusal(folder: Path, bundle: Bundle) -> str:
    with pytest.raises(BundleError) as caught:
        open_backend(Bundle(folder, bundle.manifest))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["frontend.onnx", "encoder.onnx"])
def test_open_of_a_file_that_is_no_model_names_it(tiny_bundle_copy, tiny_bundle, name):
    (tiny_bundle_copy / name).write_bytes(b"no model")
    assert f"{name} cannot be loaded" in refusal(tiny_bundle_copy, tiny_bundle)


def test_open_of_swapped_models_tells_what_is_expected(tiny_bundle_copy, tiny_bundle):
    frontend, encoder = tiny_bundle_copy / "frontend.onnx", tiny_bundle_copy / "encoder.onnx"
    frontend.write_bytes(encoder.read_bytes())
    assert "frontend.onnx has inputs" in refusal(tiny_bundle_copy, tiny_bundle)


def test_open_of_a_model_with_other_labels_than_the_manifest_tells_both(tiny_bundle, tiny_bundle_path):
    manifest = tiny_bundle.manifest.model_copy(update={"labels": tiny_bundle.manifest.labels[:1]})
    with pytest.raises(BundleError, match=r"encoder\.onnx.*\[1, 50, 2\].*scores \[1, 50, 1\]"):
        open_backend(Bundle(tiny_bundle_path, manifest))


def test_open_of_a_model_with_a_free_batch_dimension_runs(tiny_bundle_copy, tiny_bundle):
    model = onnx.load(tiny_bundle_copy / "encoder.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, tiny_bundle_copy / "encoder.onnx")
    backend = open_backend(Bundle(tiny_bundle_copy, tiny_bundle.manifest))
    assert backend.infer(noise()).scores.shape == (50, 2)
