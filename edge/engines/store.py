"""Engines on disk: one folder a model, with the engine and `engine.json`, which says what it was built from and for.

An engine fits one graph, TensorRT, GPU and JetPack; TensorRT itself does not tell before it fails. The signature of a
bundle cannot cover an engine, so `engine.json` binds it to the signed graph by hash. Builds nothing and runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.bundle import Bundle
from edge.engines.board import Board
from edge.engines.plan import INT8_GRAPH, Precision, parse_version, plan
from edge.errors import EngineError, first_line

SIDECAR, ENGINE = "engine.json", "encoder.engine"


class Sidecar(BaseModel):
    """`engine.json`, as `build_engine.sh` and `python -m edge engine` write it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine_sha256: str
    precision: Precision
    graph: str
    """File of the bundle."""
    graph_sha256: str
    tensorrt: str
    sm: str
    l4t: str
    model: str = ""
    power_mode: str = ""
    median_ms: dict[Precision, float] = {}
    """Of each precision that was built: one run of the encoder on this board."""
    builder: str = ""


def folder_of(bundle: Bundle, engines: Path) -> Path:
    """Where the engine of a bundle's model lies: named by the hash of its INT8 graph.

    Raises:
        EngineError: the bundle holds no graphs for TensorRT.
    """
    digest = bundle.manifest.files.get(INT8_GRAPH)
    if digest is None or not bundle.manifest.tensorrt_tolerance:
        raise EngineError(f"bundle {bundle.path} holds no graphs for TensorRT: export it with --target jetson")
    return engines / digest[:16]


def read_sidecar(folder: Path) -> Sidecar:
    """What the engine in a folder says of itself.

    Raises:
        EngineError: there is none, or it cannot be read.
    """
    path = folder / SIDECAR
    try:
        return Sidecar.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise EngineError(f"{folder}: no engine has been built; run python -m edge engine") from error
    except OSError as error:
        raise EngineError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise EngineError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}; build it again") from error
    except ValueError as error:
        raise EngineError(f"{path}: not JSON: {first_line(error)}; build it again") from error


def check_sidecar(sidecar: Sidecar, bundle: Bundle, board: Board) -> None:
    """See that an engine is of this bundle and for this machine.

    Raises:
        EngineError: it is not; the message says in what it differs.
    """
    wanted = plan(parse_version(board.tensorrt), sidecar.precision).graph
    pairs = {
        "graph": (sidecar.graph, wanted),
        "hash of the graph": (sidecar.graph_sha256[:12], bundle.manifest.files.get(wanted, "")[:12]),
        "TensorRT": (_three(sidecar.tensorrt), _three(board.tensorrt)),
        "compute capability": (sidecar.sm, board.sm),
        "L4T": (sidecar.l4t, board.l4t),
    }
    for name, (built, here) in pairs.items():
        if built != here:
            raise EngineError(
                f"the engine was built for {name} {built or 'none'}, here it is {here or 'none'}: build it again"
            )


def _three(version: str) -> str:
    return ".".join(str(part) for part in parse_version(version))


def read_engine(folder: Path, sidecar: Sidecar) -> bytes:
    """The engine's bytes.

    Raises:
        EngineError: it is missing, or altered since it was built.
    """
    try:
        content = (folder / ENGINE).read_bytes()
    except OSError as error:
        raise EngineError(f"{folder / ENGINE}: cannot be read: {error.strerror}; build it again") from error
    if hashlib.sha256(content).hexdigest() != sidecar.engine_sha256:
        raise EngineError(f"{folder / ENGINE}: altered since it was built; build it again")
    return content


def write_engine(folder: Path, engine: bytes, sidecar: Sidecar) -> None:
    """Put an engine and its sidecar in the place of older ones, by renaming: half an engine is never seen.

    Raises:
        EngineError: the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            new, old = Path(scratch) / "new", Path(scratch) / "old"
            new.mkdir()
            (new / ENGINE).write_bytes(engine)
            (new / SIDECAR).write_text(sidecar.model_dump_json(indent=2) + "\n", encoding="utf-8")
            for name in (ENGINE, SIDECAR):
                with (new / name).open("rb") as stream:
                    os.fsync(stream.fileno())
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
    except OSError as error:
        raise EngineError(f"{folder}: the engine cannot be written: {error.strerror}") from error
