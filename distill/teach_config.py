"""Settings of `python -m distill.teach`. Imports neither torch nor Lightning, so that a mistake is told at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from align.encoders import FAMILIES
from align.files import refuse_absent
from align.tasks import Task
from edge.errors import ConfigError
from edge.manifest import FrontEnd
from edge.settings import ProgramSettings

LABEL_NAME = r"^[a-z][a-z0-9_-]*$"


class TeacherSettings(BaseModel):
    """Who teaches: what `align.train` left, or an encoder with published weights as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    aligned: Path | None = Field(None, description="folder that python -m align.train wrote")
    encoder: str = Field("", description="in its place: family of a plain encoder, such as opera-ct or transformers")
    checkpoint: str = Field("", description="plain encoder: its published weights, a file, folder or model's id")
    sample_rate_hz: int = Field(16000, ge=1000, le=48000, description="plain scratch encoder: rate of its audio, Hz")
    clip_s: float = Field(8.18, gt=0, le=60, description="plain encoder: seconds heard at once")
    text_cache: Path = Field(Path("runs/teacher"), description="folder for the language teacher's embeddings")


class ObjectiveWeights(BaseModel):
    """How much each loss counts; 0 leaves it out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cosine: float = Field(1.0, ge=0, description="1 - cosine of the projected embedding and the teacher's")
    smooth_l1: float = Field(0.5, ge=0, description="smooth L1 between the two")
    relational: float = Field(0.5, ge=0, description="difference of the similarities within a batch")
    cka: float = Field(0.0, ge=0, description="1 - debiased CKA of the batch; for batches of 128 or more")
    soft_labels: float = Field(0.5, ge=0, description="probabilities of the teacher's heads")
    hard_labels: float = Field(0.5, ge=0, description="the answers themselves")
    events: float = Field(1.0, ge=0, description="events in time, where their moments are known (with events only)")
    temperature: float = Field(2.0, ge=1, le=20, description="by which logits are divided for the soft labels")


class ViewSettings(BaseModel):
    """How a view differs from its recording; teacher and student hear the same one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(16, ge=1, le=1000, description="different views of each recording; each is made once and kept")
    gain_db: float = Field(10.0, ge=0, le=40, description="louder or quieter by up to so much")
    noise_share: float = Field(0.5, ge=0, le=1, description="share of the views with noise")
    snr_db: tuple[float, float] = Field((5.0, 30.0), description="signal-to-noise ratio of those: lowest, highest, dB")
    tilt_db: float = Field(6.0, ge=0, le=20, description="frequency response: up to so much at each of its corners")
    cache: Path = Field(Path("runs/views"), description="folder for views: log-mel and teacher's embedding")


class TextLabel(BaseModel):
    """A label made of two texts alone, without a recording: nearer to the first, or to the second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=LABEL_NAME, description="of the label")
    positive: str = Field(min_length=1, description="what a report says of a recording that has it")
    negative: str = Field(min_length=1, description="what a report says of one that has it not")
    like: str = Field("", description="the task, if any, whose answers python -m distill.evaluate scores it against")


class TeachSettings(ProgramSettings):
    """Teach a small student what an encoder hears."""

    model_config = SettingsConfigDict(env_prefix="ACULA_TEACH__")

    recordings: Path = Field(description="CSV of recordings: path, group, split and columns of metadata")
    output: Path = Field(description="folder for checkpoints, metrics and plots; a run found there is resumed")
    corpora: tuple[str, ...] = Field((), description="corpora to use (default: all)")
    teacher: TeacherSettings
    events: tuple[str, ...] = Field((), description="events in time that become labels of steps, as of distill.train")
    tasks: tuple[Task, ...] = Field((), description="questions that become labels of the whole window")
    text_labels: tuple[TextLabel, ...] = Field((), description="labels made of texts alone (aligned teacher only)")
    objective: ObjectiveWeights = ObjectiveWeights.model_validate({})
    views: ViewSettings = ViewSettings.model_validate({})
    front_end: FrontEnd = FrontEnd()
    window_s: float = Field(2.0, ge=0.5, le=30, description="seconds heard at once, a multiple of 0.01")
    hop_s: float = Field(0.5, ge=0.1, le=30, description="seconds from one window to the next on the device")
    width: int = Field(32, ge=16, multiple_of=16, description="channels of the first stage")
    depth: int = Field(1, ge=1, le=6, description="residual blocks of each of the first two stages")
    context_blocks: int = Field(3, ge=1, le=6, description="temporal residual blocks, dilated 1, 2, 4, ...")
    form: Literal["dense", "depthwise"] = Field("dense", description="kind of convolutions")
    embedding_size: int = Field(128, ge=16, multiple_of=16, description="numbers of an embedding")
    seed: int = Field(0, ge=0, description="seed of weights, order, views and validation split")
    validation_share: float = Field(0.15, gt=0, lt=0.5, description="share of the training people held out")
    epochs: int = Field(60, ge=1, description="times that every training recording is heard")
    quantise_epochs: int = Field(0, ge=0, description="last epochs that hear themselves in INT8; 0: none")
    batch_size: int = Field(64, ge=4, description="views in a batch")
    learning_rate: float = Field(3e-3, gt=0, lt=1, description="highest learning rate of the one-cycle schedule")
    weight_decay: float = Field(1e-2, ge=0, lt=1, description="of AdamW")
    workers: int = Field(0, ge=0, description="processes that make views; 0: the training process does")


def refuse_misfits(settings: TeachSettings) -> None:
    """Stop if settings do not go together.

    Raises:
        ConfigError: they do not; the message names them.
    """
    for problem in _misfits(settings):
        raise ConfigError(problem)


def _misfits(settings: TeachSettings) -> Iterator[str]:
    yield from filter(None, (_of_teacher(settings), _of_front_end(settings), _of_labels(settings)))
    hop = settings.front_end.hop_samples / settings.front_end.sample_rate_hz
    for name, value in (("window_s", settings.window_s), ("hop_s", settings.hop_s)):
        if abs(value / hop - round(value / hop)) > 1e-6:
            yield f"{name} = {value:g} is no multiple of the front-end's hop, {hop:g} s"
    if settings.front_end.frame_samples > settings.window_s * settings.front_end.sample_rate_hz:
        yield f"window_s = {settings.window_s:g} is shorter than one frame of the front-end"
    if settings.hop_s > settings.window_s:
        yield f"hop_s = {settings.hop_s:g} is longer than window_s = {settings.window_s:g}"
    if settings.quantise_epochs >= settings.epochs:
        yield f"quantise_epochs = {settings.quantise_epochs} must be less than epochs = {settings.epochs}"
    if settings.views.snr_db[0] > settings.views.snr_db[1]:
        yield f"views.snr_db = {list(settings.views.snr_db)}: write the lowest first"


def refuse_missing(settings: TeachSettings) -> None:
    """Stop if what the settings name is not there, before anything slow begins.

    Raises:
        ConfigError: that is so.
    """
    refuse_absent(settings.recordings, "give the CSV that lists the recordings")
    aligned = settings.teacher.aligned
    if aligned is not None and not (aligned / "encoder.safetensors").is_file():
        raise ConfigError(f"{aligned}: holds no encoder.safetensors; give what a finished python -m align.train left")


def _of_teacher(settings: TeachSettings) -> str:
    teacher = settings.teacher
    if (teacher.aligned is None) == (not teacher.encoder):
        return "give one teacher: --teacher.aligned, a folder of align.train, or --teacher.encoder, a family"
    if teacher.encoder and teacher.encoder not in FAMILIES:
        return f"teacher.encoder = {teacher.encoder}: there are {', '.join(FAMILIES)}"
    if settings.text_labels and teacher.aligned is None:
        return "text_labels need --teacher.aligned: a plain encoder knows no texts"
    return ""


def _of_front_end(settings: TeachSettings) -> str:
    front_end = settings.front_end
    if front_end.mel_bands % 16:
        return f"front_end.mel_bands = {front_end.mel_bands} must be a multiple of 16"
    # Four hops are a step of the student, ten milliseconds one of what is known of a recording's moments.
    step, unit = 4 * front_end.hop_samples, front_end.sample_rate_hz / 100
    if settings.events and not (step / unit).is_integer():
        return f"front_end.hop_samples = {front_end.hop_samples}: four hops must be a multiple of 0.01 s for events"
    if not front_end.low_hz < front_end.high_hz <= front_end.sample_rate_hz / 2:
        return f"front_end.high_hz = {front_end.high_hz:g} must lie above low_hz and within half of the sample rate"
    return ""


def _of_labels(settings: TeachSettings) -> str:
    names = [*settings.events, *(task.name for task in settings.tasks), *(text.name for text in settings.text_labels)]
    for name in names:
        if not re.fullmatch(LABEL_NAME, name):
            return f"label '{name}': write small letters, digits, dashes and underscores; it becomes part of topics"
    if len(set(names)) < len(names):
        return f"two of the labels {', '.join(names)} have one name"
    tasks = [task.name for task in settings.tasks]
    for label in settings.text_labels:
        if label.positive.strip() == label.negative.strip():
            return f"text label {label.name}: its two texts are one; write what tells one from the other"
        if label.like and label.like not in tasks:
            return f"text label {label.name}: like = {label.like} is none of the tasks ({', '.join(tasks) or 'none'})"
    if not names:
        return "nothing to say: give [[tasks]], [[text_labels]] or events in the --config file"
    weights = settings.objective
    embedding = weights.cosine or weights.smooth_l1 or weights.relational or weights.cka
    labels = settings.tasks and (weights.soft_labels or weights.hard_labels)
    if not (embedding or labels or (settings.events and weights.events)):
        return "nothing to learn: give [[tasks]], or a weight above 0 to a loss of [objective] that needs none"
    return ""
