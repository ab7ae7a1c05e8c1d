"""Rules on the file as a whole: domains, opset, operators, shapes, types, external data, validity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
from onnx import TensorProto

from edge.errors import first_line
from quantize.rules.rule import Case, Problem, Severity
from quantize.rules.targets import MAX_IR_VERSION

MENDS: Mapping[str, str] = {
    "BatchNormalization": "fold it into the convolution before it: export in eval mode with constant folding",
    "STFT": "leave the front-end outside, or write the transform as a convolution with fixed weights",
    "DFT": "leave the front-end outside, or write the transform as a convolution with fixed weights",
    "DynamicQuantizeLinear": "quantise statically, with ranges from calibration",
    "ConvInteger": "write QuantizeLinear and DequantizeLinear pairs (QDQ) around a Conv",
    "MatMulInteger": "write QuantizeLinear and DequantizeLinear pairs (QDQ) around a MatMul",
    "QLinearConv": "write QuantizeLinear and DequantizeLinear pairs (QDQ), not operator form",
    "QLinearMatMul": "write QuantizeLinear and DequantizeLinear pairs (QDQ), not operator form",
    "If": "export one branch: what decides must be a constant",
    "Loop": "unroll it: the window's length is fixed",
    "NonZero": "leave it outside: the size of its output depends on the data",
}
ACCEPTED_BUT_UNFIT = ("BatchNormalization", "If", "Loop", "NonZero")
"""TensorRT reads them, yet a Q/DQ graph around them fails to build or does not fuse."""

TAKES_SHAPES = frozenset(
    """Reshape Unsqueeze Squeeze Slice Gather GatherElements GatherND Expand Tile Pad Split Resize ConstantOfShape
    Range TopK Concat Shape Size OneHot CumSum Cast ReduceMean ReduceMax ReduceMin ReduceSum ReduceProd ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare ScatterND ScatterElements Trilu Upsample Constant""".split()  # noqa: SIM905
)


def domains(case: Case) -> Iterator[Problem]:
    """Rule 1."""
    for node in case.graph.nodes:
        if node.domain not in ("", "ai.onnx"):
            yield Problem(
                case.graph.title(node),
                f"operator of the domain {node.domain}, of which TensorRT knows none",
                "export with standard operators: no contrib operators, no optimised file of ONNX Runtime",
            )


def opset(case: Case) -> Iterator[Problem]:
    """Rule 2."""
    found, highest = case.graph.opset, case.target.max_opset
    if found > highest:
        yield Problem(
            "graph",
            f"opset {found}, TensorRT {case.target} reads up to {highest}",
            f"export at opset {min(17, highest)}",
        )
    if case.graph.quantisers and found < 13:
        yield Problem("graph", f"opset {found} has no scales per channel", "export at opset 13 to 17")
    if case.graph.model.ir_version > MAX_IR_VERSION:
        yield Problem(
            "graph",
            f"IR version {case.graph.model.ir_version}, at most {MAX_IR_VERSION} is known to be read",
            f"set model.ir_version = {MAX_IR_VERSION} or lower before saving",
        )


def operators(case: Case) -> Iterator[Problem]:
    """Rule 3."""
    for node in case.graph.nodes:
        if node.domain not in ("", "ai.onnx"):
            continue  # rule 1
        mend = MENDS.get(node.op_type, "rewrite it with operators that its parser has, or leave it outside the engine")
        if node.op_type not in case.target.operators:
            problem = f"TensorRT {case.target} has no operator {node.op_type}"
            yield Problem(case.graph.title(node), problem, mend)
        elif node.op_type in ACCEPTED_BUT_UNFIT:
            severity: Severity = "error" if case.graph.quantisers else "warning"
            yield Problem(case.graph.title(node), f"{node.op_type} does not go with INT8", mend, severity)
    for name, kind in sorted(set(case.graph.element_types())):
        if kind in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
            yield Problem("graph", f"tensor {name} is complex", "write real and imaginary parts as two real tensors")


def shapes(case: Case) -> Iterator[Problem]:
    """Rule 13."""
    for value in case.graph.model.graph.input:
        for size in case.graph.shape(value.name) or []:
            if not isinstance(size, int) and size not in case.profile:
                yield Problem(
                    "graph",
                    f"dimension {size or 'without a name'} of input {value.name} varies",
                    "export with batch 1 and a fixed window, or declare it with --profile and build with --minShapes, "
                    "--optShapes and --maxShapes",
                )


def types(case: Case) -> Iterator[Problem]:
    """Rule 14."""
    graph = case.graph
    for name, kind in sorted(set(graph.element_types())):
        if kind == TensorProto.DOUBLE:
            yield Problem("graph", f"tensor {name} is float64", "export in float32")
    ends = {value.name for value in (*graph.model.graph.input, *graph.model.graph.output)}
    for name in sorted(ends):
        if graph.element_type(name) == TensorProto.INT64:
            yield Problem("graph", f"{name} at the graph's end is int64", "hand over float32 or int32")
    for name, value in graph.constants.items():
        if value.dtype != "int64":
            continue
        for node in graph.consumers[name]:
            if node.op_type not in TAKES_SHAPES and not _computes_shapes(case, node):
                yield Problem(graph.title(node), f"computes with int64 ({name})", "use float32 or int32 for data")


def _computes_shapes(case: Case, node: onnx.NodeProto) -> bool:
    """Arithmetic whose other inputs come from shapes, and not from data."""
    others = [case.graph.producer.get(name) for name in node.input if name not in case.graph.constants]
    return all(
        other is not None and (other.op_type in ("Shape", "Size") or _computes_shapes(case, other)) for other in others
    )


def external_data(case: Case) -> Iterator[Problem]:
    """Rule 16."""
    for name in case.graph.external:
        yield Problem(
            "graph",
            f"weights {name} lie in a second file",
            "save in one file: onnx.save(..., save_as_external_data=False), or export with external_data=False",
        )


def validity(case: Case) -> Iterator[Problem]:
    """Rule 17."""
    if told := defect(case.graph.model):
        yield Problem("graph", f"ONNX's own checker says: {told}", "export again")
    elif not case.graph.external:  # which cannot be inferred without the second file; rule 16 tells it
        try:
            onnx.shape_inference.infer_shapes(case.graph.model, check_type=True, strict_mode=True)
        except Exception as error:  # the exceptions share no public base class
            yield Problem("graph", f"ONNX's own checker says: {first_line(error)}", "export again")


def defect(model: onnx.ModelProto) -> str:
    """Why a file is no valid ONNX, so that nothing in it can be relied on; empty where it is."""
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the exceptions share no public base class
        told = first_line(error)
        # Weights in a second file are rule 16's; without that file the checker stops at the first of them.
        return "" if "external data" in str(error).lower() or "stored in" in str(error) else told
    return ""
