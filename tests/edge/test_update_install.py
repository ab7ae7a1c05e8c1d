"""From an archive to the switch: what passes runs next, and what does not leaves everything as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import Bundle, load_bundle, write_manifest
from edge.config import Settings
from edge.errors import UpdateError
from edge.update.archive import pack
from edge.update.install import Installer
from edge.update.record import RecordFile
from tests.updates import archive_of, next_version, refuse, settings, tree

ROOT = Path(__file__).parents[2]


def test_good_bundle_is_what_the_next_start_runs(tiny_bundle_path: Path, tmp_path: Path) -> None:
    device = settings(tiny_bundle_path, tmp_path / "state")
    installed = Installer(device).install(str(archive_of(tiny_bundle_path, tmp_path)))
    assert (installed.bundle, installed.switched) == ("tiny-2.0.0", True)
    record = RecordFile(device.update_folder, device.bundle.path).read()
    assert (record.on_probation, record.starts, record.previous) == (True, 0, "")
    folder = device.update_folder / "store" / record.current
    assert load_bundle(folder, allow_unsigned=True).manifest.version == "2.0.0"
    assert {path.stat().st_mode & 0o077 for path in [device.update_folder, folder, *folder.iterdir()]} == {0}


def test_second_update_waits_until_the_first_is_confirmed(tiny_bundle_path: Path, tmp_path: Path) -> None:
    device = settings(tiny_bundle_path, tmp_path / "state")
    Installer(device).install(str(archive_of(tiny_bundle_path, tmp_path)))
    with pytest.raises(UpdateError, match="is on probation still"):
        Installer(device).install(str(archive_of(tiny_bundle_path, tmp_path, "3.0.0")))
    record = RecordFile(device.update_folder, device.bundle.path).read()
    assert (record.name, record.on_probation) == ("tiny-2.0.0", True)


def test_bundle_that_runs_already_changes_nothing(tiny_bundle_path: Path, tmp_path: Path) -> None:
    device = settings(tiny_bundle_path, tmp_path / "state")
    installed = Installer(device).install(str(pack(tiny_bundle_path, tmp_path / "same.tar")))
    assert (installed.bundle, installed.switched) == ("tiny-1.2.3", False)
    assert tree(device.update_folder) == set()


def damage(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"\0")


def without_numbers(folder: Path) -> None:
    """Outputs that agree with the golden ones, which are not numbers."""
    import onnx

    model = onnx.load(folder / "encoder.onnx")
    for weight in model.graph.initializer:
        if weight.name == "bias":
            weight.CopyFrom(onnx.numpy_helper.from_array(np.full(2, np.nan, np.float32), "bias"))
    onnx.save(model, folder / "encoder.onnx")
    rewrite(folder)


def other_golden(folder: Path) -> None:
    with np.load(folder / "golden.npz") as stored:
        arrays = dict(stored)
    np.savez(folder / "golden.npz", **(arrays | {"scores": 1 - arrays["scores"]}))
    rewrite(folder)


def rewrite(folder: Path) -> None:
    write_manifest(folder, load_manifest(folder))


def load_manifest(folder: Path) -> Any:
    from edge.manifest import Manifest

    return Manifest.model_validate(json.loads((folder / "manifest.json").read_text()))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (damage("encoder.onnx"), "its bundle: encoder.onnx is altered"),
        (lambda folder: (folder / "golden.npz").unlink(), "its bundle: golden.npz is missing"),
        (lambda folder: (folder / "more.txt").touch(), "more.txt is not in manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "has schema_version None"),
        (other_golden, "trial: its bundle: scores on onnxruntime differs from golden.npz"),
        (without_numbers, "trial: its bundle: scores on onnxruntime differs from golden.npz by up to nan"),
    ],
)
def test_bundle_that_does_not_hold_is_refused(
    tiny_bundle_path: Path, tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    bundle = next_version(tiny_bundle_path, tmp_path)
    change(bundle)
    refuse(settings(tiny_bundle_path, tmp_path / "state"), pack(bundle, tmp_path / "room.tar"), told)


def test_archive_that_is_none_or_not_the_expected_one_is_refused(tiny_bundle_path: Path, tmp_path: Path) -> None:
    device = settings(tiny_bundle_path, tmp_path / "state", max_mb=1.0)
    refuse(device, tmp_path / "none.tar", "cannot be read: No such file")
    noise = tmp_path / "noise.tar"
    noise.write_bytes(os.urandom(4096))
    refuse(device, noise, "no .tar file")
    refuse(device, archive_of(tiny_bundle_path, tmp_path), "its SHA-256 is .*, expected 000000000000…", "0" * 64)


def test_bundle_must_be_signed_by_a_trusted_key_unless_told_otherwise(tiny_bundle_path: Path, tmp_path: Path) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "fleet.pub").write_bytes(public)
    bundle = next_version(tiny_bundle_path, tmp_path)
    manifest = (bundle / "manifest.json").read_bytes()
    trusting = {"trusted_keys": (str(tmp_path / "fleet.pub"),), "allow_unsigned": False}
    device = settings(tiny_bundle_path, tmp_path / "state")
    device = device.model_copy(update={"bundle": device.bundle.model_copy(update=trusting)})
    refuse(device, pack(bundle, tmp_path / "unsigned.tar"), "its bundle: signature is missing")
    (bundle / "signature").write_bytes(other.sign(manifest))
    refuse(device, pack(bundle, tmp_path / "foreign.tar"), "is by none of the 1 trusted keys")
    (bundle / "signature").write_bytes(key.sign(manifest))
    assert Installer(device).install(str(pack(bundle, tmp_path / "signed.tar"))).switched


def test_bundle_without_a_label_that_the_settings_name_is_refused(tiny_bundle_path: Path, tmp_path: Path) -> None:
    device = settings(tiny_bundle_path, tmp_path / "state").model_copy(update={"thresholds": {"sneeze": 0.5}})
    refuse(device, archive_of(tiny_bundle_path, tmp_path), "trial: thresholds.sneeze: bundle tiny has no such label")


def test_disk_without_room_is_told_before_anything_is_written(
    tiny_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.update.fetch.RESERVE_BYTES", 2**60)
    device = settings(tiny_bundle_path, tmp_path / "state")
    refuse(device, archive_of(tiny_bundle_path, tmp_path), "the archive needs .* MB free, there are")


def test_two_updates_at_a_time_are_one(tiny_bundle_path: Path, tmp_path: Path) -> None:
    device = settings(tiny_bundle_path, tmp_path / "state")
    archive = archive_of(tiny_bundle_path, tmp_path)
    with RecordFile(device.update_folder, device.bundle.path).installing():
        refuse(device, archive, "another update is being taken in")
    assert Installer(device).install(str(archive)).switched


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_installs_belongs_to_the_user_of_the_service(tiny_bundle_path: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, 65534)
    device = settings(tiny_bundle_path, state)
    Installer(device).install(str(archive_of(tiny_bundle_path, tmp_path)))
    kept = [path for path in device.update_folder.rglob("*") if path.name != "incoming"]
    assert {path.stat().st_uid for path in [device.update_folder, *kept]} == {65534}


# Counts what changes a folder of updates and kills itself before the change number N, as a loss of power would.
KILLED = """
import os, signal, sys
from pathlib import Path
from edge.config import Settings
from edge.update.install import Installer
from edge.pipeline import open_model  # loaded before anything is counted
settings = Settings.model_validate_json(sys.argv[1])
folder, seen, last = str(settings.update_folder), 0, 0
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}
def count(event, arguments):
    global seen
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if (event in CHANGES or writes) and folder in str(arguments[0]):
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
for last in map(int, sys.stdin):
    child = os.fork()
    if child == 0:
        Installer(settings).install(sys.argv[2])
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(int(os.WIFSIGNALED(status)), flush=True)
"""


def test_killed_at_any_step_it_leaves_the_old_or_the_new_bundle(tiny_bundle_path: Path, tmp_path: Path) -> None:
    device = settings(tiny_bundle_path, tmp_path / "state")
    archive = archive_of(tiny_bundle_path, tmp_path)
    command = [sys.executable, "-c", KILLED, device.model_dump_json(), str(archive)]
    seen: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        step, was_killed = 0, True
        while was_killed:
            step += 1
            shutil.rmtree(device.update_folder, ignore_errors=True)
            process.stdin.write(f"{step}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, "the process that installs has failed"
            was_killed = answer == "1\n"
            bundle = bundle_of_next_start(device)
            seen.append(bundle.manifest.version)
            assert seen == sorted(seen), "from the switch on it is the new one"
            Installer(device).clean()
            left = {name for name in tree(device.update_folder) if bundle.path.name not in name}
            assert left == set()
        process.stdin.close()
    assert step > 12
    assert set(seen) == {"1.2.3", "2.0.0"}


def bundle_of_next_start(device: Settings) -> Bundle:
    """What would run now, whole."""
    record = RecordFile(device.update_folder, device.bundle.path).read()
    folder = device.update_folder / "store" / record.current if record.current else Path(device.bundle.path)
    return load_bundle(folder, allow_unsigned=True)
