"""The model bundle: what its manifest says, and whether the folder can be trusted.

Checks the signature, the hashes and the golden vectors; it does not run a model (backends do) and does not build one.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edge.errors import BundleError, first_line
from edge.manifest import SCHEMA_VERSION, Corpus, FrontEnd, Label, Manifest, Metric, OperatingPoint

if TYPE_CHECKING:
    from edge.backends.base import Backend

__all__ = [
    "Bundle",
    "Corpus",
    "FrontEnd",
    "Label",
    "Manifest",
    "Metric",
    "OperatingPoint",
    "check_golden",
    "check_signature",
    "default_bundle",
    "find_bundle",
    "load_bundle",
    "write_manifest",
]

MANIFEST, SIGNATURE = "manifest.json", "signature"
FRONTEND, ENCODER, GOLDEN = "frontend.onnx", "encoder.onnx", "golden.npz"
GOLDEN_ARRAYS = ("waveform", "log_mel", "embedding", "scores")
SHIPPED = Path(__file__).parent / "bundles"
DEFAULT = "room"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files have the manifest's hashes."""

    path: Path
    manifest: Manifest

    @property
    def frontend_path(self) -> Path:
        """Waveform to log-mel, always float32."""
        return self.path / FRONTEND

    @property
    def encoder_path(self) -> Path:
        """Log-mel to embedding and scores."""
        return self.path / ENCODER

    def golden(self) -> dict[str, NDArray[np.float32]]:
        """Inputs and expected outputs, n windows each.

        waveform (n, window_samples), log_mel (n, mel_bands, frames), embedding (n, embedding_size), scores (n, steps,
        labels), all float32. Raises BundleError when the file holds anything else.
        """
        m = self.manifest
        shapes = {
            "waveform": (m.window_samples,),
            "log_mel": (m.front_end.mel_bands, m.frames),
            "embedding": (m.embedding_size,),
            "scores": (m.steps, len(m.labels)),
        }
        try:
            with np.load(self.path / GOLDEN, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in GOLDEN_ARRAYS}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"bundle {self.path}: {GOLDEN} cannot be read: {first_line(error)}") from error
        count = len(arrays["waveform"]) if arrays["waveform"].ndim else 0
        for name, shape in shapes.items():
            array, expected = arrays[name], (count, *shape)
            if count == 0 or array.shape != expected or array.dtype != np.float32:
                seen = f"{array.dtype} {array.shape}"
                raise BundleError(f"bundle {self.path}: {GOLDEN} holds {name} as {seen}, expected float32 {expected}")
        return arrays


def default_bundle() -> Path:
    """`DEFAULT`, or the first by name, of the bundles that ship in the package. BundleError when none does."""
    folders = _shipped()
    if not folders:
        raise BundleError(f"no bundle ships in {SHIPPED}: set bundle.path to one")
    return min(folders, key=lambda folder: (folder.name != DEFAULT, folder.name))


def find_bundle(named: str) -> Path:
    """What the setting bundle.path means: nothing, a folder, or the name of a bundle that ships.

    A folder of that name in the working directory comes first, since that is what a path means elsewhere.
    """
    if not named:
        return default_bundle()
    known = {folder.name: folder for folder in _shipped()}
    return known[named] if named in known and not Path(named).exists() else Path(named)


def _shipped() -> list[Path]:
    return sorted(path.parent for path in SHIPPED.glob(f"*/{MANIFEST}"))


def load_bundle(path: Path | str, *, trusted_keys: Sequence[Path] = (), allow_unsigned: bool = False) -> Bundle:
    """Check a bundle's signature, manifest and hashes, in that order.

    trusted_keys: PEM files with Ed25519 public keys; the detached signature over the manifest's bytes must be by one of
    them, unless `allow_unsigned` or the bundle lies inside the installed package, which is trusted as the package is.
    Raises BundleError with the file and the reason. The golden vectors need a backend: see `check_golden`.
    """
    folder = Path(path)
    try:
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except OSError as error:
        raise BundleError(f"bundle {folder}: cannot be read: {error.strerror}") from error
    if not is_folder:
        names = ", ".join(shipped.name for shipped in _shipped())
        fault = "is a file; unpack it into a folder" if is_file else f"no such folder; {names} ship with this program"
        raise BundleError(f"bundle {folder}: {fault}")
    raw = _read(folder, MANIFEST)
    if not allow_unsigned and not folder.resolve().is_relative_to(SHIPPED.resolve()):
        check_signature(folder, raw, trusted_keys)
    manifest = _parse(folder, raw)
    _check_files(folder, manifest)
    return Bundle(folder, manifest)


def check_golden(bundle: Bundle, backend: Backend) -> None:
    """Run the golden inputs; BundleError when an output is further than the tolerance from the golden one.

    The distance is absolute for an array within [-1, 1] and relative to the array's largest value beyond that, so that
    one tolerance serves scores, embeddings and log-mels.
    """
    golden = bundle.golden()
    outputs = [backend.infer(waveform) for waveform in golden["waveform"]]
    tolerance = bundle.manifest.golden_tolerance
    for name in GOLDEN_ARRAYS[1:]:
        expected = golden[name]
        actual = np.stack([getattr(output, name) for output in outputs])
        if actual.shape != expected.shape:
            raise BundleError(
                f"bundle {bundle.path}: {name} is {actual.shape} on {backend.name}, golden {expected.shape}"
            )
        error = np.abs(actual.astype(np.float64) - expected) / max(1.0, float(np.abs(expected).max()))
        # Negated, so that NaN fails too.
        if not error.max() <= tolerance:
            raise BundleError(
                f"bundle {bundle.path}: {name} on {backend.name} differs from {GOLDEN} by up to {error.max():.3g} "
                f"(mean {error.mean():.3g}, tolerance {tolerance:.3g}): not for this machine or runtime"
            )


def write_manifest(folder: Path | str, manifest: Manifest) -> Manifest:
    """Write `manifest.json` for the folder as it is, with the hash of every other file; return it.

    The bytes depend on the content alone. An older `signature` no longer holds afterwards.
    """
    folder = Path(folder)
    names = sorted(path.name for path in folder.iterdir() if path.name not in (MANIFEST, SIGNATURE))
    hashes = {name: hashlib.sha256(_read(folder, name)).hexdigest() for name in names}
    complete = Manifest.model_validate(manifest.model_dump() | {"files": hashes})
    text = json.dumps(complete.model_dump(mode="json"), indent=2, sort_keys=True, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return complete


def check_signature(folder: Path, raw: bytes, trusted_keys: Sequence[Path]) -> None:
    """Refuse a folder whose signature over the manifest's bytes `raw` is by none of the keys (PEM files).

    Raises BundleError: no key is given, one cannot be read, or the signature is missing or by another.
    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if not trusted_keys:
        raise BundleError(f"bundle {folder}: bundle.trusted_keys is empty; name a key, or set bundle.allow_unsigned")
    signature = _read(folder, SIGNATURE)
    for path in trusted_keys:
        try:
            key = load_pem_public_key(Path(path).read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise BundleError(f"trusted key {path}: cannot be read as a PEM public key: {first_line(error)}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise BundleError(f"trusted key {path}: not an Ed25519 key")
        try:
            key.verify(signature, raw)
        except InvalidSignature:
            continue
        return
    raise BundleError(
        f"bundle {folder}: {SIGNATURE} over {MANIFEST} is by none of the {len(trusted_keys)} trusted keys"
    )


def _parse(folder: Path, raw: bytes) -> Manifest:
    where = f"bundle {folder}: {MANIFEST}"
    try:
        content: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:  # the latter of a million brackets
        raise BundleError(f"{where} is not JSON: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{where} holds no JSON object")
    if (version := content.get("schema_version")) != SCHEMA_VERSION:
        raise BundleError(f"{where} has schema_version {version!r}, this program reads {SCHEMA_VERSION}: update one")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{where}: {field + ': ' if field else ''}{first['msg']}") from error


def _check_files(folder: Path, manifest: Manifest) -> None:
    try:
        present = {path.name for path in folder.iterdir()} - {MANIFEST, SIGNATURE}
    except OSError as error:
        raise BundleError(f"bundle {folder}: cannot be listed: {error.strerror}") from error
    for name in sorted(present - manifest.files.keys()):
        raise BundleError(f"bundle {folder}: {name} is not in {MANIFEST}: remove it")
    for name in (FRONTEND, ENCODER, GOLDEN):
        if name not in manifest.files:
            raise BundleError(f"bundle {folder}: {MANIFEST} does not list {name}")
    for name, expected in sorted(manifest.files.items()):
        actual = hashlib.sha256(_read(folder, name)).hexdigest()
        if actual != expected:
            raise BundleError(
                f"bundle {folder}: {name} is altered: SHA-256 {actual[:12]}…, {MANIFEST} says {expected[:12]}…"
            )


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"bundle {folder}: {name} is missing") from error
    except OSError as error:
        raise BundleError(f"bundle {folder}: {name} cannot be read: {error.strerror}") from error
