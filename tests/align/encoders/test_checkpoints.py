"""Published weights: which files load, and what is said of those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from align.encoders import EncoderError, EncoderSpec, build_encoder
from tests.align.encoders import published


def build(name: str, path: Path) -> torch.nn.Module:
    return build_encoder(EncoderSpec(name=name, checkpoint=str(path)))


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    """Weights of OPERA-CE, to be spoilt."""
    return dict(published.tensors("operaCE"))


def test_encoder_of_acula_loads_as_bare_state_dict_also_of_a_wrapped_module(tmp_path: Path) -> None:
    path = tmp_path / "acula_audio_encoder.pt"
    weights = published.tensors("operaGT")
    torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, path)
    encoder = build("opera-gt", path)
    torch.testing.assert_close(encoder.state_dict()["decoder_pred.weight"], weights["decoder_pred.weight"])


def test_training_checkpoint_of_acula_loads(tmp_path: Path) -> None:
    path = tmp_path / "acula_final.pt"
    weights = published.tensors("operaGT")
    torch.save({"epoch": 50, "audio_model_state_dict": weights, "optimizer_state_dict": {"state": {}}}, path)
    torch.testing.assert_close(build("opera-gt", path).state_dict()["mask_token"], weights["mask_token"])


def test_safetensors_load(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "opera.safetensors"
    save_file(tensors, path)
    torch.testing.assert_close(build("opera-ce", path).state_dict()["colours.bias"], tensors["encoder.cnn1.bias"])


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"nowhere\.ckpt: no such file"):
        build("opera-ce", tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize(
    ("family", "checkpoint", "unmatched"),
    [
        ("opera-ce", "operaGT", "no place for blocks.0.attn.proj.bias"),
        ("opera-ct", "operaCE", "no place for encoder.cnn1.bias"),
        ("opera-gt", "operaCT", "no place for encoder.encoder.htsat.bn0.bias"),
    ],
)
def test_checkpoint_of_another_architecture_is_refused(
    family: str, checkpoint: str, unmatched: str, checkpoints: dict[str, Path]
) -> None:
    with pytest.raises(EncoderError, match="another architecture than OPERA-") as caught:
        build(family, checkpoints[checkpoint])
    assert unmatched in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_tensor_is_named(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    del tensors["encoder.efficientnet._blocks.3._bn2.bias"]
    torch.save({"state_dict": tensors}, tmp_path / "spoilt.ckpt")
    with pytest.raises(EncoderError, match=r"OPERA-CE: missing network\.blocks\.2\.0\.bn3\.bias$"):
        build("opera-ce", tmp_path / "spoilt.ckpt")


def test_unknown_tensors_are_named_and_counted(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    tensors |= {"encoder.efficientnet._fc.weight": torch.zeros(2), "middle.weight": torch.zeros(2)}
    torch.save({"state_dict": tensors}, tmp_path / "spoilt.ckpt")
    with pytest.raises(EncoderError, match=r"no place for encoder\.efficientnet\._fc\.weight \(and 1 more\)$"):
        build("opera-ce", tmp_path / "spoilt.ckpt")


def test_tensor_that_a_known_layer_does_not_have_is_named(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    tensors["encoder.efficientnet._bn1.scale"] = torch.ones(1280)
    torch.save(tensors, tmp_path / "spoilt.pt")
    with pytest.raises(EncoderError, match=r"OPERA-CE: nothing here is called network\.bn2\.scale$"):
        build("opera-ce", tmp_path / "spoilt.pt")


def test_misshapen_tensor_is_named_with_both_shapes(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    tensors["g.weight"] = torch.zeros(512, 768)
    torch.save({"state_dict": tensors}, tmp_path / "spoilt.ckpt")
    with pytest.raises(EncoderError, match=r"misshapen cola\.projection\.weight, which is 512x768 and not 512x1280$"):
        build("opera-ce", tmp_path / "spoilt.ckpt")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_file_is_told_in_one_line(share: float, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    whole = checkpoints["operaCE"].read_bytes()
    path = tmp_path / "cut.ckpt"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(EncoderError, match=r"cut\.ckpt: not a whole checkpoint; download it again") as caught:
        build("opera-ce", path)
    assert "\n" not in str(caught.value)


def test_truncated_safetensors_are_told(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(EncoderError, match="not a whole checkpoint"):
        build("opera-ce", path)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code from a checkpoint ran",)


def test_pickled_code_is_not_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "harmful.ckpt"
    torch.save({"state_dict": {}, "callbacks": Harmful()}, path)
    with pytest.raises(EncoderError, match="more than tensors"):
        build("opera-ce", path)
    assert "ran" not in capfd.readouterr().out


@pytest.mark.parametrize("content", [{}, [1, 2], {"state_dict": {}}, {"state_dict": {"cnn1": 3}}])
def test_file_without_tensors_is_told(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(EncoderError, match="holds no table of tensors"):
        build("opera-ce", tmp_path / "other.pt")


def test_page_in_place_of_a_checkpoint_is_told(tmp_path: Path) -> None:
    path = tmp_path / "page.ckpt"
    path.write_text("<html>Not Found</html>\n")
    with pytest.raises(EncoderError, match=r"page\.ckpt: no checkpoint"):
        build("opera-ce", path)
