"""Read a published model of transformers: its settings, its weights, the settings of its feature extractor.

From a folder without a look at the network, or by a model's id from the hub or its cache. Weights come as safetensors
only, and no code that a model brings with it is run. What is wrong with a model is told in one line, where transformers
warns and goes on with random weights. How a model listens once it is loaded: `align.encoders.listeners`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from align.encoders.errors import EncoderError
from align.encoders.listeners import AstListener, ClapListener, Listener, WaveListener, WhisperListener


@dataclass(frozen=True)
class Architecture:
    """What a type of model is to be loaded and listened with."""

    listener: Callable[[Any, Any, int], Listener]
    """Takes the model, its feature extractor and the length of a clip in samples."""
    extractor: str
    """Class of its feature extractor."""
    part: str = ""
    """The encoder's name in the whole model."""
    agree: tuple[tuple[str, str], ...] = ()
    """Settings of the model and of the extractor that must be the same."""
    idle: tuple[str, ...] = ()
    """Beginnings of the names of weights that no clip passes through."""


_WAVE = Architecture(WaveListener, "Wav2Vec2FeatureExtractor", idle=("masked_spec_embed",))

ARCHITECTURES = {
    "audio-spectrogram-transformer": Architecture(
        AstListener,
        "ASTFeatureExtractor",
        agree=(("num_mel_bins", "num_mel_bins"), ("max_length", "max_length")),
    ),
    "clap": Architecture(
        ClapListener,
        "ClapFeatureExtractor",
        part="audio_model",
        agree=(("num_mel_bins", "feature_size"),),
        # For clips that are longer than the input.
        idle=("audio_encoder.patch_embed.fusion_model", "audio_encoder.patch_embed.mel_conv2d"),
    ),
    "whisper": Architecture(
        WhisperListener, "WhisperFeatureExtractor", part="encoder", agree=(("num_mel_bins", "feature_size"),)
    ),
    "data2vec-audio": _WAVE,
    "hubert": _WAVE,
    "sew": _WAVE,
    "sew-d": _WAVE,
    "unispeech": _WAVE,
    "unispeech-sat": _WAVE,
    "wav2vec2": _WAVE,
    # It has positions of another kind, and builds these nevertheless.
    "wav2vec2-conformer": replace(_WAVE, idle=(*_WAVE.idle, "encoder.pos_conv_embed")),
    "wavlm": _WAVE,
}
"""Model type, as config.json names it, to what it needs."""

# No layer or moment is left out at random: the loss has a mask of its own, and a layer without gradient stops training
# on several GPUs. Adapters shorten the output for a text decoder, and Whisper's decoder is not wanted.
CHANGED_SETTINGS = {
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "add_adapter": False,
    "decoder_layers": 0,
}


@dataclass(frozen=True)
class Published:
    """An encoder with published weights, and what it takes."""

    architecture: Architecture
    model: Any
    """The encoder alone, without a decoder or a text tower."""
    extractor: Any
    """Feature extractor of transformers."""


def load(checkpoint: str) -> Published:
    """Load a folder, or a model by its id.

    Raises:
        EncoderError: there is no such model, it is no audio encoder, or its files cannot be read or do not fit.
    """
    _check_place(checkpoint)
    offline = {"local_files_only": Path(checkpoint).is_dir(), "trust_remote_code": False}
    with _quiet():
        config = _config(checkpoint, offline)
        architecture = ARCHITECTURES[config.model_type]
        model = _model(checkpoint, config, architecture, offline)
        extractor = _extractor(checkpoint, architecture, offline)
    for ours, theirs in architecture.agree:
        if (of_model := getattr(model.config, ours)) != (of_extractor := getattr(extractor, theirs)):
            raise EncoderError(
                f"{checkpoint}: {ours} is {of_model} in config.json, but {theirs} is {of_extractor} in "
                "preprocessor_config.json; they belong to different models"
            )
    for name, weight in model.named_parameters():
        # A weight that asks for a gradient and gets none stops training on several GPUs.
        if name.startswith(architecture.idle):
            weight.requires_grad_(False)
    return Published(architecture, model, extractor)


def _check_place(checkpoint: str) -> None:
    """Tell a folder that is not there or not a model's from an id."""
    folder = Path(checkpoint)
    if not checkpoint:
        raise EncoderError("a transformers encoder needs its checkpoint: a folder or the id of a model")
    if not folder.is_dir():
        if folder.exists():
            raise EncoderError(f"{checkpoint}: is a file; name the folder that save_pretrained wrote")
        if folder.is_absolute() or checkpoint.startswith((".", "~")) or checkpoint.count("/") > 1:
            raise EncoderError(f"{checkpoint}: no such folder")
    elif not (folder / "config.json").is_file():
        raise EncoderError(f"{checkpoint}: no model in this folder (no config.json)")
    elif not any(folder.glob("*.safetensors")):
        raise EncoderError(f"{checkpoint}: no weights in this folder (no model.safetensors; no other format is read)")


def _config(checkpoint: str, offline: dict[str, bool]) -> Any:
    from transformers import AutoConfig

    with _told(checkpoint, "cannot be loaded"):
        config = AutoConfig.from_pretrained(checkpoint, **offline)
    if config.model_type not in ARCHITECTURES:
        raise EncoderError(
            f"{checkpoint}: {config.model_type} is no audio encoder that is known here; known are "
            f"{', '.join(ARCHITECTURES)}"
        )
    for name, value in CHANGED_SETTINGS.items():
        if hasattr(config, name):
            setattr(config, name, value)
    return config


def _model(checkpoint: str, config: Any, architecture: Architecture, offline: dict[str, bool]) -> Any:
    import torch
    from transformers import AutoModel

    with _told(checkpoint, "its weights cannot be loaded"):
        model, report = AutoModel.from_pretrained(
            checkpoint,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            # Refused here instead, where the tensor can be named.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **offline,
        )
    prefix = f"{architecture.part}." if architecture.part else ""
    for name, in_file, in_model in sorted(report["mismatched_keys"]):
        if name.startswith(prefix):
            raise EncoderError(
                f"{checkpoint}: {name} is {tuple(in_file)} in the weights and {tuple(in_model)} by config.json; "
                "they belong to different models"
            )
    if missing := sorted(name for name in report["missing_keys"] if name.startswith(prefix)):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise EncoderError(f"{checkpoint}: the weights lack {missing[0]}{more}; the encoder would be partly random")
    return model.get_submodule(architecture.part)


def _extractor(checkpoint: str, architecture: Architecture, offline: dict[str, bool]) -> Any:
    import transformers

    # Its methods have no types.
    kinds: Any = transformers.AutoFeatureExtractor
    with _told(checkpoint, "no preprocessor_config.json that can be read, which says what audio the model takes"):
        extractor = kinds.from_pretrained(checkpoint, **offline)
    if (kind := type(extractor).__name__) != architecture.extractor:
        raise EncoderError(f"{checkpoint}: preprocessor_config.json is of {kind}, not of {architecture.extractor}")
    return extractor


@contextmanager
def _told(checkpoint: str, problem: str) -> Iterator[None]:
    """Tell in one line whatever transformers raises."""
    try:
        yield
    # Broken files end in errors of json, safetensors, torch, the hub and transformers, which have no common parent.
    except Exception as error:
        raise EncoderError(f"{checkpoint}: {problem} ({' '.join(str(error).split())[:200]})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing its own report of tensors and its progress."""
    import transformers

    logging: Any = transformers.logging
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
