"""The program on the device: ``python -m edge {run,replay,score,verify,bench,engine,devices,doctor,update}``.

Does: reads the command line, starts what it names, and turns a mistake of the user into one line on standard error and
exit status 2. Does not: do the work. What a command needs is imported when that command runs, so that the others start
fast.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge import __version__
from edge.errors import EXIT_USER_ERROR, exit_status

if TYPE_CHECKING:
    from edge.config import Settings
    from edge.sections import BundleSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status of the program."""
    started = time.monotonic()
    given = list(sys.argv[1:] if arguments is None else arguments)
    return exit_status(lambda: _dispatch(given, started))


def _dispatch(arguments: list[str], started: float) -> int:
    from edge.settings import Parser

    parser = Parser(prog="python -m edge", description="Hears coughs and breaths and reports them over MQTT.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar=f"{{{','.join(_COMMANDS)}}}")
    for name, (summary, command) in _COMMANDS.items():
        child = commands.add_parser(name, help=summary, description=summary)
        if arguments[:1] == [name]:
            return command(child, arguments[1:], started)
    parser.parse_args(arguments)
    return EXIT_USER_ERROR


def _read_settings(parser: argparse.ArgumentParser, arguments: list[str]) -> tuple[argparse.Namespace, Settings | None]:
    """What was parsed, and the settings; no settings where printing them was all that was asked for."""
    from edge.config import Settings
    from edge.settings import SettingsReader, to_toml

    reader = SettingsReader(parser, Settings)
    parsed = parser.parse_args(arguments)
    settings = reader.read(parsed)
    if parsed.print_config:
        print(to_toml(settings), end="")
        return parsed, None
    return parsed, settings


def _run(parser: argparse.ArgumentParser, arguments: list[str], started: float) -> int:
    _, settings = _read_settings(parser, arguments)
    if settings is None:
        return 0
    # Before numpy is loaded: many listeners multiply small matrices, and a pool of threads for each of these makes them
    # wait for one another, by seconds.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Before structlog is loaded, which loads rich where that is installed: 5 MB for coloured tracebacks, which are not
    # used here. None stands for a module that cannot be imported.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from edge import daemon

    return daemon.run(settings, started)


def _replay(parser: argparse.ArgumentParser, arguments: list[str], _started: float) -> int:
    parser.add_argument("files", nargs="+", metavar="FILE", help="recording, in any format that libsndfile reads")
    parser.add_argument("--start", metavar="TIME", help="UTC of every file's first sample, RFC 3339 (default: now)")
    parsed, settings = _read_settings(parser, arguments)
    if settings is None:
        return 0
    from edge.clock import parse_rfc3339

    start = parse_rfc3339(parsed.start) if parsed.start else None
    from edge.replay import replay

    return replay(parsed.files, settings, start=start, output=sys.stdout)


def _score(parser: argparse.ArgumentParser, arguments: list[str], _started: float) -> int:
    parser.add_argument("--reference", type=Path, required=True, metavar="FILE", help="tab-separated marks")
    parser.add_argument("--events", type=Path, required=True, metavar="FILE", help="JSON lines, as replay writes them")
    parser.add_argument("--label", default="cough", help="what is scored (default: cough)")
    parser.add_argument("--tolerance_s", type=float, default=0.30, help="of an onset, in seconds (default: 0.30)")
    parser.add_argument("--hours", type=float, help="analysed time (default: from the reference's recording_s)")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parsed = parser.parse_args(arguments)
    import json

    from edge.scoring import score_files

    report = score_files(
        parsed.reference, parsed.events, tolerance_s=parsed.tolerance_s, label=parsed.label, hours=parsed.hours
    )
    print(json.dumps(report.to_dict()) if parsed.json else report.text())
    return 0


def _verify(parser: argparse.ArgumentParser, arguments: list[str], _started: float) -> int:
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="bundle (default: the one that the daemon runs)")
    parser.add_argument(
        "--backend", choices=("onnxruntime", "tensorrt"), help="check this one (default: all there are)"
    )
    parsed, settings = _read_settings(parser, arguments)
    if settings is None:
        return 0
    from edge.verify import verify

    return verify(_bundle_of(parsed, settings), parsed.backend)


def _bench(parser: argparse.ArgumentParser, arguments: list[str], _started: float) -> int:
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="length of the part at the pace of a microphone (default: 20)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parsed, settings = _read_settings(parser, arguments)
    if settings is None:
        return 0
    if not 1 <= parsed.seconds <= 86_400:
        parser.error(f"--seconds {parsed.seconds:g}: give from 1 to 86400")
    # As the daemon does.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from edge.bench import bench

    return bench(settings, parsed.seconds, sys.stdout, as_json=parsed.json)


def _engine(parser: argparse.ArgumentParser, arguments: list[str], _started: float) -> int:
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="bundle (default: the one that the daemon runs)")
    parser.add_argument("--rebuild", action="store_true", help="build even where an engine fits")
    parsed, settings = _read_settings(parser, arguments)
    if settings is None:
        return 0
    from edge.verify import build

    return build(_bundle_of(parsed, settings), always=parsed.rebuild)


def _bundle_of(parsed: argparse.Namespace, settings: Settings) -> BundleSettings:
    from edge.update.record import bundle_to_run

    return settings.bundle.model_copy(update={"path": parsed.folder}) if parsed.folder else bundle_to_run(settings)


def _update(parser: argparse.ArgumentParser, arguments: list[str], _started: float) -> int:
    parser.add_argument("archive", metavar="FILE", help="bundle as one .tar, or an https URL of one on update.hosts")
    parser.add_argument("--sha256", default="", help="what the archive's SHA-256 must be, in hexadecimal")
    parser.add_argument(
        "--allow_downgrade", action="store_true", help="take a bundle that is older than the one that runs"
    )
    parsed, settings = _read_settings(parser, arguments)
    if settings is None:
        return 0
    from edge import logs
    from edge.update.install import Installer

    logs.configure(settings.log)
    installed = Installer(settings).install(parsed.archive, parsed.sha256, allow_downgrade=parsed.allow_downgrade)
    if not installed.switched:
        print(f"{installed.bundle} runs already; nothing was changed")
    else:
        print(f"{installed.bundle} is installed in {settings.update_folder}; the next start of the daemon runs it")
        print("next: systemctl restart acula-edge, or however the daemon is started here")
    return 0


def _devices(parser: argparse.ArgumentParser, arguments: list[str], _started: float) -> int:
    parser.add_argument("--json", action="store_true", help="print all of them as one JSON list")
    parsed = parser.parse_args(arguments)
    from edge.devices import list_devices, table, to_json

    if parsed.json:
        print(to_json(list_devices()))
        return 0
    line = ""
    for line in table(list_devices()):
        print(line, flush=True)
    if not line:
        print("no sound input: plug one in, or see python -m edge doctor for what is in its way", file=sys.stderr)
    return 0


def _doctor(parser: argparse.ArgumentParser, arguments: list[str], _started: float) -> int:
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON list")
    parsed, settings = _read_settings(parser, arguments)
    if settings is None:
        return 0
    from edge.doctor import report

    return report(settings, sys.stdout, as_json=parsed.json)


_COMMANDS = {
    "run": ("listen, and report events over MQTT", _run),
    "replay": ("hear recordings again, and print their events as JSON lines", _replay),
    "score": ("compare the events of replay with marked ones", _score),
    "verify": ("check a bundle: hashes, trust and golden outputs on this machine", _verify),
    "bench": ("measure how much of this machine the analysis takes", _bench),
    "engine": ("build a bundle's TensorRT engine on this board, and prove it", _engine),
    "devices": ("list the sound inputs: what source.device may be, and how loud each is now", _devices),
    "doctor": ("check device, broker, clock, disk and bundle, and say what to do", _doctor),
    "update": ("install a new bundle by hand, as the daemon does by itself", _update),
}


if __name__ == "__main__":
    sys.exit(main())
