"""Brings an archive to this device: from a file, or over HTTPS from a host that the operator has named.

Does: copies at most so many bytes, checks the certificate, follows redirects to named hosts alone, and sends the
credentials of a file to nobody else. Does not: look into the archive.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import stat
import threading
import time
import urllib.error
import urllib.request
from http.client import responses
from pathlib import Path
from typing import IO, BinaryIO, cast
from urllib.parse import urlsplit

from edge.credentials import warn_if_open
from edge.errors import UpdateError, first_line
from edge.sections import UpdateSettings

DEADLINE_S = 1800.0
"""Longest that one archive may take to come, so that a host that sends a byte at a time holds nothing up for ever."""

RESERVE_BYTES = 16_000_000
"""Stays free on the disk for events, whatever arrives."""

_CHUNK_BYTES = 65_536
_HTTPS_PORT = 443


def is_url(origin: str) -> bool:
    """Whether an origin is fetched from a host; a path names a file here."""
    return "://" in origin


def shown(origin: str) -> str:
    """An origin for the log: a URL without what may be secret in it, its user and its query."""
    if not is_url(origin):
        return origin
    try:
        parts = urlsplit(origin)
    except ValueError:
        return f"{origin.partition(':')[0]}://…"  # no URL: nobody knows where in it a secret stands
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def take(origin: str, target: BinaryIO, settings: UpdateSettings, stopping: threading.Event) -> str:
    """Copy an archive into `target`; return the SHA-256 of what was copied, in hexadecimal.

    Args:
        origin: path of a file, or URL.
        target: an empty file.
        settings: the limits, the hosts and what they ask for.
        stopping: once set, the copying is given up.

    Raises:
        UpdateError: it is no file or larger than `update.max_mb` or the disk; its host is not named, not reached or not
            trusted.
    """
    if is_url(origin):
        return _fetch(origin, target, settings, stopping)
    try:
        # Not blocking: a pipe without a writer would hold this up for ever.
        with open(origin, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UpdateError(f"{origin}: is no file; name an archive, a bundle as one .tar")
            _check_size(status.st_size, settings, origin)
            return _copy(file, target, settings, stopping, origin)
    except OSError as error:
        raise UpdateError(f"{origin}: cannot be read: {error.strerror}") from error


def _fetch(url: str, target: BinaryIO, settings: UpdateSettings, stopping: threading.Event) -> str:
    where = shown(url)
    _check_url(url, settings)
    request = urllib.request.Request(url, headers={"User-Agent": "acula-edge"})  # noqa: S310 - the scheme is checked
    if settings.authorization_file:
        # Not redirected: urllib passes every other header on to wherever a redirect leads.
        request.add_unredirected_header("Authorization", _authorization(settings.authorization_file))
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=_context(settings)), _Redirects(settings))
    try:
        with opener.open(request, timeout=settings.timeout_s) as answer:
            length = answer.headers.get("Content-Length", "")
            if length.isdecimal():
                _check_size(int(length), settings, where)
            digest = _copy(answer, target, settings, stopping, where)
    except urllib.error.HTTPError as error:
        raise UpdateError(f"{where}: the host answers {error.code} {responses.get(error.code, '')}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, UpdateError):
            raise
        raise UpdateError(f"{where}: cannot be fetched: {_words(error)}") from error
    if length.isdecimal() and target.tell() != int(length):
        raise UpdateError(f"{where}: ended after {target.tell()} of {length} bytes; give the command again")
    return digest


def _copy(
    source: IO[bytes] | http.client.HTTPResponse,
    target: BinaryIO,
    settings: UpdateSettings,
    stopping: threading.Event,
    where: str,
) -> str:
    deadline = time.monotonic() + DEADLINE_S
    digest = hashlib.sha256()
    # One read of the socket at a time, so that a slow host does not keep the deadline from being looked at.
    while chunk := cast("bytes", source.read1(_CHUNK_BYTES)):  # type: ignore[union-attr]
        digest.update(chunk)
        target.write(chunk)
        _check_size(target.tell(), settings, where)
        disk = os.fstatvfs(target.fileno())
        if disk.f_bavail * disk.f_frsize < RESERVE_BYTES + _CHUNK_BYTES:
            raise UpdateError(f"{where}: does not fit on the disk, of which {RESERVE_BYTES / 1e6:.0f} MB stay free")
        if stopping.is_set():
            raise UpdateError(f"{where}: given up, because the daemon stops")
        if time.monotonic() > deadline:
            raise UpdateError(f"{where}: given up after {DEADLINE_S / 60:.0f} minutes; the host is too slow")
    return digest.hexdigest()


def _check_size(size: int, settings: UpdateSettings, where: str) -> None:
    if size > settings.max_mb * 1e6:
        raise UpdateError(f"{where}: is larger than update.max_mb = {settings.max_mb:g}")


def _check_url(url: str, settings: UpdateSettings) -> None:
    where = shown(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _HTTPS_PORT
    except ValueError:
        # Without its cause, which quotes user and password.
        raise UpdateError(f"{where}: is no URL; write it as https://host/path") from None
    if parts.scheme != "https":
        raise UpdateError(f"{where}: is not fetched over {parts.scheme}, only over https")
    if parts.username is not None or parts.password is not None:
        raise UpdateError(f"{where}: carries a user or password; name a file as update.authorization_file instead")
    named = {name.lower() if ":" in name else f"{name.lower()}:{_HTTPS_PORT}" for name in settings.hosts}
    if f"{host}:{port}" not in named:
        raise UpdateError(f"{where}: {host} on port {port} is not among update.hosts")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only where the first request might have gone."""

    def __init__(self, settings: UpdateSettings) -> None:
        self._settings = settings

    def redirect_request(
        self,
        request: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        message: str,
        headers: http.client.HTTPMessage,
        url: str,
    ) -> urllib.request.Request | None:
        try:
            _check_url(url, self._settings)
        except UpdateError as error:
            raise UpdateError(f"{shown(request.full_url)}: redirects to {error}") from error
        return super().redirect_request(request, fp, code, message, headers, url)


def _context(settings: UpdateSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise UpdateError(f"update.ca: {settings.ca}: cannot be read as a PEM certificate: {_words(error)}") from error
    # Whatever the system's OpenSSL would still allow.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _authorization(path: str) -> str:
    try:
        with Path(path).open(encoding="ascii") as file:
            line = file.readline().strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "its first line is not ASCII"
        raise UpdateError(f"update.authorization_file: {path}: cannot be read: {reason}") from error
    if not line:
        raise UpdateError(f"update.authorization_file: {path}: its first line is empty")
    warn_if_open("update.authorization_file", path)
    return line


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"the host's certificate is not trusted: {reason.verify_message}"
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return str(getattr(reason, "strerror", None) or first_line(reason if isinstance(reason, Exception) else error))
