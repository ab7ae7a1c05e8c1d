from __future__ import annotations

from datetime import datetime, timezone

from edge.payloads import Origin
from edge.status import Status

ORIGIN = Origin(boot_id="boot", version="0.1.0", bundle="room-1.0.0", source="")


def test_status_is_online_until_a_part_gives_a_reason_and_names_them_in_order() -> None:
    reasons = {"outbox": "", "ear": ""}
    status = Status(ORIGIN, lambda: 3)
    status.add_part("outbox", lambda: reasons["outbox"])
    status.add_part("", lambda: reasons["ear"])
    assert (status.payload()["state"], status.payload()["reason"]) == ("online", "")
    reasons["ear"] = "bed-12: unplugged"
    assert (status.payload()["state"], status.payload()["reason"]) == ("degraded", "bed-12: unplugged")
    reasons["outbox"] = "disk full"
    assert status.payload()["reason"] == "outbox: disk full; bed-12: unplugged"


def test_status_tells_the_times_it_is_given_and_null_before() -> None:
    status = Status(ORIGIN, lambda: 3)
    assert (status.payload()["last_audio_at"], status.payload()["outbox_depth"]) == (None, 3)
    heard = datetime(2026, 11, 23, 22, 0, tzinfo=timezone.utc)
    status.set_times(last_audio_at=lambda: heard, last_inference_at=lambda: None)
    assert status.payload()["last_audio_at"] == "2026-11-23T22:00:00.000Z"
    assert status.payload()["last_inference_at"] is None
