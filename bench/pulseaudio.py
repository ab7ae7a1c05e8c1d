"""A PulseAudio server of one's own, apart from that of whoever sits at the machine: how it is run, and how it is found.

Does: writes what clients read, tells the environment and the command. Does not: start or stop anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PROGRAMS = ("pulseaudio", "pactl", "paplay")
"""That must be installed."""


def environment(folder: Path) -> dict[str, str]:
    """Variables by which PulseAudio and ALSA of a process mean the server of `folder`; writes what they read there."""
    (folder / ".asoundrc").write_text("pcm.pulse { type pulse }\n")
    (folder / "client.conf").write_text("autospawn = no\nenable-shm = no\n")
    places = ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PULSE_RUNTIME_PATH", "PULSE_STATE_PATH")
    return dict.fromkeys(places, str(folder)) | {
        "PULSE_SERVER": f"unix:{_socket(folder)}",
        "PULSE_CLIENTCONFIG": str(folder / "client.conf"),
    }


def command(folder: Path, modules: Sequence[str] = ()) -> list[str]:
    """The server of `folder`, to be run in its `environment`.

    Args:
        folder: where its socket and its log are. The name of a socket has 107 letters at most.
        modules: to be loaded, with their arguments.
    """
    loaded = (f"module-native-protocol-unix socket={_socket(folder)} auth-anonymous=1", *modules)
    return [
        "pulseaudio",
        *("-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm"),
        f"--log-target=file:{folder / 'log'}",
        *(part for module in loaded for part in ("-L", module)),
    ]


def null_sink(name: str, rate_hz: int, channels: int) -> list[str]:
    """The module whose input `name`.monitor records what is played to `name`, and its arguments."""
    return ["module-null-sink", f"sink_name={name}", f"rate={rate_hz}", f"channels={channels}"]


def _socket(folder: Path) -> Path:
    return folder / "native"
