"""A finished bundle is tuned anew: what changes, what must not, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.backends import open_backend
from edge.bundle import check_golden, load_bundle
from edge.errors import UserError
from quantize.config import ExportSettings, TuneSettings
from quantize.exporter import export
from quantize.retuning import tune


@pytest.fixture(scope="module")
def exported(checkpoint_path: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("exported") / "tiny"
    fields: dict[str, Any] = {"calibration_windows": 300, "bootstrap_rounds": 100, "scenes": 1, "precision": "float32"}
    assert (
        export(ExportSettings(checkpoint=checkpoint_path, recordings=recordings, name="tiny", output=output, **fields))
        == 0
    )
    return output


def _settings(bundle: Path, recordings: Path, output: Path, **others: Any) -> TuneSettings:
    fields = {"version": "0.2.0", "validation_share": 0.3, "seed": 0, "scenes": 1, "bootstrap_rounds": 100, **others}
    return TuneSettings(bundle=bundle, recordings=recordings, output=output, **fields)


def test_tuned_bundle_has_its_models_and_other_labels_as_they_were(
    exported: Path, recordings: Path, tmp_path: Path
) -> None:
    output = tmp_path / "tuned"
    settings = _settings(exported, recordings, output, labels=("breath",), masked_by={"breath": ("speech",)})
    assert tune(settings) == 0
    before, after = (load_bundle(folder, allow_unsigned=True) for folder in (exported, output))
    check_golden(after, open_backend(after))
    for name in ("encoder.onnx", "frontend.onnx", "golden.npz"):
        assert after.manifest.files[name] == before.manifest.files[name]
    assert after.manifest.version == "0.2.0"
    points = [{label.name: label for label in bundle.manifest.labels} for bundle in (before, after)]
    assert points[1]["cough"] == points[0]["cough"]
    assert points[1]["breath"].masked_by == ("speech",)
    names = [metric.name for metric in after.manifest.metrics]
    assert {"auroc_breath", "auroc_drop_breath", "event_f1_cough"} <= set(names)
    assert len(set(names)) == len(names)


def test_card_of_a_tuned_bundle_has_each_section_once(exported: Path, recordings: Path, tmp_path: Path) -> None:
    output = tmp_path / "tuned"
    assert tune(_settings(exported, recordings, output, masked_by={"breath": ("cough", "speech")})) == 0
    cards = [(folder / "card.md").read_text(encoding="utf-8") for folder in (exported, output)]
    titles = [[line for line in card.splitlines() if line.startswith("## ")] for card in cards]
    assert sorted(titles[1]) == sorted(titles[0])
    assert cards[1].startswith("# tiny 0.2.0\n")
    assert "breath counts for as much as cough and speech leave of it" in cards[1]


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"labels": ("sneeze",)}, "has no sneeze"),
        ({"masked_by": {"breath": ("breath",)}}, "masked_by"),
        ({"masked_by": {"sneeze": ("cough",)}}, "masked_by"),
        ({"bundle": Path("nowhere")}, "nowhere"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(
    exported: Path, recordings: Path, tmp_path: Path, others: dict[str, Any], told: str
) -> None:
    output = tmp_path / "tuned"
    fields = {"bundle": exported, **others}
    with pytest.raises(UserError, match=told) as caught:
        tune(_settings(fields.pop("bundle"), recordings, output, **fields))
    assert "\n" not in str(caught.value)
    assert not output.exists()
