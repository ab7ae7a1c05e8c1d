"""A bundle is loaded only when it is whole, trusted and computes what it should."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge import bundle as bundle_module
from edge.backends import open_backend
from edge.backends.base import Backend
from edge.bundle import (
    Bundle,
    Label,
    Manifest,
    OperatingPoint,
    check_golden,
    default_bundle,
    find_bundle,
    load_bundle,
    write_manifest,
)
from edge.errors import BundleError

FILES = ("card.md", "encoder.onnx", "frontend.onnx", "golden.npz", "manifest.json", "signature")


def _pem(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def signed(tiny_bundle_copy: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A signed bundle and the public key's file."""
    key = Ed25519PrivateKey.generate()
    (tiny_bundle_copy / "signature").write_bytes(key.sign((tiny_bundle_copy / "manifest.json").read_bytes()))
    public = tmp_path / "fleet.pub"
    public.write_bytes(_pem(key))
    return tiny_bundle_copy, public


def _edit_manifest(folder: Path, change: Callable[[dict], object]) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    change(content)
    (folder / "manifest.json").write_text(json.dumps(content))


def _refusal(folder: Path, **options) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder, **(options or {"allow_unsigned": True}))
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_load_signed_by_trusted_key_gives_manifest(signed, tmp_path):
    folder, key = signed
    other = tmp_path / "other.pub"
    other.write_bytes(_pem(Ed25519PrivateKey.generate()))
    bundle = load_bundle(folder, trusted_keys=[other, key])
    assert bundle.manifest.name == "tiny"
    assert [label.name for label in bundle.manifest.labels] == ["cough", "breath"]
    assert bundle.encoder_path.is_file()
    assert bundle.frontend_path.is_file()


def test_load_signed_by_other_key_is_refused(signed, tmp_path):
    other = tmp_path / "other.pub"
    other.write_bytes(_pem(Ed25519PrivateKey.generate()))
    assert "signature" in _refusal(signed[0], trusted_keys=[other])


def test_load_unsigned_is_refused(tiny_bundle_path, signed):
    assert "signature is missing" in _refusal(tiny_bundle_path, trusted_keys=[signed[1]])
    assert "trusted_keys is empty" in _refusal(tiny_bundle_path, trusted_keys=[])


def test_load_inside_the_package_needs_no_signature(tiny_bundle_copy, monkeypatch):
    monkeypatch.setattr(bundle_module, "SHIPPED", tiny_bundle_copy.parent)
    assert default_bundle() == tiny_bundle_copy
    assert load_bundle(default_bundle()).manifest.version == "1.2.3"


def test_trust_in_the_package_follows_where_a_path_leads(tiny_bundle_copy, tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    (tmp_path / "installed").symlink_to(package)
    monkeypatch.setattr(bundle_module, "SHIPPED", tmp_path / "installed")
    (package / "led-out").symlink_to(tiny_bundle_copy)
    for outside in (package / ".." / "tiny", package / "led-out", tmp_path / "installed" / "led-out"):
        with pytest.raises(BundleError, match="trusted_keys is empty"):
            load_bundle(outside)
    shutil.copytree(tiny_bundle_copy, package / "tiny")
    for inside in (package / "tiny", tmp_path / "installed" / "tiny"):
        assert load_bundle(inside).manifest.version == "1.2.3"


def test_bundle_that_ships_is_found_by_its_name(tiny_bundle_copy, monkeypatch):
    monkeypatch.setattr(bundle_module, "SHIPPED", tiny_bundle_copy.parent)
    assert find_bundle("tiny") == find_bundle("") == tiny_bundle_copy


def test_room_is_the_default_whatever_else_ships(tiny_bundle_path, tmp_path, monkeypatch):
    for name in ("auscultation", "room", "zoo"):
        shutil.copytree(tiny_bundle_path, tmp_path / name)
    monkeypatch.setattr(bundle_module, "SHIPPED", tmp_path)
    assert default_bundle() == tmp_path / "room"


def test_folder_of_ones_own_comes_before_a_bundle_of_that_name(tiny_bundle_copy, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_module, "SHIPPED", tiny_bundle_copy.parent)
    (tmp_path / "elsewhere" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_bundle("tiny") == Path("tiny")


def test_default_without_any_bundle_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_module, "SHIPPED", tmp_path)
    with pytest.raises(BundleError, match=r"bundle\.path"):
        default_bundle()


@pytest.mark.parametrize("content", [None, b"", b"not a key", "ec"])
def test_load_with_unusable_key_names_the_key(tiny_bundle_copy, tmp_path, content):
    key = tmp_path / "bad.pub"
    if content is not None:
        key.write_bytes(_pem(generate_private_key(SECP256R1())) if content == "ec" else content)
    (tiny_bundle_copy / "signature").write_bytes(bytes(64))
    assert str(key) in _refusal(tiny_bundle_copy, trusted_keys=[key])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0, 0.5, 1])
def test_load_with_one_flipped_byte_is_refused(signed, name, where):
    folder, key = signed
    content = bytearray((folder / name).read_bytes())
    content[round(where * (len(content) - 1))] ^= 0x04
    (folder / name).write_bytes(content)
    line = _refusal(folder, trusted_keys=[key])
    assert name in line or (name in ("manifest.json", "signature") and "signature" in line)


@pytest.mark.parametrize("name", [name for name in FILES if name != "signature"])
def test_load_with_missing_file_names_it(tiny_bundle_copy, name):
    (tiny_bundle_copy / name).unlink()
    assert f"{name} is missing" in _refusal(tiny_bundle_copy)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 1_000_000], ids=["empty", "open", "letters", "deep"])
def test_load_with_manifest_that_is_no_json_says_so(tiny_bundle_copy, content):
    (tiny_bundle_copy / "manifest.json").write_bytes(content)
    assert "manifest.json is not JSON" in _refusal(tiny_bundle_copy)


def test_load_with_extra_file_names_it(tiny_bundle_copy):
    (tiny_bundle_copy / "notes.txt").write_text("")
    assert "notes.txt" in _refusal(tiny_bundle_copy)


def test_load_with_truncated_file_names_it(tiny_bundle_copy):
    path = tiny_bundle_copy / "encoder.onnx"
    path.write_bytes(path.read_bytes()[:100])
    assert "encoder.onnx" in _refusal(tiny_bundle_copy)


def test_load_of_something_else_says_what_is_there(tmp_path):
    assert "no such folder; auscultation, room ship" in _refusal(tmp_path / "absent")
    archive = tmp_path / "bundle.tar"
    archive.write_bytes(b"x")
    assert "unpack" in _refusal(archive)
    assert "manifest.json is missing" in _refusal(tmp_path)


@pytest.mark.parametrize(("mode", "reason"), [(0o600, "cannot be read"), (0o311, "cannot be listed")])
def test_load_of_a_folder_that_one_may_not_enter_or_list_is_one_line(
    tiny_bundle_path, shut_folder, edge_as_nobody, mode, reason
):
    folder = shutil.copytree(tiny_bundle_path, shut_folder / "tiny")
    (folder if mode == 0o311 else shut_folder).chmod(mode)
    done = edge_as_nobody("verify", str(folder), "--bundle.allow_unsigned")
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    assert (done.returncode, done.stderr) == (2, f"error: bundle {folder}: {reason}: Permission denied\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(schema_version=2), "schema_version 2"),
        (lambda m: m.pop("schema_version"), "schema_version None"),
        (lambda m: m.update(colour="red"), "colour"),
        (lambda m: m.pop("labels"), "labels"),
        (lambda m: m.update(labels=[]), "labels"),
        (lambda m: m["labels"].append(m["labels"][0]), "twice"),
        (lambda m: m["labels"][0]["operating_point"].update(on=1.5), "labels.0.operating_point.on"),
        (lambda m: m["labels"][0]["operating_point"].update(off=0.9), "off (0.9) is above on"),
        (lambda m: m.update(hop_s=0.505), "hop_s"),
        (lambda m: m.update(window_s=0.2), "window_s"),
        (lambda m: m.update(created="yesterday"), "created"),
        (lambda m: m["files"].pop("encoder.onnx"), "encoder.onnx"),
        (lambda m: m["files"].update({"../outside": "0" * 64}), "files"),
        (lambda m: m["files"].update({"card.md": "short"}), "files.card.md"),
    ],
)
def test_load_with_wrong_manifest_names_the_field(tiny_bundle_copy, change, words):
    _edit_manifest(tiny_bundle_copy, change)
    line = _refusal(tiny_bundle_copy)
    assert "manifest.json" in line
    assert words in line


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_load_with_manifest_that_is_no_object_is_refused(tiny_bundle_copy, content):
    (tiny_bundle_copy / "manifest.json").write_bytes(content)
    assert "manifest.json" in _refusal(tiny_bundle_copy)


def test_write_manifest_twice_gives_the_same_bytes(tiny_bundle_copy, tiny_bundle):
    first = (tiny_bundle_copy / "manifest.json").read_bytes()
    assert write_manifest(tiny_bundle_copy, tiny_bundle.manifest) == tiny_bundle.manifest
    assert (tiny_bundle_copy / "manifest.json").read_bytes() == first


def test_manifest_counts_follow_from_its_seconds(tiny_bundle):
    manifest = tiny_bundle.manifest
    counts = (manifest.window_samples, manifest.hop_samples, manifest.step_samples, manifest.frames, manifest.steps)
    assert counts == (32_000, 8_000, 640, 198, 50)


def test_manifest_at_4_khz_has_its_own_counts():
    point = OperatingPoint(on=0.5, off=0.5, minimum_duration_s=0, merge_gap_s=0, refractory_s=0, split_depth=0)
    manifest = Manifest(
        name="stethoscope",
        version="1",
        created="2026-01-01T00:00:00Z",
        front_end={"sample_rate_hz": 4000, "frame_samples": 100, "hop_samples": 40, "high_hz": 2000},
        embedding_size=8,
        labels=(Label(name="crackle", operating_point=point),),
        precision="int8",
        golden_tolerance=0.1,
    )
    assert (manifest.window_samples, manifest.frames, manifest.steps) == (8000, 198, 50)


def test_check_golden_passes_on_its_own_runtime(tiny_bundle, tiny_backend):
    check_golden(tiny_bundle, tiny_backend)


@pytest.mark.parametrize("name", ["log_mel", "embedding", "scores"])
@pytest.mark.parametrize("value", [0.25, np.nan])
def test_check_golden_with_other_outputs_tells_the_error(tiny_bundle_copy, tiny_bundle, name, value):
    arrays = tiny_bundle.golden()
    arrays[name][0].flat[0] += value * max(1.0, np.abs(arrays[name]).max())
    bundle = _with_golden(tiny_bundle_copy, tiny_bundle.manifest, arrays)
    with pytest.raises(BundleError, match=rf"{name} on onnxruntime differs .* up to (0\.2|nan).*tolerance 0\.001"):
        check_golden(bundle, open_backend(bundle))


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("scores"),
        lambda a: a.update(scores=a["scores"][:, :, :1]),
        lambda a: a.update(waveform=a["waveform"].astype(np.float64)),
        lambda a: a.update({name: array[:0] for name, array in a.items()}),
        lambda a: a.update(embedding=np.array([None])),
    ],
)
def test_check_golden_with_unusable_arrays_names_the_file(tiny_bundle_copy, tiny_bundle, tiny_backend: Backend, change):
    arrays = tiny_bundle.golden()
    change(arrays)
    with pytest.raises(BundleError, match=r"golden\.npz"):
        check_golden(_with_golden(tiny_bundle_copy, tiny_bundle.manifest, arrays), tiny_backend)


class _Touching:
    """Makes a file when it is unpickled: an array file can bring any program along."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


def test_golden_arrays_bring_no_program_along(tiny_bundle_copy, tiny_bundle, tmp_path):
    arrays = tiny_bundle.golden() | {"scores": np.array([_Touching(tmp_path / "touched")])}
    with pytest.raises(BundleError, match=r"golden\.npz cannot be read"):
        _with_golden(tiny_bundle_copy, tiny_bundle.manifest, arrays).golden()
    assert not (tmp_path / "touched").exists()


def _with_golden(folder: Path, manifest: Manifest, arrays: dict[str, np.ndarray]) -> Bundle:
    np.savez(folder / "golden.npz", **arrays)
    write_manifest(folder, manifest)
    return load_bundle(folder, allow_unsigned=True)
