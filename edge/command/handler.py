"""Answers commands: accepted, done or refused, each with the command's id and the reason.

Does: refuses what is retained, too long or malformed, obeys each id once, answers on `<base>/command/result`, and logs
what was asked. Does not: keep results across a restart, or judge who may ask (the broker does).
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import structlog

from edge import clock
from edge.clock import rfc3339
from edge.command.schema import CommandError, Restart, SetThresholds, Update, parse
from edge.command.thresholds import Thresholds
from edge.dialogue import Heard, Said
from edge.errors import ConfigError
from edge.payloads import to_bytes

if TYPE_CHECKING:
    from edge.update.updater import Updater, UpdateResult

log = structlog.get_logger()

_REMEMBERED = 1000
"""Ids whose last answer is given again instead of obeying again."""
_WAITING = 100
"""Answers that wait for a connection; the oldest go first."""

Answer = Literal["accepted", "done", "refused"]


class Commands:
    """The dialogue of commands; `edge.dialogue.Dialogue` says who calls."""

    def __init__(
        self,
        base_topic: str,
        thresholds: Thresholds,
        *,
        restart: Callable[[], None],
        update: Updater | None,
        notify: Callable[[], None],
    ) -> None:
        """restart: begins an orderly end after which the program starts anew. update: None where it is disabled."""
        self._topic = f"{base_topic}/command"
        self._thresholds = thresholds
        self._restart = restart
        self._update = update
        self._notify = notify
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, Said] = OrderedDict()
        self._waiting: deque[Said] = deque(maxlen=_WAITING)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The command topic."""
        return (self._topic,)

    def greet(self) -> None:
        """A new connection changes nothing."""

    def hear(self, message: Heard) -> None:
        """Obey or refuse."""
        if not message.payload:
            return  # so a retained message is cleared
        try:
            command = parse(message.payload)
        except CommandError as error:
            self._answer(None, None, "refused", str(error), shown_id=error.command_id)
            return
        if message.retained:
            # Nobody knows how old it is, and it would be heard at every connection.
            reason = "the message is retained; send commands without retain, and clear this one"
            self._answer(None, command.command, "refused", reason, shown_id=command.id)
            return
        with self._lock:
            known = self._answers.get(command.id)
            if known is not None:
                self._waiting.append(known)
                return
        log.info("command", command=command.command, id=command.id)
        try:
            self._obey(command)
        except ConfigError as error:
            self._answer(command.id, command.command, "refused", str(error))

    def say(self) -> list[Said]:
        """Answers that have not been sent yet."""
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        return waiting

    def _obey(self, command: SetThresholds | Update | Restart) -> None:
        if isinstance(command, SetThresholds):
            self._thresholds.set(command.thresholds, keep=command.keep)
            self._answer(command.id, command.command, "done")
        elif isinstance(command, Restart):
            self._answer(command.id, command.command, "accepted")
            # Closing the sources may take a while, in which the answer goes out.
            threading.Thread(target=self._restart, name="restart", daemon=True).start()
        elif self._update is None:
            self._answer(command.id, command.command, "refused", "update.enabled is false on this device")
        else:
            self._answer(command.id, command.command, "accepted")
            self._update.request(command.url, command.sha256, lambda result: self._updated(command.id, result))

    def _updated(self, command_id: str, result: UpdateResult) -> None:
        self._answer(
            command_id, "update", "done" if result.accepted else "refused", result.reason, bundle=result.bundle
        )
        self._notify()

    def _answer(
        self,
        command_id: str | None,
        command: str | None,
        result: Answer,
        reason: str = "",
        *,
        shown_id: str | None = None,
        **more: str,
    ) -> None:
        """Answer, and remember the answer under `command_id`, where there is one."""
        if result == "refused":
            log.warning("command_refused", command=command, id=command_id or shown_id, reason=reason)
        payload = {
            "id": command_id or shown_id,
            "command": command,
            "result": result,
            "reason": reason,
            "at": rfc3339(clock.utc_now()),
            **more,
        }
        said = Said(f"{self._topic}/result", to_bytes(payload))
        with self._lock:
            self._waiting.append(said)
            if command_id is not None:
                self._answers[command_id] = said
                self._answers.move_to_end(command_id)
                while len(self._answers) > _REMEMBERED:
                    self._answers.popitem(last=False)
