from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pydantic import BaseModel

from edge.config import Settings
from edge.errors import ConfigError
from edge.settings import Parser, SettingsReader, to_toml

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith("ACULA_EDGE"):
            monkeypatch.delenv(variable)


def read(*arguments: str) -> Settings:
    parser = Parser(prog="python -m edge run")
    reader = SettingsReader(parser, Settings)
    return reader.read(parser.parse_args(arguments))


def write(folder: Path, text: str) -> str:
    path = folder / "edge.toml"
    path.write_text(text)
    return str(path)


def edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_flags_win_over_environment_and_that_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(
        tmp_path, '[mqtt]\nhost = "file"\nport = 1\nusername = "file"\n[thresholds]\ncough = 0.1\nbreath = 0.2'
    )
    monkeypatch.setenv("ACULA_EDGE__MQTT__PORT", "2")
    monkeypatch.setenv("ACULA_EDGE__MQTT__USERNAME", "environment")
    monkeypatch.setenv("ACULA_EDGE__THRESHOLDS__BREATH", "0.3")
    settings = read("--config", file, "--mqtt.username", "flag", "--thresholds", "sneeze=0.4")
    assert (settings.mqtt.host, settings.mqtt.port, settings.mqtt.username) == ("file", 2, "flag")
    assert settings.thresholds == {"cough": 0.1, "breath": 0.3, "sneeze": 0.4}


def test_every_default_is_valid_and_survives_a_round_trip(tmp_path: Path) -> None:
    settings = read()
    assert read("--config", write(tmp_path, to_toml(settings))) == settings


def test_changed_settings_survive_a_round_trip(tmp_path: Path) -> None:
    settings = read("--windows.hop_s", "0.25", "--bundle.trusted_keys", "a", "--bundle.trusted_keys", "b", "--mqtt.tls")
    assert settings.bundle.trusted_keys == ("a", "b")
    assert read("--config", write(tmp_path, to_toml(settings))) == settings


def test_deployed_file_holds_every_setting_at_its_default(tmp_path: Path) -> None:
    deployed = ROOT / "deploy" / "edge.toml"
    assert read("--config", str(deployed)) == read()
    text = deployed.read_text()
    for section, field in Settings.model_fields.items():
        assert f"[{section}]" in text
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys = [key for key, inner in field.annotation.model_fields.items() if not inner.exclude]
            missing = [key for key in keys if f"\n{key} = " not in text.replace("\n# ", "\n")]
            assert not missing


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[mqtt]\nhots = "a"', "unknown key mqtt.hots; did you mean mqtt.host?"),
        ("[mqqt]\nport = 1", "unknown key mqqt; did you mean mqtt?"),
        ('[mqtt]\npassword = "hush"', "mqtt.password is a secret and others can read it there"),
        ("[thresholds]\ncough = 1.5", "thresholds.cough = 1.5: must be from 0.01 to 1.0"),
        ("[thresholds]\ncough = nan", "thresholds.cough = nan: must be from 0.01 to 1.0"),
        ("[mqtt]\nport = 70000", "mqtt.port = 70000: must be a whole number from 1 to 65535"),
        ("[windows]\nhop_s = 0", "windows.hop_s = 0: must be from 0.01 to 60.0"),
        ('[source]\nkind = "ear"', "source.kind = 'ear': must be one of microphone, file, folder, url, stdin"),
        ('[device]\nname = "bed/12"', "device.name = 'bed/12': must be at most 64 letters, digits, dots, dashes"),
        ("mqtt = 1", "mqtt = 1: must be a table, [mqtt], with its settings below it"),
        ("[mqtt", "not a TOML file"),
    ],
)
def test_mistake_in_the_file_is_one_line_with_file_key_value_and_range(tmp_path: Path, text: str, told: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as mistake:
        read("--config", file)
    assert str(mistake.value).startswith(f"{file}: {told}")
    assert "\n" not in str(mistake.value)
    assert "hush" not in str(mistake.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--thresholds", "cough=1.5"], "command line: thresholds.cough = '1.5': must be from 0.01 to 1.0"),
        (["--thresholds", "cough"], "write thresholds as label=score"),
        (["--mqtt.hots", "a"], "unrecognized arguments: --mqtt.hots; see python -m edge run --help"),
        (["--mqtt.port"], "expected one argument"),
        (["--config", "/no/such.toml"], "/no/such.toml: no such file"),
    ],
)
def test_mistake_on_the_command_line_is_one_line(arguments: Sequence[str], told: str) -> None:
    with pytest.raises(ConfigError) as mistake:
        read(*arguments)
    assert told in str(mistake.value)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ACULA_EDGE__MQTT__PORT", "many", "ACULA_EDGE__MQTT__PORT: mqtt.port = 'many': must be a whole number"),
        ("ACULA_EDGE__MQTT__PROT", "1", "ACULA_EDGE__MQTT__PROT: unknown key mqtt.prot; did you mean mqtt.port?"),
        ("ACULA_EDGE__MQQT__PORT", "1", "ACULA_EDGE__MQQT__PORT in the environment names no setting"),
        ("ACULA_EDGE_MQTT_PORT", "1", "ACULA_EDGE_MQTT_PORT in the environment names no setting"),
        ("ACULA_EDGE__BUNDLE__TRUSTED_KEYS", "a.pem", "a list in the environment as JSON"),
    ],
)
def test_mistake_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as mistake:
        read()
    assert told in str(mistake.value)


def test_topic_is_of_site_and_name_or_host(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read("--device.site", "ward-3", "--device.name", "bed-12").base_topic == "acula/ward-3/bed-12"
    monkeypatch.setattr("socket.gethostname", lambda: "bed 12/#+.local")
    assert read().base_topic == "acula/site/bed-12-.local"


def test_outbox_lies_where_systemd_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert read().outbox_path == tmp_path / "outbox.db"
    assert read("--outbox.path", "/elsewhere/o.db").outbox_path == Path("/elsewhere/o.db")


def test_outbox_of_an_ordinary_user_lies_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert read().outbox_path == tmp_path / "acula-edge" / "outbox.db"


def test_program_tells_a_mistake_in_one_line_and_ends_with_2(tmp_path: Path) -> None:
    for arguments in (
        ["run", "--config", write(tmp_path, "[thresholds]\ncough = 1.5")],
        ["run", "--source.kind", "file", "--no.such", "1"],
        ["listen"],
        [],
        ["replay"],
        ["score", "--reference", "/no/such.tsv", "--events", "/no/such.jsonl"],
        ["verify", "/no/such/bundle"],
    ):
        done = edge(*arguments)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("error: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stdout == ""


def test_file_behind_a_folder_that_one_may_not_enter_is_one_line(
    shut_folder: Path, edge_as_nobody: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    file = write(shut_folder, "")
    shut_folder.chmod(0)
    done = edge_as_nobody("run", "--config", file)
    assert (done.returncode, done.stderr) == (2, f"error: {file}: cannot be read: Permission denied\n")
    shut_folder.chmod(0o755)
    Path(file).chmod(0)
    assert edge_as_nobody("run", "--config", file).stderr == done.stderr


def test_several_sources_survive_a_round_trip(tmp_path: Path) -> None:
    text = '[[sources]]\nname = "bed-12"\nkind = "file"\npath = "a.wav"\n[[sources]]\nname = "bed-13"\nkind = "stdin"'
    settings = read("--config", write(tmp_path, text))
    assert [(source.name, source.kind, source.path) for source in settings.sources] == [
        ("bed-12", "file", "a.wav"),
        ("bed-13", "stdin", ""),
    ]
    assert read("--config", write(tmp_path, to_toml(settings))) == settings


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[sources]]\nname = "a"\n[[sources]]\nname = "a"', "give sources with a name each of its own, not a, a"),
        ('[source]\npath = "a"\n[[sources]]\nname = "a"', "give either [source] or [[sources]], not both"),
        (
            '[[sources]]\nname = "a"\n[[sources]]\nname = "b"\npaht = "c"',
            "unknown key sources.1.paht; did you mean path?",
        ),
        ('[[sources]]\npath = "a"', "sources.0.name is not set; give each [[sources]] its name"),
        ('[[sources]]\nname = "a"\nkind = "tape"', "sources.0.kind = 'tape': must be one of microphone, file, "),
        ('[[sources]]\nname = "a/b"', "sources.0.name = 'a/b': must be at most 64 letters"),
        ('[[sources]]\nname = "a"\nchannels = 0', "sources.0.channels = 0: must be a whole number from 1 to 64"),
        ('[[sources]]\nname="a"\nkind="stdin"\n[[sources]]\nname="b"\nkind="stdin"', "one at most is standard input"),
    ],
)
def test_mistake_among_several_sources_names_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read("--config", write(tmp_path, text))
    assert str(caught.value).startswith(f"{tmp_path / 'edge.toml'}: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_print_config_prints_what_would_run_and_no_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hush-hush\n")
    done = edge("run", "--print-config", "--mqtt.host", "broker", "--mqtt.password_file", str(tmp_path / "password"))
    assert done.returncode == 0, done.stderr
    assert 'host = "broker"' in done.stdout
    assert str(tmp_path / "password") in done.stdout
    assert "hush-hush" not in done.stdout + done.stderr


def test_help_names_every_setting_with_its_default() -> None:
    text = " ".join(edge("run", "--help").stdout.split())
    for section, field in Settings.model_fields.items():
        assert isinstance(field.annotation, type) or section in ("sources", "thresholds")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for key, setting in field.annotation.model_fields.items():
                if setting.exclude:  # a secret: no flag takes it
                    assert f"--{section}.{key} " not in text
                    continue
                assert f"--{section}.{key} " in text + " "
                assert setting.description is not None
                assert " ".join(setting.description.split()[:4]) in text
    assert "(default: 1883)" in text
