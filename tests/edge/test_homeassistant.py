"""Home Assistant: the announcement is of its published form, and the counts are those of a day and an hour."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import jinja2
import pytest

from edge import homeassistant
from edge.bundle import load_bundle
from edge.clock import rfc3339
from edge.dialogue import Heard
from edge.events import Event
from edge.homeassistant import HomeAssistant, discovery, object_id
from edge.listener import Listener
from edge.manifest import Manifest
from edge.payloads import Origin
from edge.tally import Tally

BASE = "acula/ward-3/bed.12"
ORIGIN = Origin("this-boot", "0.2.0", "tiny-1.2.3", "")
ZONE = timezone(timedelta(hours=2))
NOON = datetime(2026, 11, 29, 12, 0, tzinfo=ZONE)

# What https://www.home-assistant.io/integrations/mqtt/ (device discovery payload) and .../integrations/sensor.mqtt/
# say that these parts may and must hold, each key in full and as it may be abbreviated.
ABBREVIATED = {
    "device": "dev",
    "origin": "o",
    "components": "cmps",
    "platform": "p",
    "identifiers": "ids",
    "connections": "cns",
    "manufacturer": "mf",
    "model": "mdl",
    "sw_version": "sw",
    "suggested_area": "sa",
    "configuration_url": "cu",
    "support_url": "url",
    "state_topic": "stat_t",
    "availability": "avty",
    "availability_mode": "avty_mode",
    "availability_topic": "avty_t",
    "availability_template": "avty_tpl",
    "encoding": "e",
    "unique_id": "uniq_id",
    "value_template": "val_tpl",
    "unit_of_measurement": "unit_of_meas",
    "device_class": "dev_cla",
    "state_class": "stat_cla",
    "expire_after": "exp_aft",
    "entity_category": "ent_cat",
    "options": "ops",
    "json_attributes_topic": "json_attr_t",
    "topic": "t",
    "payload_available": "pl_avail",
    "payload_not_available": "pl_not_avail",
}
IN_FULL = {short: name for name, short in ABBREVIATED.items()}
TOP = {"device", "origin", "components", "state_topic", "availability", "availability_mode", "qos", "encoding"}
DEVICE = {"identifiers", "connections", "name", "manufacturer", "model", "sw_version", "suggested_area"}
SENSOR = {"platform", "unique_id", "name", "state_topic", "value_template", "unit_of_measurement", "device_class"}
SENSOR |= {"state_class", "expire_after", "entity_category", "options", "json_attributes_topic", "availability", "qos"}
AVAILABILITY = {"topic", "value_template", "payload_available", "payload_not_available"}


def in_full(value: Any) -> Any:
    if isinstance(value, dict):
        return {IN_FULL.get(key, key): in_full(inner) for key, inner in value.items()}
    return [in_full(inner) for inner in value] if isinstance(value, list) else value


def check(payload: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Fail where Home Assistant would not take a device discovery payload; gives its components in full."""
    whole = in_full(payload)
    assert {"device", "origin", "components"} <= whole.keys() <= TOP
    assert whole["device"].keys() <= DEVICE
    assert whole["device"].get("identifiers") or whole["device"].get("connections")
    assert isinstance(whole["origin"]["name"], str)
    assert whole["origin"].keys() <= {"name", "sw_version", "support_url"}
    assert whole.get("qos", 0) in (0, 1, 2)
    components = cast(dict[str, dict[str, Any]], whole["components"])
    identities = [component["unique_id"] for component in components.values()]
    assert len(set(identities)) == len(identities)
    for component in components.values():
        assert component["platform"] == "sensor"
        assert component.keys() <= SENSOR
        assert not set("#+") & set(component["state_topic"])
        assert component.get("state_class", "measurement") in ("measurement", "total", "total_increasing")
        assert component.get("entity_category", "diagnostic") in ("config", "diagnostic")
        assert component.get("expire_after", 1) > 0
        # An enumeration and a time have neither a unit nor a class of states.
        if component.get("device_class") in ("enum", "timestamp"):
            assert not component.keys() & {"unit_of_measurement", "state_class"}
        assert ("options" in component) == (component.get("device_class") == "enum")
        for available in component.get("availability", []):
            assert {"topic"} <= available.keys() <= AVAILABILITY
    return components


@pytest.fixture
def manifest(tiny_bundle_path: Path) -> Manifest:
    return load_bundle(tiny_bundle_path, allow_unsigned=True).manifest


def test_announcement_is_of_the_published_form_and_has_every_sensor(manifest: Manifest) -> None:
    components = check(discovery(BASE, ORIGIN, manifest, respiration=True))
    assert set(components) == {"coughs_today", "coughs_last_hour", "last_cough", "breathing_rate", "level", "status"}
    for name, component in components.items():
        assert ("expire_after" in component) == ("availability" in component) == (name != "status")
        assert component.get("expire_after", 180) > 2 * 60  # a message that comes a little late makes nothing unknown
        assert component["state_topic"].startswith(f"{BASE}/")
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", component["unique_id"])


def test_templates_give_what_home_assistant_is_to_show(manifest: Manifest) -> None:
    components = check(discovery(BASE, ORIGIN, manifest, respiration=True))

    def shown(template: str, **message: Any) -> str:
        return jinja2.Template(template).render(value_json=message)

    level = components["level"]["value_template"]
    assert shown(level, historical=False, level_dbfs=-51.2) == "-51.2"
    assert shown(level, historical=True, level_dbfs=-51.2) == ""  # which Home Assistant passes over
    [available] = components["coughs_today"]["availability"]
    states = {state: shown(available["value_template"], state=state) for state in ("online", "degraded", "offline")}
    assert states == {"online": "online", "degraded": "online", "offline": "offline"}


@pytest.mark.parametrize(
    ("modality", "labels", "respiration", "sensors"),
    [
        ("airborne", ["cough", "breath"], None, {"coughs_today", "coughs_last_hour", "last_cough"}),
        ("airborne", ["breath"], True, {"breathing_rate"}),
        ("airborne", ["murmur"], True, set()),
        ("contact", ["murmur"], None, {"breathing_rate"}),
        ("contact", ["murmur"], False, set()),
    ],
)
def test_sensors_are_those_of_which_the_bundle_can_tell(
    manifest: Manifest, modality: str, labels: list[str], respiration: bool | None, sensors: set[str]
) -> None:
    named = tuple(manifest.labels[0].model_copy(update={"name": label}) for label in labels)
    changed = manifest.model_copy(update={"modality": modality, "labels": named})
    assert set(check(discovery(BASE, ORIGIN, changed, respiration=respiration))) == {*sensors, "level", "status"}


@pytest.fixture
def device(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> HomeAssistant:
    monkeypatch.setattr(homeassistant, "local_now", lambda: NOON)
    monkeypatch.setattr(homeassistant, "_TAKE_OVER_S", 3600.0)  # a busy machine is no reason to go on without it
    announcement = discovery(BASE, ORIGIN, manifest, respiration=True)
    return HomeAssistant("homeassistant", BASE, ORIGIN, announcement)


def test_no_two_devices_have_the_same_identity() -> None:
    bases = [BASE, "acula/ward-3/bed_12", "acula/ward_3/bed", "acula/ward/3_bed", "acula/ward-3/bed-12"]
    identities = [object_id(base) for base in bases]
    assert len(set(identities)) == len(bases)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", identity) for identity in identities)
    assert identities[-1] == "acula_ward-3_bed-12"


def state(**changes: Any) -> bytes:
    left = {"boot_id": "earlier", "date": "2026-11-29", "coughs_today": 7, "last_cough": "2026-11-29T09:00:00.000Z"}
    return json.dumps({**left, **changes}).encode()


def cough(device: HomeAssistant, at: datetime) -> None:
    device.on_event(cast(Listener, None), Event("cough", 0, 1, 0.9), {"onset": rfc3339(at)})


def told(device: HomeAssistant) -> dict[str, Any]:
    [said] = [said for said in device.say() if said.topic == f"{BASE}/state"]
    assert said.retain
    return cast(dict[str, Any], json.loads(said.payload))


def test_device_is_announced_at_each_connection_and_at_each_birth(device: HomeAssistant) -> None:
    config = f"homeassistant/device/{object_id(BASE)}/config"
    device.greet()
    device.hear(Heard(f"{BASE}/state", state(), True))
    assert [(said.topic, said.retain) for said in device.say()] == [(config, True), (f"{BASE}/state", True)]
    assert device.say() == []
    device.hear(Heard("homeassistant/status", b"offline", False))
    assert device.say() == []
    device.hear(Heard("homeassistant/status", b"online", False))
    assert [said.topic for said in device.say()] == [config, f"{BASE}/state"]
    device.greet()
    assert [said.topic for said in device.say()] == [config, f"{BASE}/state"]


def test_state_waits_for_what_the_broker_has_kept_and_goes_on_from_it(device: HomeAssistant) -> None:
    device.greet()
    cough(device, NOON)
    assert f"{BASE}/state" not in [said.topic for said in device.say()]
    device.hear(Heard(f"{BASE}/state", state(), True))
    assert told(device) == {
        "boot_id": "this-boot",
        "date": "2026-11-29",
        "coughs_today": 8,
        "coughs_last_hour": 1,
        "last_cough": "2026-11-29T10:00:00.000Z",
    }
    device.hear(Heard(f"{BASE}/state", state(), True))  # only the first counts
    cough(device, NOON)
    assert told(device)["coughs_today"] == 9


@pytest.mark.parametrize(
    ("left", "today", "last"),
    [
        (state(date="2026-11-28"), 0, "2026-11-29T09:00:00.000Z"),
        (state(boot_id="this-boot"), 0, None),
        (state(coughs_today=-1), 0, None),
        (state(last_cough=None), 7, None),
        (b"not json", 0, None),
        (b"", 0, None),
    ],
)
def test_only_a_state_of_today_and_of_another_run_is_taken_over(
    device: HomeAssistant, left: bytes, today: int, last: str | None
) -> None:
    device.greet()
    device.hear(Heard(f"{BASE}/state", left, True))
    said = told(device)
    assert (said["coughs_today"], said["last_cough"]) == (today, last)


def test_state_is_told_again_and_again_so_that_it_does_not_expire(
    device: HomeAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.greet()
    device.hear(Heard(f"{BASE}/state", state(), True))
    first = told(device)
    assert device.say() == []
    monkeypatch.setattr(homeassistant, "_EVERY_S", 0.0)
    assert told(device) == first


@pytest.mark.parametrize("waits_s", [3600.0, 0.0])
def test_state_of_a_later_day_stays_at_the_broker_until_the_clock_is_set_or_will_not_be(
    device: HomeAssistant, monkeypatch: pytest.MonkeyPatch, waits_s: float
) -> None:
    """A board without a battery: what it said in 1970 would replace the only record of today's count."""
    start = datetime(1970, 1, 1, tzinfo=ZONE)
    monkeypatch.setattr(homeassistant, "is_synchronised", lambda: False)
    monkeypatch.setattr(homeassistant, "local_now", lambda: start)
    monkeypatch.setattr(homeassistant, "_UNSET_S", waits_s)
    device.greet()
    device.hear(Heard(f"{BASE}/state", state(), True))
    cough(device, start)
    said = [json.loads(said.payload) for said in device.say() if said.topic == f"{BASE}/state"]
    assert [(one["date"], one["coughs_today"]) for one in said] == ([] if waits_s else [("1970-01-01", 1)])
    monkeypatch.setattr(homeassistant, "is_synchronised", lambda: True)
    monkeypatch.setattr(homeassistant, "local_now", lambda: NOON)
    cough(device, NOON)
    at_noon = told(device)
    assert (at_noon["date"], at_noon["coughs_today"]) == ("2026-11-29", 8)


def test_clock_that_is_set_is_believed_whatever_day_the_broker_keeps(
    device: HomeAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homeassistant, "is_synchronised", lambda: True)
    device.greet()
    device.hear(Heard(f"{BASE}/state", state(date="2027-01-01"), True))
    assert told(device)["date"] == "2026-11-29"


def test_other_sounds_are_not_counted(device: HomeAssistant) -> None:
    device.greet()
    device.hear(Heard(f"{BASE}/state", state(coughs_today=0), True))
    device.on_event(cast(Listener, None), Event("breath", 0, 1, 0.9), {"onset": rfc3339(NOON)})
    assert told(device)["coughs_today"] == 0


def test_day_ends_at_local_midnight_and_the_hour_goes_on() -> None:
    tally = Tally()
    before = datetime(2026, 11, 29, 23, 50, tzinfo=ZONE)
    after = datetime(2026, 11, 30, 0, 5, tzinfo=ZONE)
    tally.add(before.astimezone(timezone.utc), before)
    assert (tally.count(before).today, tally.count(before).last_hour) == (1, 1)
    assert tally.count(after).date == date(2026, 11, 30)
    assert (tally.count(after).today, tally.count(after).last_hour) == (0, 1)
    # Found after midnight, but heard before: it is not of the new day.
    tally.add(datetime(2026, 11, 29, 23, 59, tzinfo=ZONE), after)
    tally.add(after, after)
    assert (tally.count(after).today, tally.count(after).last_hour) == (1, 3)
    later = after + timedelta(minutes=61)
    assert (tally.count(later).today, tally.count(later).last_hour, tally.count(later).last) == (1, 0, after)
    tally.add(before, later)  # of another source, which told it late
    assert tally.count(later).last == after


def test_count_of_an_earlier_run_waits_until_the_clock_is_set() -> None:
    """A board without a battery begins in 1970, while the broker keeps what was counted today."""
    tally = Tally()
    unset, noon = datetime(1970, 1, 1, tzinfo=ZONE), datetime(2026, 11, 30, 12, tzinfo=ZONE)
    tally.add(unset, unset)
    tally.take_over(date(2026, 11, 30), 17, noon, unset)
    assert tally.count(unset).today == 1
    tally.add(noon, noon)
    assert (tally.count(noon).date, tally.count(noon).today) == (date(2026, 11, 30), 18)
    assert tally.count(noon + timedelta(days=1)).today == 0
