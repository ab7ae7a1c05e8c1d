"""A stand-in for trtexec: takes the options of one version, records them, and runs the graph by ONNX Runtime.

Written to the test's folder as `trtexec` by tests/edge/test_build_engine.py, with a line in front that names the
interpreter. Reads `trtexec.json` beside itself: version, number, options, and what is to go wrong.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
SETUP = json.loads((HERE / "trtexec.json").read_text())


def main() -> int:
    given = dict(argument.lstrip("-").partition("=")[::2] for argument in sys.argv[1:])
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{SETUP['number']}] # {' '.join(sys.argv)}")
    if "help" in given:
        return 0
    with (HERE / "calls.jsonl").open("a") as stream:
        stream.write(json.dumps(given) + "\n")
    unknown = sorted(given.keys() - set(SETUP["options"]))
    if unknown:
        print(f"[01/01/2026-00:00:00] [E] Unknown option: --{unknown[0]} {given[unknown[0]]}")
        return 1
    print("[01/01/2026-00:00:00] [I] Compute Capability: 8.7")
    return build(given) if "onnx" in given else run(given)


def build(given: dict[str, str]) -> int:
    engine, graph = Path(given["saveEngine"]), Path(given["onnx"])
    if SETUP.get("fails") == graph.name:
        engine.write_bytes(graph.read_bytes()[:100])
        print("[01/01/2026-00:00:00] [E] [TRT] ModelImporter.cpp:949: ERROR: UNSUPPORTED_NODE: no importer for Fancy")
        return 1
    engine.write_bytes(graph.read_bytes())
    Path(given["exportLayerInfo"]).write_text("{}")
    return 0


def run(given: dict[str, str]) -> int:
    engine = Path(given["loadEngine"])
    if "exportOutput" not in given:
        milliseconds = SETUP["milliseconds"][engine.stem]
        print(
            "[01/01/2026-00:00:00] [I] GPU Compute Time: min = 0.1 ms, max = 9 ms, mean = 1 ms, "
            f"median = {milliseconds} ms, percentile(95%) = 2 ms, percentile(99%) = 3 ms"
        )
        return 0
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(engine.read_bytes(), options, disabled_optimizers=["WeightBiasQuantization"])
    name, _, path = given["loadInputs"].partition(":")
    shape = session.get_inputs()[0].shape
    outputs = session.run(None, {name: np.fromfile(path, dtype=np.float32).reshape(shape)})
    text, separator = "[\n", "  "
    for value, array in zip(session.get_outputs(), outputs, strict=True):
        spoilt = array + SETUP.get("error", {}).get(engine.stem, 0.0)
        text += f'{separator}{{ "name" : "{value.name}"\n'
        separator = ", "
        text += f'  , "dimensions" : "{"x".join(map(str, array.shape))}"\n'
        # As C++ prints floats: six digits, an exponent for small ones.
        text += f'  , "values" : [ {", ".join(f"{number:.6g}" for number in spoilt.ravel())} ]\n  }}\n'
    Path(given["exportOutput"]).write_text(text + "]\n")
    return 0


sys.exit(main())
