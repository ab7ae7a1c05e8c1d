"""The bundle's folder: what goes into it, the proof that a device can use it, and the swap with an older one.

The graphs come from `quantize.graph` and `quantize.calibration`; this decides under which names and properties.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from distill.frontend import OPSET, export_frontend
from distill.student import FRAMES_PER_STEP
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle, Label, Manifest, OperatingPoint, check_golden, load_bundle
from edge.errors import BundleError
from quantize.calibration import RECIPES, WIDTHS, Target
from quantize.checkpoint import Checkpoint
from quantize.errors import ExportError, GateError
from quantize.graph import add_metadata, export_encoder
from quantize.half import write_half
from quantize.histograms import Histogram, collect
from quantize.selection import Way, quantise_in
from quantize.sign import public_pem
from quantize.windows import CalibrationSet, log_mels

HOP_S = 0.5
"""Each moment is then seen by four windows of two seconds."""

NEVER = OperatingPoint(on=1, off=1, minimum_duration_s=0, merge_gap_s=0, refractory_s=0, split_depth=0)
"""Stands in a draft until the operating points are chosen."""


def draft_manifest(name: str, version: str, checkpoint: Checkpoint) -> Manifest:
    """What the checkpoint alone says; precision, operating points, metrics and hashes come later."""
    front_end = checkpoint.front_end
    return Manifest(
        name=name,
        version=version,
        created=checkpoint.created,
        front_end=front_end,
        window_s=checkpoint.window_s,
        hop_s=HOP_S,
        step_s=FRAMES_PER_STEP * front_end.hop_samples / front_end.sample_rate_hz,
        embedding_size=checkpoint.student.shape.embedding_size,
        labels=tuple(Label(name=label, operating_point=NEVER) for label in checkpoint.labels),
        precision="float32",
        corpora=checkpoint.corpora,
        golden_tolerance=1.0,
    )


def write_float32(bundle: Bundle, checkpoint: Checkpoint, max_batch: int = 1) -> None:
    """Write front-end and float32 encoder into the draft bundle's new folder.

    `max_batch` above 1 leaves the batch of both free; how large it may be is the property that a board's build reads.
    """
    bundle.path.mkdir()
    free = max_batch > 1
    export_frontend(bundle.frontend_path, checkpoint.front_end, checkpoint.window_samples, free_batch=free)
    properties = _properties(bundle.manifest, checkpoint) | {"precision": "float32", "max_batch": str(max_batch)}
    export_encoder(checkpoint, bundle.encoder_path, properties, free_batch=free)


def write_int8(
    bundle: Bundle,
    float32: Bundle,
    calibration: CalibrationSet,
    target: Target = "cpu",
    *,
    histograms: Mapping[str, Histogram] | None = None,
    way: Way | None = None,
) -> None:
    """Write the same front-end and the INT8 form of the encoder for a target into the draft bundle's new folder.

    Args:
        bundle: the draft.
        float32: what to quantise.
        calibration: the windows that the ranges are of.
        target: whose Q/DQ placement.
        histograms: of those windows; None: count them here.
        way: of `quantize.selection`; None: the extremes as ranges.
    """
    bundle.path.mkdir()
    shutil.copyfile(float32.frontend_path, bundle.frontend_path)
    if histograms is None:
        heard = log_mels(calibration.windows, bundle.manifest.front_end)
        histograms = collect(float32.encoder_path, RECIPES[target].operators, heard)
    way = way or Way("minmax", WIDTHS[target][0])
    quantise_in(way, float32.encoder_path, bundle.encoder_path, histograms, target)
    add_metadata(
        bundle.encoder_path,
        {
            "precision": f"int8: {RECIPES[target].words}",
            "calibrator": way.calibrator,
            "weight_bits": str(way.weight_bits),
            "float_layers": json.dumps(way.kept_float),
            "calibration_windows": str(len(calibration.windows)),
            "calibration_index_sha256": calibration.index_sha256,
        },
    )


def write_float16(bundle: Bundle, float32: Bundle) -> None:
    """Write the same front-end and the float16 form of the encoder into the draft bundle's new folder.

    Raises:
        GateError: a weight that float16 cannot hold.
    """
    bundle.path.mkdir()
    shutil.copyfile(float32.frontend_path, bundle.frontend_path)
    write_half(onnx.load(str(float32.encoder_path)), bundle.encoder_path)


def prove(folder: Path, key: Ed25519PrivateKey | None = None) -> None:
    """Open the bundle as a device does, by the public part of its key where it is signed, and run its golden vectors.

    Raises:
        GateError: what the device would say.
    """
    try:
        if key is None:
            bundle = load_bundle(folder, allow_unsigned=True)
        else:
            with TemporaryDirectory() as scratch:
                public = Path(scratch) / "key.pub"
                public.write_bytes(public_pem(key))
                bundle = load_bundle(folder, trusted_keys=[public])
        check_golden(bundle, OnnxRuntimeBackend(bundle))
    except BundleError as error:
        raise GateError(str(error)) from error


def refuse_foreign(output: Path) -> None:
    """Refuse to write where something else than a bundle lies.

    Raises:
        ExportError: the output is a file, or a folder that holds files but no manifest.
    """
    if output.exists() and not output.is_dir():
        raise ExportError(f"{output}: is a file; name a folder for the bundle")
    if output.is_dir() and any(output.iterdir()) and not (output / "manifest.json").is_file():
        raise ExportError(f"{output}: holds files but no bundle, and would be replaced; name another folder")


def _beside(output: Path) -> TemporaryDirectory[str]:
    """A scratch folder on the output's disk, so that the bundle is put in place by renaming.

    Raises:
        ExportError: it cannot be made.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-")
    except OSError as error:
        raise ExportError(f"{output.parent}: cannot be written ({error.strerror}); name another --output") from error


@contextmanager
def rebuilding(output: Path) -> Iterator[Path]:
    """A scratch folder whose `bundle` takes the place of the output when the block ends; else the output is as it was.

    Raises:
        ExportError: the disk cannot take it.
    """
    with _beside(output) as name:
        scratch = Path(name)
        try:
            yield scratch
            replace(scratch / "bundle", output, scratch / "old")
        except OSError as error:
            place = error.filename or output
            raise ExportError(f"{place}: cannot be written ({error.strerror}); {output} is as it was") from error


def replace(new: Path, output: Path, aside: Path) -> None:
    """Put a folder in the place of another by renaming, so that no mixture of both is ever seen.

    All three lie on one file system. The old folder goes to `aside`, and comes back if the new one cannot be moved.
    """
    if output.exists():
        output.rename(aside)
    try:
        new.rename(output)
    except OSError:
        if aside.exists():
            aside.rename(output)
        raise


def _properties(manifest: Manifest, checkpoint: Checkpoint) -> dict[str, str]:
    """What somebody who finds the encoder without its bundle needs in order to use it."""
    return {
        "name": manifest.name,
        "version": manifest.version,
        "labels": json.dumps([label.name for label in manifest.labels]),
        "front_end": json.dumps(manifest.front_end.model_dump(), sort_keys=True),
        "window_s": f"{manifest.window_s:g}",
        "step_s": f"{manifest.step_s:g}",
        "opset": str(OPSET),
        "checkpoint_sha256": checkpoint.sha256,
    }
