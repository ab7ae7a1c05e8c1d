"""The versions of TensorRT that a graph can be held against, as a table of where something changed.

Operators: docs/operators.md of onnx-tensorrt at 8.5, 8.6 and 10.1; STFT is in NVIDIA's change log of 10.5. Later
versions may have more: for them the list is what is known to be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge.errors import UserError

OPERATORS_8_5 = frozenset(
    """Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip
    Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
    Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool
    GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GRU HardSwish HardSigmoid Identity If ImageScaler
    InstanceNormalization IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool
    MatMul Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or Pad
    ParametricSoftplus Pow PRelu QuantizeLinear RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range
    Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize ReverseSequence RNN RoiAlign Round ScaledTanh Scan Scatter ScatterElements
    ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
    Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor""".split()  # noqa: SIM905
)
OPERATORS_8_6 = OPERATORS_8_5 | {"GroupNormalization", "IsInf", "LayerNormalization"}
OPERATORS_10_0 = OPERATORS_8_6 | {"CastLike", "DeformConv", "Gelu", "Hardmax", "Mish"}
OPERATORS_10_5 = OPERATORS_10_0 | {"STFT"}

MAX_IR_VERSION = 10


@dataclass(frozen=True)
class Target:
    """What one version of TensorRT, and those after it up to the next row, can read."""

    version: tuple[int, int]
    """The first version for which the row holds."""
    max_opset: int
    operators: frozenset[str]
    half_scales: bool
    """Scales may be float16: strongly typed networks."""

    def __str__(self) -> str:
        """As in `10.3`."""
        return ".".join(str(part) for part in self.version)


TARGETS = (
    Target((8, 5), 17, OPERATORS_8_5, half_scales=False),
    Target((8, 6), 17, OPERATORS_8_6, half_scales=False),
    Target((10, 0), 20, OPERATORS_10_0, half_scales=False),
    Target((10, 5), 20, OPERATORS_10_5, half_scales=False),
    Target((10, 9), 22, OPERATORS_10_5, half_scales=False),
    # From here on the build is strongly typed, and a graph may hold float16.
    Target((10, 12), 24, OPERATORS_10_5, half_scales=True),
    Target((11, 0), 24, OPERATORS_10_5, half_scales=True),
)

NEWEST_MAJOR = 11


def target(version: str) -> Target:
    """The row for a version such as `8.5`, `10.3.0` or `11.4`, with that version in it.

    Raises:
        UserError: no version, one before 8.5, or one of which nothing is known yet.
    """
    found = re.fullmatch(r"(\d+)(?:\.(\d+|x))?(?:\.\d+)*", version)
    if found is None:
        raise UserError(f"--tensorrt {version}: no version; write it as 8.5 or 10.3")
    wanted = (int(found[1]), 0 if found[2] in (None, "x") else int(found[2]))
    if wanted < TARGETS[0].version:
        raise UserError(f"--tensorrt {version}: too old for explicit quantisation as it is used here; 8.5 or later")
    if wanted[0] > NEWEST_MAJOR:
        raise UserError(f"--tensorrt {version}: not known yet; the newest known is {NEWEST_MAJOR}.x")
    row = [row for row in TARGETS if row.version <= wanted][-1]
    return Target(wanted, row.max_opset, row.operators, row.half_scales)
