"""Commands: what is one, what is refused, and that each is obeyed once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import load_bundle
from edge.command.handler import Commands
from edge.command.schema import MAX_BYTES, CommandError, parse
from edge.command.thresholds import Thresholds
from edge.dialogue import Heard
from edge.manifest import Manifest

TOPIC = "acula/site/device/command"
SHA = "0" * 64


@pytest.fixture
def manifest(tiny_bundle_path: Path) -> Manifest:
    return load_bundle(tiny_bundle_path, allow_unsigned=True).manifest


@dataclass
class Result:
    accepted: bool
    bundle: str
    reason: str = ""


@dataclass
class Device:
    """A device that takes commands, and what they did to it."""

    manifest: Manifest
    folder: Path
    restarted: threading.Event = field(default_factory=threading.Event)
    in_force: list[dict[str, float]] = field(default_factory=list)
    updates: list[tuple[str, str, Callable[[Any], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thresholds = Thresholds({"cough": 0.5}, self.manifest, self.folder / "thresholds.json")
        self.thresholds.listeners.append(lambda thresholds: self.in_force.append(dict(thresholds)))
        self.commands = Commands(
            "acula/site/device", self.thresholds, restart=self.restarted.set, update=self, notify=lambda: None
        )

    def request(self, url: str, sha256: str, done: Callable[[Any], None]) -> None:
        self.updates.append((url, sha256, done))

    def ask(self, command: Any, *, retained: bool = False) -> list[dict[str, Any]]:
        payload = command if isinstance(command, bytes) else json.dumps(command).encode()
        self.commands.hear(Heard(TOPIC, payload, retained))
        return self.answers()

    def answers(self) -> list[dict[str, Any]]:
        said = self.commands.say()
        assert {(message.topic, message.retain) for message in said} <= {(f"{TOPIC}/result", False)}
        return [json.loads(message.payload) for message in said]


@pytest.fixture
def device(manifest: Manifest, tmp_path: Path) -> Device:
    return Device(manifest, tmp_path)


def brief(answers: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(answer["id"], answer["result"]) for answer in answers]


def test_thresholds_are_in_force_at_once_and_gone_after_a_restart(device: Device) -> None:
    assert brief(device.ask({"id": "1", "command": "thresholds", "thresholds": {"breath": 0.9}})) == [("1", "done")]
    assert device.in_force == [{"cough": 0.5, "breath": 0.9}]
    device.ask({"id": "2", "command": "thresholds", "thresholds": {"cough": 0.8}})  # those of the first go
    assert device.in_force[1:] == [{"cough": 0.8}]
    assert Device(device.manifest, device.folder).thresholds.current == {"cough": 0.5}


def test_thresholds_survive_a_restart_if_told_to_and_are_told_to_differ(device: Device, logs: list[Any]) -> None:
    device.ask({"id": "1", "command": "thresholds", "thresholds": {"cough": 0.9}, "keep": True})
    logs.clear()
    again = Device(device.manifest, device.folder)
    assert again.thresholds.current == {"cough": 0.9}
    assert again.thresholds.differences() == {"cough": {"on": 0.9, "bundle": 0.6}}
    assert [entry["event"] for entry in logs] == ["thresholds_differ"]
    again.ask({"id": "2", "command": "thresholds", "thresholds": {}, "keep": True})
    assert not (device.folder / "thresholds.json").exists()
    assert Device(device.manifest, device.folder).thresholds.current == {"cough": 0.5}


def test_thresholds_of_the_bundle_are_no_difference(manifest: Manifest, tmp_path: Path, logs: list[Any]) -> None:
    assert Thresholds({"cough": 0.6}, manifest, None).differences() is None
    assert logs == []


@pytest.mark.parametrize("kept", [b"", b"no json", b'{"cough": 7}', b'["cough"]'])
def test_kept_file_that_is_damaged_is_told_and_has_no_effect(
    manifest: Manifest, tmp_path: Path, kept: bytes, logs: list[Any]
) -> None:
    (tmp_path / "thresholds.json").write_bytes(kept)
    assert Device(manifest, tmp_path).thresholds.current == {"cough": 0.5}
    assert logs[0]["event"] == "thresholds_unreadable"


def test_kept_label_that_a_new_bundle_lacks_is_told_and_passed_over(
    manifest: Manifest, tmp_path: Path, logs: list[Any]
) -> None:
    (tmp_path / "thresholds.json").write_text('{"wheeze": 0.5, "breath": 0.7}')
    assert Device(manifest, tmp_path).thresholds.current == {"cough": 0.5, "breath": 0.7}
    assert logs[0]["event"] == "threshold_without_label"


def test_threshold_of_an_unknown_label_is_refused_and_changes_nothing(device: Device) -> None:
    [answer] = device.ask({"id": "1", "command": "thresholds", "thresholds": {"wheeze": 0.5}, "keep": True})
    assert (answer["result"], device.in_force) == ("refused", [])
    assert "no such label, only cough, breath" in answer["reason"]
    assert not (device.folder / "thresholds.json").exists()


def test_threshold_that_cannot_be_kept_is_refused_and_changes_nothing(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "thresholds.json").mkdir()
    device = Device(manifest, tmp_path)
    [answer] = device.ask({"id": "1", "command": "thresholds", "thresholds": {"cough": 0.7}, "keep": True})
    assert answer["result"] == "refused"
    assert "cannot be written" in answer["reason"]
    assert device.in_force == []
    assert device.thresholds.current == {"cough": 0.5}


def test_restart_is_accepted_before_it_happens(device: Device) -> None:
    assert brief(device.ask({"id": "1", "command": "restart"})) == [("1", "accepted")]
    assert device.restarted.wait(30)


@pytest.mark.parametrize(("accepted", "last"), [(True, "done"), (False, "refused")])
def test_update_is_accepted_and_later_done_or_refused(device: Device, accepted: bool, last: str) -> None:
    command = {"id": "u", "command": "update", "url": "https://host/a.tar", "sha256": SHA}
    assert brief(device.ask(command)) == [("u", "accepted")]
    [(url, sha256, done)] = device.updates
    assert (url, sha256) == ("https://host/a.tar", SHA)
    done(Result(accepted, "room-2", "" if accepted else "its signature is wrong"))
    [answer] = device.answers()
    assert (answer["result"], answer["bundle"]) == (last, "room-2")
    # Asked again, it answers again what came of it, and updates nothing.
    assert brief(device.ask(command)) == [("u", last)]
    assert len(device.updates) == 1


def test_update_is_refused_where_it_is_disabled(manifest: Manifest, tmp_path: Path) -> None:
    device = Device(manifest, tmp_path)
    device.commands._update = None
    [answer] = device.ask({"id": "u", "command": "update", "url": "https://host/a.tar", "sha256": SHA})
    assert (answer["result"], answer["reason"]) == ("refused", "update.enabled is false on this device")


def test_repeated_id_is_answered_and_not_obeyed_again(device: Device) -> None:
    command = {"id": "1", "command": "thresholds", "thresholds": {"cough": 0.7}}
    first = device.ask(command)
    assert device.ask(command) == first
    assert device.ask({"id": "1", "command": "restart"}) == first
    assert len(device.in_force) == 1
    assert not device.restarted.is_set()


def test_retained_command_is_refused_and_may_be_sent_again_without_retain(device: Device) -> None:
    command = {"id": "1", "command": "thresholds", "thresholds": {"cough": 0.7}}
    [answer] = device.ask(command, retained=True)
    assert (answer["id"], answer["result"]) == ("1", "refused")
    assert "retained" in answer["reason"]
    assert device.in_force == []
    assert brief(device.ask(command)) == [("1", "done")]
    assert device.ask(b"", retained=True) == []


@pytest.mark.parametrize(
    ("payload", "reason", "command_id"),
    [
        (b"not json", "Invalid JSON", None),
        (b"[]", "", None),
        (b'{"id": "1"}', "Unable to extract tag", "1"),
        (b'{"id": "1", "command": "reboot"}', "does not match any of the expected tags", "1"),
        (b'{"id": "1", "command": "restart", "now": true}', "now: Extra inputs are not permitted", "1"),
        (b'{"command": "restart"}', "id: Field required", None),
        (b'{"id": "a b", "command": "restart"}', "id: String should match pattern", None),
        (b'{"id": 1, "command": "restart"}', "id: Input should be a valid string", None),
        (b'{"id": "1", "command": "thresholds", "thresholds": {"cough": 2}}', "thresholds.cough: Input should be", "1"),
        (b'{"id": "1", "command": "thresholds", "thresholds": {"cough": "0.5"}}', "valid number", "1"),
        (b'{"id": "1", "command": "thresholds", "thresholds": {"cough": NaN}}', "", "1"),
        (b'{"id": "1", "command": "update", "url": "https://h/a.tar"}', "sha256: Field required", "1"),
        (
            b'{"id": "1", "command": "update", "url": "https://h/a", "sha256": "%b", "allow_downgrade": true}'
            % SHA.encode(),
            "allow_downgrade: Extra inputs are not permitted",
            "1",
        ),
        (b'{"id": "1", "command": "restart"}' + b" " * MAX_BYTES, "too long for a command; at most 4096", None),
        (b"[" * 4000, "", None),
        (b"\xff\xfe", "", None),
    ],
)
def test_payload_that_is_no_command_is_refused_in_a_few_words(
    device: Device, payload: bytes, reason: str, command_id: str | None
) -> None:
    [answer] = device.ask(payload)
    assert (answer["id"], answer["result"]) == (command_id, "refused")
    assert reason in answer["reason"]
    assert 0 < len(answer["reason"]) <= 200
    assert not device.restarted.is_set()


@given(st.binary(max_size=200))
def test_no_payload_does_anything_but_parse_or_be_refused(payload: bytes) -> None:
    try:
        parse(payload)
    except CommandError as error:
        assert str(error)


def test_answers_and_ids_are_bounded(device: Device) -> None:
    for number in range(1_500):
        command = {"id": str(number), "command": "thresholds", "thresholds": {"wheeze": 0.5}}
        device.commands.hear(Heard(TOPIC, json.dumps(command).encode(), False))
    assert len(device.answers()) == 100
    assert len(device.commands._answers) == 1_000
