"""The whole export on a synthetic corpus: what it writes, when it refuses, and that it repeats itself exactly."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge.analysis import Analyzer
from edge.backends import open_backend
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import check_golden, load_bundle
from edge.drift import load_reference
from edge.errors import UserError
from quantize import gate
from quantize.config import ExportSettings
from quantize.exporter import export
from quantize.golden import golden_windows
from quantize.sign import write_keys


def _settings(checkpoint: Path, recordings: Path, output: Path, **others: Any) -> ExportSettings:
    fields = {"calibration_windows": 300, "bootstrap_rounds": 100, "scenes": 1, "precision": "int8", **others}
    return ExportSettings(checkpoint=checkpoint, recordings=recordings, name="tiny", output=output, **fields)


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def exported(checkpoint_path: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle in INT8, with its report beside it."""
    output = tmp_path_factory.mktemp("exported") / "tiny"
    settings = _settings(checkpoint_path, recordings, output, report=output.with_suffix(".json"))
    assert export(settings) == 0
    return output


def test_bundle_loads_and_gives_its_golden_outputs(exported: Path) -> None:
    bundle = load_bundle(exported, allow_unsigned=True)
    check_golden(bundle, open_backend(bundle))
    assert len(bundle.golden()["waveform"]) >= 8
    assert sorted(bundle.manifest.files) == ["card.md", "drift.npz", "encoder.onnx", "frontend.onnx", "golden.npz"]
    assert load_reference(bundle) is not None


def test_manifest_holds_labels_corpora_and_metrics(exported: Path) -> None:
    manifest = load_bundle(exported, allow_unsigned=True).manifest
    assert (manifest.name, manifest.version, manifest.precision) == ("tiny", "0.1.0", "int8")
    assert [label.name for label in manifest.labels] == ["cough", "breath", "speech"]
    assert [(corpus.name, corpus.licence, corpus.recordings) for corpus in manifest.corpora] == [("own", "CC0-1.0", 36)]
    names = {metric.name for metric in manifest.metrics}
    assert {"auroc_cough", "auroc_breath", "auroc_speech", "auroc_drop_cough", "event_f1_cough"} <= names
    for metric in manifest.metrics:
        assert metric.low is not None and metric.high is not None and metric.low <= metric.value <= metric.high


def test_bundle_tells_clips_of_the_sounds_that_it_was_made_for(exported: Path) -> None:
    manifest = load_bundle(exported, allow_unsigned=True).manifest
    figures = {metric.name: metric.value for metric in manifest.metrics}
    assert figures["auroc_cough"] > 0.8


def test_exported_bundle_runs_in_the_devices_pipeline(exported: Path) -> None:
    bundle = load_bundle(exported, allow_unsigned=True)
    analyzer = Analyzer(bundle, open_backend(bundle), input_rate_hz=16_000, channels=1)
    quiet = 1e-3 * np.random.default_rng(1).standard_normal((40_000, 1)).astype(np.float32)
    assert analyzer.push(quiet) + analyzer.flush() == []


def test_card_says_purpose_licences_and_figures(exported: Path) -> None:
    card = (exported / "card.md").read_text()
    assert card.startswith("# tiny 0.1.0")
    for text in (
        "Not a medical device",
        "does not diagnose",
        "CC0-1.0",
        "SHA-256",
        "INT8 ships because",
        "## Limitations",
    ):
        assert text in card
    assert "breath, speech: no recording has marked times" in card
    assert "cough: only 18 test clips hold it" in card


def test_report_names_machine_versions_and_speed(exported: Path) -> None:
    report = json.loads(exported.with_suffix(".json").read_text())
    assert report["machine"]["threads"] == 1
    assert set(report["versions"]) == {"numpy", "onnx", "onnxruntime", "torch"}
    assert report["candidates"]["float32"]["latency_ms"] > 0.0
    assert report["candidates"]["int8"]["size_bytes"] < report["candidates"]["float32"]["size_bytes"]
    assert len(report["calibration"]["index_sha256"]) == 64


def test_second_export_gives_the_same_bytes_and_replaces_the_first(
    exported: Path, checkpoint_path: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, output = _hashes(exported), tmp_path / "bundles" / "tiny"
    shutil.copytree(exported, output)
    (output / "card.md").write_text("of an older bundle")
    assert export(_settings(checkpoint_path, recordings, output)) == 0
    assert _hashes(output) == before
    assert [path.name for path in output.parent.iterdir()] == ["tiny"]
    printed = capsys.readouterr().out
    assert [line[:5] for line in printed.splitlines() if line.startswith("[")] == [
        f"[{number}/8]" for number in range(1, 9)
    ]
    for text in (
        "float32",
        "INT8",
        "AUROC cough",
        "encoder on one core",
        "less than float32",
        "next: python -m edge",
    ):
        assert text in printed


@pytest.fixture
def unreachable_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that nothing passes: whatever is exported must gain AUROC."""
    monkeypatch.setattr(gate, "UPPER_DROP", -0.5)


@pytest.mark.usefixtures("unreachable_gate")
def test_failed_gate_leaves_the_old_bundle(
    exported: Path, checkpoint_path: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bundles" / "tiny"
    shutil.copytree(exported, output)
    before = _hashes(output)
    report = tmp_path / "report.json"
    assert export(_settings(checkpoint_path, recordings, output, report=report)) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "gate failed: INT8 costs " in told and "was not touched" in told
    assert _hashes(output) == before
    assert [path.name for path in output.parent.iterdir()] == ["tiny"]
    assert not report.exists()


@pytest.fixture(scope="module")
def unusual(
    checkpoint_path: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict[str, Any]]:
    """A signed bundle for batches that failed the gate and was allowed, its public key, and what was printed."""
    folder = tmp_path_factory.mktemp("unusual")
    public = write_keys(folder / "fleet.pem")
    settings = _settings(
        checkpoint_path, recordings, folder / "tiny", max_batch=4, key=folder / "fleet.pem", allow_drop=True, json=True
    )
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(gate, "UPPER_DROP", -0.5)
        assert export(settings) == 0
    return folder / "tiny", public, json.loads(printed.getvalue())


def test_drop_that_is_allowed_ships_and_is_on_the_card(unusual: tuple[Path, Path, dict[str, Any]]) -> None:
    folder, _, printed = unusual
    assert "**The accuracy gate failed and was overridden: INT8 costs " in (folder / "card.md").read_text()
    assert printed["ships"]["allowed"].startswith("INT8 costs ")


def test_bundle_is_signed_by_the_key_that_was_given(unusual: tuple[Path, Path, dict[str, Any]]) -> None:
    folder, public, _ = unusual
    assert load_bundle(folder, trusted_keys=[public]).manifest.name == "tiny"


def test_bundle_for_batches_scores_several_windows_at_once(unusual: tuple[Path, Path, dict[str, Any]]) -> None:
    bundle = load_bundle(unusual[0], allow_unsigned=True)
    backend = OnnxRuntimeBackend(bundle)
    windows = golden_windows(16_000, 16_000)[:4]
    together = backend.infer_batch(windows)
    np.testing.assert_allclose(
        [output.scores for output in together], [backend.infer(window).scores for window in windows], atol=0.05
    )
    for path in (bundle.frontend_path, bundle.encoder_path):
        model = onnx.load(str(path))
        assert {value.type.tensor_type.shape.dim[0].dim_param for value in model.graph.input} == {"batch"}
    properties = {entry.key: entry.value for entry in onnx.load(str(bundle.encoder_path)).metadata_props}
    assert properties["max_batch"] == "4"


def test_json_is_all_that_is_printed_and_tells_every_way_that_was_tried(
    unusual: tuple[Path, Path, dict[str, Any]],
) -> None:
    printed = unusual[2]
    tried = {way["calibrator"] for way in printed["selection"]["tried"]}
    assert tried == {"minmax", "entropy", "percentile99.99", "percentile99.9"}
    assert printed["candidates"]["int8"]["error"]["cka"] > 0.99
    assert printed["left_out"] == []


def test_card_says_what_the_encoder_costs_and_how_each_source_is_told(exported: Path) -> None:
    card, report = (exported / "card.md").read_text(), json.loads(exported.with_suffix(".json").read_text())
    size = report["size"]
    assert f"The encoder has {size['parameters'] / 1e6:.3f} M parameters" in card
    assert f"{size['multiply_adds'] / 1e6:.1f} M multiply-adds a window of 1 s" in card
    within = next(line for line in card.splitlines() if line.startswith("| cough | own | 18 | 54 |"))
    assert "[" in within
    assert {(one["label"], one["source"]) for one in report["sources"]} == {
        ("cough", "own"),
        ("breath", "own"),
        ("speech", "own"),
    }


def test_card_counts_what_is_told_wrongly_and_what_is_no_label(exported: Path) -> None:
    card, report = (exported / "card.md").read_text(), json.loads(exported.with_suffix(".json").read_text())
    cough = next(one for one in report["failures"]["counts"] if one["label"] == "cough")
    assert f"| cough | {cough['false_alarms']} of 54 | {cough['misses']} of 18 |" in card
    # Twelve knocks were held out to validate and eighteen to test: as many as a label needs, but nobody trained it.
    assert "have as many and were not trained as labels, but heard as what is none of them: door_wood_knock 30." in card
    assert report["never_labels"] == [{"label": "door_wood_knock", "clips": 30, "sources": 30}]


def test_card_names_what_was_tried_and_what_sets_labels_off(exported: Path) -> None:
    card = (exported / "card.md").read_text()
    for text in ("## Failures heard", "## Sounds that are no labels", "| minmax | 7 | none |", "linear CKA"):
        assert text in card


def test_dry_run_says_what_it_would_do_and_writes_nothing(
    checkpoint_path: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(_settings(checkpoint_path, recordings, tmp_path / "a" / "tiny", dry_run=True)) == 0
    printed = capsys.readouterr().out
    for text in ("hears cough, breath, speech", "train 100, validation 48, test 72", "for cpu", "unsigned"):
        assert text in printed
    assert list(tmp_path.iterdir()) == []


def test_golden_windows_are_synthetic_and_the_same_twice() -> None:
    windows = golden_windows(32_000, 16_000)
    assert windows.shape == (10, 32_000)
    np.testing.assert_array_equal(windows, golden_windows(32_000, 16_000))
    levels = np.abs(windows).max(axis=1)
    assert levels.min() == 0.0 and levels.max() > 0.99


def test_creation_time_is_the_checkpoints_or_what_the_environment_says(
    checkpoint_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quantize.checkpoint import load_checkpoint

    os.utime(checkpoint_path, (1_700_000_000, 1_700_000_000))
    assert load_checkpoint(checkpoint_path).created == "2023-11-14T22:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert load_checkpoint(checkpoint_path).created == "2001-09-09T01:46:40Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UserError, match="give whole seconds since 1970"):
        load_checkpoint(checkpoint_path)
