"""One hour through a live stream: what the whole signal gives, in memory that does not grow."""

import gc
import math
import random
from pathlib import Path

import pytest
import torch

from intaglio.codecs.audio.mimi import bottleneck_codec

RATE = 1000
HOUR = 3600 * RATE
WARM = HOUR // 12  # five minutes: the window of attention is full, memory has its size
LONGEST = 20 * RATE
MAY_GROW = 4  # MiB, of noise; the states of all chunks would take hundreds
STATUS = Path("/proc/self/status")


@pytest.mark.slow  # half a minute of processor time
@pytest.mark.skipif(not STATUS.exists(), reason="the system does not say how much memory it uses")
def test_an_hour_in_chunks_of_any_size_is_the_whole_in_constant_memory():
    # in 64 bits: sums of another order change no code of so many
    torch.manual_seed(0)
    codec = bottleneck_codec(
        "hour", 3, 16, strides=(4, 10), dim=16, width=2, code=8, depth=2, sample_rate=RATE
    )
    codec.eval().requires_grad_(False)
    codec.encoder.double()
    codec.decoder.double()
    wave = 0.3 * torch.randn(1, 1, HOUR, dtype=torch.float64)
    # filled now, so that what the test keeps does not count as growth
    ids = torch.full((1, HOUR // codec.hop_length, 3), -1)
    decoded = torch.full_like(wave, math.nan)
    draw = random.Random(0)
    start = position = sample = before = 0
    with codec.streaming() as stream:
        while start < HOUR:
            size = int(LONGEST ** draw.random())  # from one sample on, short ones more often
            tokens = stream.encode(wave[..., start : start + size])
            values = stream.decode(tokens).values
            ids[:, position : position + tokens.ids.shape[1]] = tokens.ids
            decoded[..., sample : sample + values.shape[-1]] = values
            start, position, sample = (
                start + size,
                position + tokens.ids.shape[1],
                sample + values.shape[-1],
            )
            if not before and start > WARM:
                before = _memory()
        grown = _memory() - before
    assert (position, sample) == (ids.shape[1], HOUR)
    assert grown < MAY_GROW
    whole = codec.encode(wave)
    assert torch.equal(ids, whole.ids)
    with torch.no_grad():  # codes are 32 bits, which a live stream brings to those of the decoder
        latents = codec.quantizer.decode_ids(whole.ids).double()
        assert (decoded - codec.decoder(latents)).abs().max() < 1e-5


def _memory() -> float:
    """MiB of this process that are in memory."""
    gc.collect()
    [line] = [line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024
