"""Golden outputs of the graphs for TensorRT: INT8 and float16 round otherwise than the graph for CPUs.

They are what ONNX Runtime makes of the same graphs, so what remains is the engine's own rounding, and what is wrong.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.engines.distance import distance
from edge.engines.plan import Precision
from edge.engines.session import encoder_shapes
from edge.errors import BundleError, EngineError, first_line

GOLDEN = "golden.tensorrt.npz"
"""Arrays `embedding_int8`, `scores_int8`, and the same of fp16, for the log-mels of golden.npz."""

Run = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""One log-mel (mel_bands, frames) to embedding and scores."""


def golden_outputs(bundle: Bundle, precision: Precision) -> dict[str, NDArray[np.float32]]:
    """What the engine of a precision should give: embedding (n, embedding_size) and scores (n, steps, labels).

    Raises:
        BundleError: the file is missing or holds something else.
    """
    count, shapes = len(bundle.golden()["log_mel"]), encoder_shapes(bundle.manifest)
    try:
        with np.load(bundle.path / GOLDEN, allow_pickle=False) as stored:
            arrays = {name: stored[f"{name}_{precision}"] for name in ("embedding", "scores")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"bundle {bundle.path}: {GOLDEN} cannot be read: {first_line(error)}") from error
    for name, array in arrays.items():
        if array.shape != (count, *shapes[name][1:]) or array.dtype != np.float32:
            raise BundleError(f"bundle {bundle.path}: {GOLDEN} holds {name} as {array.dtype} {array.shape}")
    return arrays


def check_outputs(bundle: Bundle, precision: Precision, run: Run) -> None:
    """Run the golden log-mels and compare, see `edge.engines.distance`.

    Raises:
        EngineError: an output is further than the bundle's tolerance for the precision.
        BundleError: the golden outputs cannot be read.
    """
    expected = golden_outputs(bundle, precision)
    tolerance = bundle.manifest.tensorrt_tolerance[precision]
    outputs = [run(log_mel) for log_mel in bundle.golden()["log_mel"]]
    for place, name in enumerate(("embedding", "scores")):
        found = distance(np.stack([output[place] for output in outputs]), expected[name])
        # Negated, so that NaN fails too.
        if not found <= tolerance:
            raise EngineError(
                f"the {precision} engine's {name} output is {found:.3g} of its size away from {GOLDEN}, allowed is "
                f"{tolerance:g}"
            )
