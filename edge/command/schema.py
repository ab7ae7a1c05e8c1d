"""What a command is: JSON of a known form and bounded size, and nothing besides.

Does: checks a payload and names in a few words what is wrong with it. Does not: obey.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edge.errors import UserError
from edge.sections import Name, Threshold

MAX_BYTES = 4096

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: Id
    """Chosen by the sender, new for every command: one that comes again is answered again and not obeyed again."""


class SetThresholds(_Command):
    """Thresholds at which events open, in place of the configured ones; labels that it leaves out keep those."""

    command: Literal["thresholds"]
    thresholds: Annotated[dict[Name, Threshold], Field(max_length=64)]
    keep: bool = False
    """Whether they survive a restart; none at all and `keep` forgets those that were kept."""


class Update(_Command):
    """Fetch a bundle, prove it, and run it."""

    command: Literal["update"]
    url: Annotated[str, Field(min_length=1, max_length=2048)]
    """Of the archive, https, on one of `update.hosts`."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]
    """Of the archive."""


class Restart(_Command):
    """End in order and start anew."""

    command: Literal["restart"]


Command: TypeAlias = Annotated[SetThresholds | Update | Restart, Field(discriminator="command")]

_COMMAND: TypeAdapter[SetThresholds | Update | Restart] = TypeAdapter(Command)


class CommandError(UserError, ValueError):
    """A payload that is no command."""

    def __init__(self, reason: str, command_id: str | None) -> None:
        """`command_id` is None where the payload has none that could be repeated in an answer."""
        super().__init__(reason)
        self.command_id = command_id


def parse(payload: bytes) -> SetThresholds | Update | Restart:
    """The command that a payload holds.

    Raises:
        CommandError: it holds none, or is too long.
    """
    if len(payload) > MAX_BYTES:
        raise CommandError(f"{len(payload)} bytes are too long for a command; at most {MAX_BYTES}", None)
    try:
        return _COMMAND.validate_json(payload)
    except ValidationError as error:
        raise CommandError(_words(error), _id_of(payload)) from None


class _Identified(BaseModel):
    id: Id


def _id_of(payload: bytes) -> str | None:
    try:
        return _Identified.model_validate_json(payload).id
    except ValidationError:
        return None


def _words(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # The first part of a place within a command is the kind of command, which the sender knows.
    key = ".".join(str(part) for part in first["loc"][1:])
    return (f"{key}: {first['msg']}" if key else first["msg"])[:200]
