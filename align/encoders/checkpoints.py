"""Published weights from a file, under the names that this project's modules give them.

A file is a Lightning checkpoint, a dictionary of tensors saved by torch, or safetensors. Nothing in it is run: torch
reads it with `weights_only`. Every tensor of the file must have a place or be known as one that is not needed, and
every tensor of the module must be in the file: weights of another architecture never load in part.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from align.encoders.errors import EncoderError
from edge.errors import first_line

TABLES = ("state_dict", "audio_model_state_dict")
"""Where training checkpoints keep the encoder: Lightning's, and those that AcuLa saves while it trains."""


class Rename(NamedTuple):
    """How tensors of some published names are called here."""

    pattern: str
    """Regular expression of the whole published name."""
    replacement: str
    """As `re.sub` takes it."""
    convert: Callable[[Tensor], Tensor] | None = None
    """What is stored here, where that is a function of what was published."""


@dataclass(frozen=True)
class Layout:
    """The tensors of a published architecture."""

    architecture: str
    """Its name, for messages."""
    anchor: str
    """A tensor that every such file holds. What stands before it in a file is the prefix of a wrapper."""
    renames: tuple[Rename, ...]
    unneeded: str = r"(?!)"
    """Regular expression of the names that are left out: what the embedding does not use, and what is not learnt."""


def load_published(module: nn.Module, path: Path, layout: Layout) -> None:
    """Fill a module with published weights.

    Raises:
        EncoderError: the file is missing, unreadable or cut off, or holds other tensors than the architecture.
    """
    published = _without_prefix(read_tensors(path), layout.anchor)
    renamed, unmatched = _rename(published, layout)
    wanted = module.state_dict()
    problems = [
        _summary("no place for", sorted(unmatched)),
        _summary("missing", [name for name in wanted if name not in renamed]),
        _summary("nothing here is called", [name for name in renamed if name not in wanted]),
        _summary("misshapen", _misshapen(renamed, wanted)),
    ]
    told = "; ".join(problem for problem in problems if problem)
    if told:
        raise EncoderError(f"{path}: a checkpoint of another architecture than {layout.architecture}: {told}")
    module.load_state_dict(renamed)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their published names, on the CPU.

    Raises:
        EncoderError: the file is missing, unreadable or cut off, or holds no table of tensors.
    """
    if not path.is_file():
        raise EncoderError(f"{path}: no such file; name a checkpoint that was downloaded")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        told = "no checkpoint, or one that holds more than tensors; save its state_dict alone"
        raise EncoderError(f"{path}: {told}") from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise EncoderError(f"{path}: not a whole checkpoint; download it again ({first_line(error)})") from error
    except OSError as error:
        raise EncoderError(f"{path}: cannot be read: {error.strerror}") from error
    return _table(path, content)


def _table(path: Path, content: object) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        content = next((content[key] for key in TABLES if key in content), content)
    if isinstance(content, Mapping) and content:
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if len(tensors) == len(content):
            return tensors
    raise EncoderError(f"{path}: holds no table of tensors; an encoder is a state_dict or a Lightning checkpoint")


def _without_prefix(tensors: Mapping[str, Tensor], anchor: str) -> Mapping[str, Tensor]:
    """Take off a prefix that all names share, such as `module.` of a wrapper."""
    prefix = next((name.removesuffix(anchor) for name in tensors if name.endswith(anchor)), "")
    if not all(name.startswith(prefix) for name in tensors):
        return tensors
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _rename(published: Mapping[str, Tensor], layout: Layout) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by their names here, and the published names that are not known."""
    renamed: dict[str, Tensor] = {}
    unmatched = []
    for name, tensor in published.items():
        rename = next((rename for rename in layout.renames if re.fullmatch(rename.pattern, name)), None)
        if rename is not None:
            own = re.sub(rename.pattern, rename.replacement, name)
            renamed[own] = tensor if rename.convert is None else rename.convert(tensor)
        elif not re.fullmatch(layout.unneeded, name):
            unmatched.append(name)
    return renamed, unmatched


def _misshapen(renamed: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{name}, which is {_shape(renamed[name])} and not {_shape(tensor)}"
        for name, tensor in wanted.items()
        if name in renamed and renamed[name].shape != tensor.shape
    ]


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


def _summary(what: str, names: Iterable[str]) -> str:
    first, *rest = [*names] or [""]
    return f"{what} {first}{f' (and {len(rest)} more)' if rest else ''}" if first else ""
