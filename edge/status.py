"""How the device is: the one place where the status payload is made.

Does: asks every part for its trouble, in the order in which the parts were registered, and makes one state and one line
of the answers. Does not: publish it (`edge.delivery` does), or know what the parts are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from edge.payloads import Origin, status_payload


class Status:
    """Register the parts, then ask for `payload` from any thread."""

    def __init__(
        self, origin: Origin, outbox_depth: Callable[[], int], outbox_dropped: Callable[[], int] = lambda: 0
    ) -> None:
        """Online, with nothing heard yet.

        outbox_depth: messages that wait. outbox_dropped: messages given up since the start.
        """
        self._origin = origin
        self._outbox_depth = outbox_depth
        self._outbox_dropped = outbox_dropped
        self._parts: list[tuple[str, Callable[[], str]]] = []
        self._details: list[tuple[str, Callable[[], Any]]] = []
        self._last_audio_at: Callable[[], datetime | None] = lambda: None
        self._last_inference_at: Callable[[], datetime | None] = lambda: None

    def add_part(self, name: str, reason: Callable[[], str]) -> None:
        """Let a part say why it is not well; an empty answer says that it is.

        name: goes before its reason, as ``outbox: disk full``; empty: the reason stands by itself.
        """
        self._parts.append((name, reason))

    def add_detail(self, name: str, detail: Callable[[], Any]) -> None:
        """Let a part add a field of its own to the payload: anything that JSON holds."""
        self._details.append((name, detail))

    def set_times(
        self, *, last_audio_at: Callable[[], datetime | None], last_inference_at: Callable[[], datetime | None]
    ) -> None:
        """Who knows when sound came in and when a window was last analysed."""
        self._last_audio_at = last_audio_at
        self._last_inference_at = last_inference_at

    @property
    def reason(self) -> str:
        """Every part's trouble in one line; empty while all is well."""
        told = [(name, reason()) for name, reason in self._parts]
        return "; ".join(f"{name}: {text}" if name else text for name, text in told if text)

    def payload(self) -> dict[str, Any]:
        """The status of this moment."""
        reason = self.reason
        payload = status_payload(
            self._origin,
            state="degraded" if reason else "online",
            reason=reason,
            last_audio_at=self._last_audio_at(),
            last_inference_at=self._last_inference_at(),
            outbox_depth=self._outbox_depth(),
            outbox_dropped=self._outbox_dropped(),
        )
        return payload | {name: detail() for name, detail in self._details}
