"""Sounds and figures as addresses that hold their bytes, for a page without other files."""

import base64
import io

import soundfile
from torch import Tensor


def flac(wave: Tensor, sample_rate: int) -> bytes:
    """A waveform, float [samples], in [-1, 1], as FLAC of 16 bits."""
    file = io.BytesIO()
    samples = wave.detach().cpu().float().clamp(-1, 1).numpy()
    soundfile.write(file, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def data_address(kind: str, content: bytes) -> str:
    """The ``data:`` address of bytes of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
