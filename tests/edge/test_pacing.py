from __future__ import annotations

from edge.pacing import Pacing


def test_hop_widens_at_once_and_narrows_after_calm() -> None:
    pacing = Pacing(limit=4)
    assert [pacing.update(lag_s, now_s) for now_s, lag_s in enumerate([0.1, 2.5, 3.0, 9.0])] == [1, 2, 4, 4]
    assert pacing.update(0.5, 4.0) == 4
    assert pacing.update(0.5, 32.9) == 4
    assert pacing.update(0.5, 33.0) == 2  # 30 s after the last time that much waited
    assert pacing.update(0.5, 62.9) == 2
    assert pacing.update(0.5, 63.0) == 1


def test_narrowing_starts_over_when_sound_waits_again() -> None:
    pacing = Pacing(limit=4)
    pacing.update(2.5, 0.0)
    pacing.update(0.1, 20.0)
    pacing.update(1.5, 29.0)  # behind, but not so far that it must widen
    assert pacing.update(0.1, 31.0) == 2
    assert pacing.update(0.1, 59.0) == 1


def test_source_that_waits_keeps_its_hop() -> None:
    assert Pacing(limit=1).update(100.0, 0.0) == 1
