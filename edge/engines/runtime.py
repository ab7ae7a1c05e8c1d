"""The system's TensorRT and CUDA, found and described. Not yet run on hardware."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edge.engines.board import Board, read_board
from edge.engines.cuda import Cuda, load_cudart
from edge.errors import EngineError, UserError, first_line


@dataclass(frozen=True)
class Runtime:
    """What builds and runs engines here."""

    trt: Any
    """The module `tensorrt`."""
    logger: Any
    """One for everything: TensorRT warns of a second."""
    cudart: Any
    board: Board

    def cuda(self) -> Cuda:
        """A stream of its own for one session."""
        return Cuda(self.cudart)


@contextmanager
def foreign_errors() -> Iterator[None]:
    """Turn whatever TensorRT's bindings raise into an EngineError: a device must go on without them, and does."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise EngineError(f"TensorRT: {type(error).__name__}: {first_line(error)}") from error


def find_runtime() -> Runtime:
    """The system's TensorRT and the machine.

    Raises:
        EngineError: there is no TensorRT, no CUDA runtime or no GPU.
    """
    try:
        trt = importlib.import_module("tensorrt")
        logger = trt.Logger(trt.Logger.WARNING)
    except Exception as error:  # a stub without its libraries fails in ways of its own
        raise EngineError(
            f"Python's module tensorrt cannot be loaded ({first_line(error)}); it comes with JetPack: make the virtual "
            "environment with --system-site-packages"
        ) from error
    cudart = load_cudart()
    cuda = Cuda(cudart)
    try:
        return Runtime(trt, logger, cudart, read_board(str(trt.__version__), cuda.compute_capability()))
    finally:
        cuda.close()
