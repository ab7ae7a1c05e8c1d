"""What waits too long in the outbox: dropped by its age, where clocks that were set say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge import clock
from tests.outboxes import age, disk_without_room, fill, ids, open_outbox


@pytest.mark.parametrize(
    ("clock_is_set", "days", "left"), [(True, 31, 0), (True, 29, 3), (True, None, 3), (False, 31, 3)]
)
def test_age_cap_drops_only_what_two_set_clocks_call_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock_is_set: bool, days: float | None, left: int
) -> None:
    # The kernel's answer is the machine's, not the test's: the one thing here that has to be put in its place.
    monkeypatch.setattr(clock, "is_synchronised", lambda: clock_is_set)
    outbox = open_outbox(tmp_path / "outbox.db")
    fill(outbox, 3)
    age(tmp_path / "outbox.db", days)
    outbox.maintain()
    assert outbox.depth == left
    assert len(ids(outbox)) == left
    assert outbox.dropped == 3 - left
    outbox.close()


def test_old_messages_that_a_full_disk_keeps_are_counted_as_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "is_synchronised", lambda: True)
    outbox = open_outbox(tmp_path / "outbox.db")
    fill(outbox, 3)
    age(tmp_path / "outbox.db", 31)
    with disk_without_room(), capture_logs():
        for _ in range(3):
            outbox.maintain()
        assert outbox.depth == len(ids(outbox)) == 3
        assert outbox.dropped == 0
    outbox.maintain()
    assert (outbox.depth, outbox.dropped) == (0, 3)
    outbox.close()


@pytest.mark.parametrize(("was_set", "left"), [(True, 0), (False, 3)])
def test_age_counts_from_the_time_at_which_a_message_was_put_if_a_set_clock_told_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_set: bool, left: int
) -> None:
    monkeypatch.setattr(clock, "is_synchronised", lambda: was_set)
    outbox = open_outbox(tmp_path / "outbox.db", max_age_days=0)
    fill(outbox, 3)
    monkeypatch.setattr(clock, "is_synchronised", lambda: True)
    outbox.maintain()
    assert outbox.depth == left
    outbox.close()
