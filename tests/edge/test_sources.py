"""Sources give every sample once, in order, and tell in one line what is wrong with the input."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from structlog.testing import capture_logs

from edge.errors import AudioError, ConfigError
from edge.sections import SourceSettings
from edge.sources import open_source
from edge.sources.file import FileSource
from tests.listening import drain


def write(path: Path, samples, rate=16_000, **options) -> Path:
    soundfile.write(path, samples, rate, **({"subtype": "FLOAT"} | options))
    return path


def noise(frames, channels=1):
    return np.random.default_rng(0).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)


def refusal(path) -> str:
    with pytest.raises(AudioError) as caught:
        drain(FileSource(path))
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("rate", "channels"), [(16_000, 1), (48_000, 2), (96_000, 1), (44_100, 8), (1_000, 1), (384_000, 3)]
)
def test_file_of_any_rate_and_channels_gives_all_samples(tmp_path, rate, channels):
    samples = noise(12_345, channels)
    source = FileSource(write(tmp_path / "ward.wav", samples, rate), block_s=0.1)
    assert (source.name, source.sample_rate_hz, source.channels) == ("file:ward.wav", rate, channels)
    assert source.duration_s == 12_345 / rate
    assert np.array_equal(drain(source), samples)


def test_file_of_16_bit_flac_is_scaled_to_one(tmp_path):
    path = write(tmp_path / "a.flac", np.array([0, 16384, -32768], np.int16), subtype="PCM_16")
    assert drain(FileSource(path))[:, 0].tolist() == [0.0, 0.5, -1.0]


def test_file_missing_says_so(tmp_path):
    assert "no such file" in refusal(tmp_path / "absent.wav")


def test_file_that_is_a_folder_says_so(tmp_path):
    assert "a folder" in refusal(tmp_path)


def test_file_of_0_bytes_says_so(tmp_path):
    (tmp_path / "empty.wav").touch()
    assert "0 bytes" in refusal(tmp_path / "empty.wav")


def test_file_that_is_a_pipe_says_where_to_feed_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert "no regular file" in refusal(tmp_path / "pipe.wav")
    assert "source.kind stdin" in refusal(tmp_path / "pipe.wav")


def test_file_with_a_header_alone_says_so(tmp_path):
    assert "0 samples" in refusal(write(tmp_path / "header.wav", np.zeros(0, np.float32)))


def test_file_that_is_not_audio_says_what_to_do(tmp_path):
    path = tmp_path / "letter.wav"
    path.write_text("Dear colleague,\n" * 100)
    assert "not a sound file" in refusal(path)
    assert "ffmpeg" in refusal(path)


@pytest.mark.parametrize("rate", [500, 400_000])
def test_file_of_an_unsupported_rate_says_the_rate(tmp_path, rate):
    assert f"{rate} Hz" in refusal(write(tmp_path / "odd.wav", noise(100), rate))


def test_file_without_permission_says_so(shut_folder):
    """As an ordinary user, whom permissions bind; root becomes one."""
    shut_folder.chmod(0o755)
    path = write(shut_folder / "secret.wav", noise(100))
    path.chmod(0)
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom edge.errors import UserError\n"
        "from edge.sources.file import FileSource\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try: FileSource(Path(sys.argv[1]))\n"
        "except UserError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.count("\n") == 1
    assert "secret.wav" in run.stdout
    assert "Permission denied" in run.stdout


@pytest.mark.parametrize(("value", "word"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1e30, "1e+30")])
@pytest.mark.parametrize("frame", [0, 20_000, 39_999])
def test_file_with_an_unusable_sample_tells_the_second_after_the_good_blocks(tmp_path, value, word, frame):
    samples = noise(40_000, 2)
    samples[frame, 1] = value
    samples[frame + 1 :: 7, 0] = np.nan
    source = FileSource(write(tmp_path / "damaged.wav", samples))
    got = []
    with pytest.raises(AudioError, match=r"damaged\.wav") as caught:
        got.extend(block.samples for block in source.blocks())
    assert f"at {frame / 16_000:.3f} s is {word}" in str(caught.value)
    assert sum(len(part) for part in got) == frame
    assert frame == 0 or np.array_equal(np.concatenate(got), samples[:frame])


def test_file_of_integers_stored_as_floats_says_what_to_do_and_one_above_full_scale_is_heard(tmp_path):
    assert "scale the file to [-1, 1]" in refusal(write(tmp_path / "integers.wav", noise(1_000) * 32_768))
    assert len(drain(FileSource(write(tmp_path / "loud.wav", noise(1_000) * 20)))) == 1_000


def test_file_damaged_in_the_middle_tells_the_second_after_the_good_blocks(tmp_path):
    path = write(tmp_path / "cut.flac", noise(40_000), subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    blocks = []
    with pytest.raises(AudioError, match=r"cut\.flac: unreadable after 1\.000 s: .*sync"):
        blocks.extend(iter(FileSource(path).blocks()))
    assert [len(block.samples) for block in blocks] == [8_000, 8_000]


def test_file_cut_short_gives_what_is_there(tmp_path):
    path = write(tmp_path / "cut.wav", noise(40_000), subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:60_044])
    assert len(drain(FileSource(path))) == 30_000


def test_file_with_less_sound_than_its_header_says_is_logged(tmp_path):
    path = write(tmp_path / "cut.mp3", noise(40_000), format="MP3", subtype="MPEG_LAYER_III")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with capture_logs() as logs:
        assert 0 < len(drain(FileSource(path))) < 40_000
    assert [log["event"] for log in logs] == ["file_ends_early"]


def test_name_of_a_file_that_is_no_utf_8_is_told_as_text(tmp_path):
    path = write(tmp_path / "a.wav", noise(100)).rename(tmp_path / os.fsdecode(b"bed-\xff.wav"))
    assert FileSource(path).name == "file:bed-\N{REPLACEMENT CHARACTER}.wav"


def test_file_in_real_time_comes_no_sooner_than_it_was_heard(tmp_path):
    source = FileSource(write(tmp_path / "a.wav", noise(4_800)), pace="realtime", block_s=0.1)
    begun = time.monotonic()
    assert len(drain(source)) == 4_800
    assert time.monotonic() - begun >= 0.3


def test_file_closed_from_another_thread_ends_a_waiting_reader(tmp_path):
    source = FileSource(write(tmp_path / "a.wav", noise(16_000 * 60)), pace="realtime", block_s=60)
    reader = threading.Thread(target=drain, args=(source,))
    reader.start()
    source.close()
    reader.join(timeout=20)
    assert not reader.is_alive()
    source.close()


def settings(**changes):
    return SourceSettings(**({"kind": "file", "pace": "fast", "sample_rate_hz": 8_000, "channels": 2} | changes))


def test_open_source_opens_what_the_settings_name(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(100))
    assert open_source(settings(path=str(path))).name == "file:a.wav"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(bytes(8))))
    source = open_source(settings(kind="stdin"))
    assert (source.name, source.sample_rate_hz, drain(source).shape) == ("stdin", 8_000, (2, 2))


def test_open_source_of_a_closed_standard_input_says_so(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)  # as Python has it then
    with pytest.raises(AudioError, match="standard input is closed"):
        open_source(settings(kind="stdin"))


@pytest.mark.parametrize("kind", ["file", "folder", "url"])
def test_open_source_without_a_path_says_which_key(kind):
    with pytest.raises(ConfigError, match=rf"source\.path is empty: it names the {kind} to hear"):
        open_source(settings(kind=kind))


def test_open_source_of_a_microphone_with_a_path_asks_which_is_meant():
    with pytest.raises(ConfigError, match=r"set source\.kind"):
        open_source(settings(kind="microphone", path="ward.wav"))


def test_open_source_hears_one_channel_of_a_file(tmp_path):
    samples = noise(1_000, 3)
    path = str(write(tmp_path / "a.wav", samples))
    source = open_source(settings(path=path, channel=2))
    assert (source.name, source.sample_rate_hz, source.channels) == ("file:a.wav", 16_000, 1)
    assert np.array_equal(drain(source), samples[:, 1:2])
    with pytest.raises(ConfigError, match=r"file:a\.wav has 3 channels, and source\.channel is 4"):
        open_source(settings(path=path, channel=4))
