"""Home Assistant: the device announces itself by MQTT discovery and keeps a few counts for it.

Does: publishes one retained discovery payload for the whole device, again when Home Assistant comes up, and a retained
`state` with the counts of coughs, every minute and at each change. What an earlier run had counted today it takes over
from the state that the broker kept. Does not: anything that needs Home Assistant; without it nobody reads the messages.

Field names as in https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from edge.clock import is_synchronised, parse_rfc3339, rfc3339
from edge.dialogue import Heard, Said
from edge.payloads import Origin, to_bytes
from edge.tally import Tally

if TYPE_CHECKING:
    from edge.events import Event
    from edge.listener import Listener
    from edge.manifest import Manifest

log = structlog.get_logger()

COUGH = "cough"
_EVERY_S = 60.0
_EXPIRE_S = 180
"""Three messages missed: what they said is not known any more."""
_UNSET_S = 600.0
"""How long a clock that is behind the broker's state may be about to be set; after that it is the only one there is."""
_TAKE_OVER_S = 5.0
"""How long the broker is given to send the state that it keeps, before ours replaces it."""


def object_id(base_topic: str) -> str:
    """The device's identity in Home Assistant, of the letters that it allows there: ``acula_ward-3_bed-12``.

    Where a name has a dot or an underscore, which another device's may have in its place, a hash tells the two apart.
    """
    identity = re.sub(r"[^A-Za-z0-9_-]", "_", base_topic)
    if {".", "_"} & set(base_topic):
        identity += "_" + hashlib.sha256(base_topic.encode()).hexdigest()[:8]
    return identity


def discovery(base_topic: str, origin: Origin, manifest: Manifest, *, respiration: bool | None) -> dict[str, Any]:
    """The payload that announces the device and its sensors.

    respiration: whether the breathing rate is followed; None: in contact audio only.
    """
    device_id = object_id(base_topic)
    _, site, name = base_topic.split("/")
    labels = {label.name for label in manifest.labels}
    status = f"{base_topic}/status"
    sensors = _cough_sensors(f"{base_topic}/state") if COUGH in labels else {}
    if respiration is not False and (manifest.modality == "contact" or (respiration and "breath" in labels)):
        sensors["breathing_rate"] = {
            "name": "Breathing rate",
            "state_topic": f"{base_topic}/respiration",
            "value_template": "{{ value_json.rate_bpm }}",
            "unit_of_measurement": "breaths/min",
            "state_class": "measurement",
        }
    sensors["level"] = {
        "name": "Sound level",
        "state_topic": f"{base_topic}/minute",
        # A minute that waited through an outage says nothing of now; an empty value is passed over.
        "value_template": "{{ '' if value_json.historical else value_json.level_dbfs }}",
        "unit_of_measurement": "dBFS",
        "state_class": "measurement",
    }
    available = {"topic": status, "value_template": "{{ 'offline' if value_json.state == 'offline' else 'online' }}"}
    for sensor in sensors.values():
        sensor |= {"expire_after": _EXPIRE_S, "availability": [available]}
    # Without both, for it must go on to say `offline`.
    sensors["status"] = {
        "name": "Status",
        "state_topic": status,
        "value_template": "{{ value_json.state }}",
        "device_class": "enum",
        "options": ["online", "degraded", "offline"],
        "entity_category": "diagnostic",
        "json_attributes_topic": status,
    }
    for key, sensor in sensors.items():
        sensor |= {"p": "sensor", "unique_id": f"{device_id}_{key}"}
    return {
        "dev": {
            "identifiers": [device_id],
            "name": f"{site} {name}",
            "manufacturer": "acula-edge",
            "model": origin.bundle,
            "sw_version": origin.version,
            "suggested_area": site,
        },
        "o": {"name": "acula-edge", "sw_version": origin.version},
        "cmps": sensors,
        "qos": 1,
    }


def _cough_sensors(state_topic: str) -> dict[str, dict[str, Any]]:
    return {
        "coughs_today": {
            "name": "Coughs today",
            "state_topic": state_topic,
            "value_template": "{{ value_json.coughs_today }}",
            "unit_of_measurement": "coughs",
            "state_class": "total_increasing",
        },
        "coughs_last_hour": {
            "name": "Coughs in the last hour",
            "state_topic": state_topic,
            "value_template": "{{ value_json.coughs_last_hour }}",
            "unit_of_measurement": "coughs",
            "state_class": "measurement",
        },
        "last_cough": {
            "name": "Last cough",
            "state_topic": state_topic,
            "value_template": "{{ value_json.last_cough }}",
            "device_class": "timestamp",
        },
    }


class _State(BaseModel):
    """What a state says that another run left behind."""

    boot_id: str
    date: date
    coughs_today: Annotated[int, Field(ge=0, le=1_000_000)]
    last_cough: AwareDatetime | None


class HomeAssistant:
    """The dialogue with Home Assistant; `edge.dialogue.Dialogue` says who calls. Events come from any thread."""

    def __init__(self, prefix: str, base_topic: str, origin: Origin, announcement: dict[str, Any]) -> None:
        """prefix: Home Assistant's discovery prefix. announcement: of `discovery`."""
        self._birth_topic = f"{prefix}/status"
        self._state_topic = f"{base_topic}/state"
        self._announcement = Said(
            f"{prefix}/device/{object_id(base_topic)}/config", to_bytes(announcement), retain=True
        )
        self._boot_id = origin.boot_id
        self._lock = threading.Lock()
        self._tally = Tally()
        self._is_announced = False
        self._has_taken_over = False
        self._began_at = time.monotonic()
        self._counted_on = date.min
        """The day of the state that an earlier run has left."""
        self._greeted_at = 0.0
        self._said: dict[str, Any] = {}
        self._said_at = 0.0

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Home Assistant's birth, and what an earlier run left behind."""
        return (self._birth_topic, self._state_topic)

    def on_event(self, _listener: Listener, event: Event, payload: dict[str, Any]) -> None:
        """Count a cough."""
        if event.label == COUGH:
            with self._lock:
                self._tally.add(parse_rfc3339(payload["onset"]), local_now())

    def greet(self) -> None:
        """Announce the device at every connection: a broker may have forgotten it."""
        self._greeted_at = time.monotonic()
        self._announce()

    def hear(self, message: Heard) -> None:
        """Announce the device to a Home Assistant that comes up, and take over what an earlier run has counted."""
        if message.topic == self._birth_topic:
            if message.payload == b"online":
                self._announce()
        elif not self._has_taken_over:
            self._has_taken_over = True
            try:
                state = _State.model_validate_json(message.payload)
            except ValidationError:
                log.warning("state_unreadable", topic=self._state_topic, action="counts begin at 0")
                return
            if state.boot_id != self._boot_id:
                self._counted_on = state.date
                with self._lock:
                    self._tally.take_over(state.date, state.coughs_today, state.last_cough, local_now())

    def say(self) -> list[Said]:
        """The announcement where it is due, and the state when it has changed or a minute has passed."""
        said = [] if self._is_announced else [self._announcement]
        self._is_announced = True
        now_s = time.monotonic()
        if not self._has_taken_over and now_s - self._greeted_at < _TAKE_OVER_S:
            return said
        state = self._state()
        is_early = date.fromisoformat(state["date"]) < self._counted_on and not is_synchronised()
        if is_early and now_s - self._began_at < _UNSET_S:
            return said  # the clock is not set yet: what the broker keeps is of a later day, and counted on then
        if state != self._said or now_s - self._said_at >= _EVERY_S:
            self._said, self._said_at = state, now_s
            said.append(Said(self._state_topic, to_bytes(state), retain=True))
        return said

    def _announce(self) -> None:
        self._is_announced = False
        self._said = {}

    def _state(self) -> dict[str, Any]:
        with self._lock:
            count = self._tally.count(local_now())
        return {
            "boot_id": self._boot_id,
            "date": count.date.isoformat(),
            "coughs_today": count.today,
            "coughs_last_hour": count.last_hour,
            "last_cough": rfc3339(count.last) if count.last else None,
        }


def local_now() -> datetime:
    """The present in the zone of this machine, whose midnight ends a day."""
    return datetime.now(timezone.utc).astimezone()
