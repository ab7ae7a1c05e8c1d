"""Any rate and channel count to mono at the bundle's rate, as a stream: chunked equals whole, bit for bit."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

# The setting of training as well: another quality moves the band edge and with it the scores.
QUALITY = "HQ"


class StreamResampler:
    """Mean over channels, then soxr in its streaming form (delay compensated: input second t is output second t)."""

    def __init__(self, input_rate_hz: int, output_rate_hz: int, channels: int) -> None:
        """Rates in Hz. Raises ValueError for a rate or a channel count below 1."""
        if channels < 1:
            raise ValueError(f"audio needs at least one channel, not {channels}")
        self._channels = channels
        self._stream = (
            soxr.ResampleStream(input_rate_hz, output_rate_hz, 1, dtype="float32", quality=QUALITY)
            if input_rate_hz != output_rate_hz
            else None
        )

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take (frames, channels) float32; return (n,) float32 at the output rate, n >= 0 and varying.

        The result may be a view of the input. Raises ValueError for another number of channels.
        """
        if samples.ndim != 2 or samples.shape[1] != self._channels:
            raise ValueError(f"expected (frames, {self._channels}) samples, got {samples.shape}")
        mono = mix(samples)
        return mono if self._stream is None else self._resample(mono, last=False)

    def flush(self) -> NDArray[np.float32]:
        """End of the stream: the samples still inside the filter."""
        return np.empty(0, np.float32) if self._stream is None else self._resample(np.empty(0, np.float32), last=True)

    def _resample(self, mono: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
        assert self._stream is not None  # noqa: S101 - callers checked
        resampled: NDArray[np.float32] = self._stream.resample_chunk(mono, last=last)
        return resampled


def mix(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over the channels of (frames, channels), as (frames,); a view where there is one channel."""
    channels = samples.shape[1]
    if channels == 1:
        return samples[:, 0]
    # Channel by channel: numpy's own mean picks its order of summation by the array's shape, which would let the chunk
    # size show in the last bit.
    mono = samples[:, 0] + samples[:, 1]
    for channel in range(2, channels):
        mono += samples[:, channel]
    mono *= np.float32(1.0 / channels)
    return mono
