"""Keys and signatures of bundles: `python -m quantize.sign keygen|sign|verify`.

A detached Ed25519 signature over the manifest, which holds the SHA-256 of every other file; `edge` verifies it with the
public key. Ed25519 uses no randomness, so signing twice gives the same bytes. The private key is PEM (PKCS 8) without a
passphrase, readable by its owner alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from edge.bundle import MANIFEST, SIGNATURE, Bundle, check_signature, load_bundle
from edge.errors import UserError, exit_status
from edge.settings import Parser


class KeyFileError(UserError, ValueError):
    """A key that is missing, not Ed25519, or that would be overwritten."""


def write_keys(private_path: Path) -> Path:
    """Write a new private key, and beside it the public one with the suffix .pub; return the latter's path.

    Raises:
        KeyFileError: one of the two exists, which is never overwritten, or cannot be written.
    """
    if not private_path.name or private_path.name.endswith(".pub"):
        raise KeyFileError(f"{private_path}: name the private key otherwise; .pub is the public one's suffix")
    public_path = private_path.with_suffix(".pub")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for path in (private_path, public_path):
        if path.exists():
            raise KeyFileError(f"{path}: exists, and a key is never overwritten; name another file")
    _write_new(private_path, private, 0o600)
    _write_new(public_path, public, 0o644)
    return public_path


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that did not exist, its mode given at creation: there is no moment in which others could read it."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from error


def read_key(path: Path) -> Ed25519PrivateKey:
    """The private key of a PEM file.

    Raises:
        KeyFileError: the file cannot be read, or holds anything but an Ed25519 private key without a passphrase.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}; keygen makes a key") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: not a PEM private key without a passphrase; keygen makes one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: not an Ed25519 key; keygen makes one")
    return key


def sign_bundle(folder: Path, key: Ed25519PrivateKey) -> None:
    """Write the signature of a bundle whose hashes hold, in place of an older one.

    Raises:
        BundleError: the folder is no bundle, or a file was altered.
        KeyFileError: the signature cannot be written.
    """
    load_bundle(folder, allow_unsigned=True)
    signature, aside = folder / SIGNATURE, folder / f".{SIGNATURE}"
    try:
        aside.write_bytes(key.sign((folder / MANIFEST).read_bytes()))
        aside.replace(signature)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise KeyFileError(f"{signature}: cannot be written: {error.strerror}") from error


def verify_bundle(folder: Path, public_path: Path) -> Bundle:
    """Load a bundle that is signed by the private key of this public one, wherever it lies.

    Raises:
        BundleError: as `edge.bundle.load_bundle`, for a bundle inside the installed package, too.
    """
    bundle = load_bundle(folder, allow_unsigned=True)
    check_signature(folder, (folder / MANIFEST).read_bytes(), [public_path])
    return bundle


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """The public key that belongs to a private one, as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return exit_status(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    parser = Parser(prog="python -m quantize.sign", description="Make keys, sign bundles, verify signatures.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    keygen = commands.add_parser("keygen", help="write a new private key, and its public key beside it")
    keygen.add_argument("private", type=Path, metavar="KEY.pem", help="file to write; the public key gets .pub")
    sign = commands.add_parser("sign", help="sign a bundle")
    sign.add_argument("folder", type=Path, metavar="FOLDER")
    sign.add_argument("--key", type=Path, required=True, metavar="KEY.pem", help="private key, as keygen writes it")
    verify = commands.add_parser("verify", help="check a bundle's signature and hashes, as a device does")
    verify.add_argument("folder", type=Path, metavar="FOLDER")
    verify.add_argument("--key", type=Path, required=True, metavar="KEY.pub", help="public key")
    given = parser.parse_args(arguments)
    if given.command == "keygen":
        public = write_keys(given.private)
        print(f"private key: {given.private} (keep it off devices)\npublic key: {public}")
        print(f"next: name {public.name} in bundle.trusted_keys of every device")
    elif given.command == "sign":
        sign_bundle(given.folder, read_key(given.key))
        print(f"signed: {given.folder / SIGNATURE}")
    else:
        manifest = verify_bundle(given.folder, given.key).manifest
        print(f"{given.folder}: {manifest.name} {manifest.version}: hashes hold, signed by {given.key}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
