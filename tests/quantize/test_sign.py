"""Keys and signatures: what is written, what is never overwritten, and what a device says of a forgery."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from edge.bundle import default_bundle, load_bundle
from edge.errors import UserError
from quantize.sign import main, read_key, write_keys


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the bundle that ships, outside the package, where nothing is trusted by its place."""
    return Path(shutil.copytree(default_bundle(), tmp_path / "bundle"))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    write_keys(tmp_path / "fleet.pem")
    return tmp_path / "fleet.pem"


def test_signed_bundle_is_trusted_by_its_key_and_by_no_other(bundle: Path, key: Path, tmp_path: Path) -> None:
    assert main(["sign", str(bundle), "--key", str(key)]) == 0
    assert load_bundle(bundle, trusted_keys=[key.with_suffix(".pub")]).manifest.name == "room"
    assert main(["verify", str(bundle), "--key", str(key.with_suffix(".pub"))]) == 0
    other = write_keys(tmp_path / "other.pem")
    assert main(["verify", str(bundle), "--key", str(other)]) == 2


def test_signing_twice_gives_the_same_bytes(bundle: Path, key: Path) -> None:
    main(["sign", str(bundle), "--key", str(key)])
    first = (bundle / "signature").read_bytes()
    main(["sign", str(bundle), "--key", str(key)])
    assert (bundle / "signature").read_bytes() == first
    assert len(first) == 64


@pytest.mark.parametrize("name", ["manifest.json", "card.md"])
def test_altered_bundle_is_neither_verified_nor_signed(
    bundle: Path, key: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["sign", str(bundle), "--key", str(key)])
    altered = bundle / name
    altered.write_bytes(altered.read_bytes().replace(b"cough", b"bough", 1))
    assert main(["verify", str(bundle), "--key", str(key.with_suffix(".pub"))]) == 2
    if name == "card.md":
        assert main(["sign", str(bundle), "--key", str(key)]) == 2
        assert "card.md is altered" in capsys.readouterr().err


def test_bundle_that_ships_is_verified_by_its_signature_and_not_by_its_place(key: Path) -> None:
    assert main(["verify", str(default_bundle()), "--key", str(key.with_suffix(".pub"))]) == 2


def test_private_key_is_readable_by_its_owner_alone(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"PRIVATE" not in key.with_suffix(".pub").read_bytes()


def test_key_is_never_overwritten(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = key.read_bytes()
    assert main(["keygen", str(key)]) == 2
    assert "exists, and a key is never overwritten" in capsys.readouterr().err
    key.unlink()
    assert main(["keygen", str(key)]) == 2
    assert not key.exists()
    key.with_suffix(".pub").unlink()
    assert main(["keygen", str(key)]) == 0
    assert key.read_bytes() != before


def test_key_is_not_written_through_a_link_that_leads_nowhere_yet(tmp_path: Path) -> None:
    (tmp_path / "fleet.pem").symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(UserError, match=r"fleet\.pem: cannot be written: File exists"):
        write_keys(tmp_path / "fleet.pem")
    assert not (tmp_path / "elsewhere.pem").exists()


@pytest.mark.parametrize("name", ["", ".pub", "fleet.pub"])
def test_private_key_has_a_name_that_is_not_the_public_ones(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["keygen", name]) == 2
    assert "name the private key otherwise" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_no_key_is_told_in_one_line(tmp_path: Path, key: Path) -> None:
    (tmp_path / "text.pem").write_text("secret")
    rsa = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "rsa.pem").write_bytes(rsa)
    locked = read_key(key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    (tmp_path / "locked.pem").write_bytes(locked)
    told = {
        "none.pem": "cannot be read: No such file",
        "text.pem": "not a PEM private key",
        "rsa.pem": "not an Ed25519 key",
        "locked.pem": "without a passphrase",
        key.with_suffix(".pub").name: "not a PEM private key",
    }
    for name, expected in told.items():
        with pytest.raises(UserError, match=expected) as caught:
            read_key(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)
