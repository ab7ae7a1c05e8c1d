"""A real PulseAudio server in a folder of its own, with inputs that a test plugs in and out."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bench import pulseaudio
from tests.brokers import eventually
from tests.needs import lacking


class SoundServer:
    """A context manager; while it is open, PulseAudio and ALSA of this process and its children mean this server.

    Skips where a program is missing, and fails there in CI.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        missing = [program for program in pulseaudio.PROGRAMS if shutil.which(program) is None]
        if missing:
            lacking(f"{', '.join(missing)} not installed")
        # Not tmp_path: the name of a socket may have 107 letters at most.
        self.folder = Path(tempfile.mkdtemp(prefix="sound-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._modules: dict[str, str] = {}
        for variable, value in pulseaudio.environment(self.folder).items():
            monkeypatch.setenv(variable, value)

    def start(self) -> None:
        """Start the server, without any device."""
        command = pulseaudio.command(self.folder)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers, f"PulseAudio; its log is {self.folder / 'log'}")

    def stop(self) -> None:
        """End it as a crash would; its inputs are gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        self._modules.clear()

    def plug_in(self, name: str, *, rate_hz: int = 48_000, channels: int = 1) -> None:
        """Add the input `name`.monitor, which records what is played to `name`."""
        self._modules[name] = self._control("load-module", *pulseaudio.null_sink(name, rate_hz, channels)).strip()

    def unplug(self, name: str) -> None:
        """Remove it, as if its plug had been pulled."""
        self._control("unload-module", self._modules.pop(name))

    def play(self, name: str, samples: NDArray[np.float32], rate_hz: int) -> None:
        """Play (frames, channels) to its end."""
        subprocess.run(self._player(name, samples, rate_hz), check=True)

    @contextlib.contextmanager
    def playing(self, name: str, samples: NDArray[np.float32], rate_hz: int) -> Iterator[None]:
        """Play (frames, channels) until the context is left."""
        player = subprocess.Popen(self._player(name, samples, rate_hz))
        try:
            eventually(lambda: bool(self._control("list", "short", "sink-inputs")), "the player at the server")
            yield
        finally:
            player.kill()
            player.wait()

    def _player(self, name: str, samples: NDArray[np.float32], rate_hz: int) -> list[str]:
        file = self.folder / "played.wav"
        soundfile.write(file, samples, rate_hz, subtype="FLOAT")
        return ["paplay", f"--device={name}", str(file)]

    def _control(self, *arguments: str) -> str:
        return subprocess.run(["pactl", *arguments], check=True, capture_output=True, text=True).stdout

    def _answers(self) -> bool:
        return subprocess.run(["pactl", "info"], capture_output=True, check=False).returncode == 0

    def __enter__(self) -> SoundServer:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
