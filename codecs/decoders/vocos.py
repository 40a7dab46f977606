"""Vocos-type decoder with attention: WavTokenizer's (Ji et al., 2025) on Vocos' (Siuzdak, 2023).

Everything runs at the frame rate: a few residual blocks around one self-attention over the whole
sequence, a stack of ConvNeXt blocks (Liu et al., 2022), and an ISTFT head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.decoders.base import AudioDecoder
from intaglio.codecs.decoders.istft import ISTFTHead
from intaglio.codecs.layers.conv1d import Conv1d
from intaglio.codecs.layers.norm import AdaLayerNorm, GroupNorm1d
from intaglio.codecs.streaming.state import State


class VocosDecoder(AudioDecoder):
    """Latents to a mono waveform.

    Args:
        dim: size of a latent vector.
        width: channels of all blocks; a multiple of 32.
        intermediate: hidden size of a ConvNeXt block.
        num_layers: number of ConvNeXt blocks.
        hop_length: samples per position.
        n_fft: samples of the ISTFT's frames.
        attention: whether to begin with the residual blocks and the self-attention.
        conditions: conditions of the layer normalisations. The published WavTokenizer has 4 that
            mean nothing: one is drawn in each training step, the first is used otherwise.
        dropout: of the residual blocks.
        causal: whether convolutions see no later frames, so that it can be streamed; the inverse
            transform then holds back (n_fft - hop_length) / 2 samples.

    Raises:
        ValueError: a causal decoder with attention to the whole sequence.
    """

    def __init__(
        self,
        dim: int = 512,
        width: int = 768,
        *,
        intermediate: int = 2304,
        num_layers: int = 12,
        hop_length: int = 320,
        n_fft: int = 1280,
        attention: bool = True,
        conditions: int = 1,
        dropout: float = 0.1,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if causal and attention:
            raise ValueError("a causal Vocos decoder needs attention=False")
        self.dim = dim
        self.hop_length = hop_length
        self.conditions = conditions
        self.causal = causal
        self.embed = _convolution(dim, width, causal=causal)
        self.context = Context(width, dropout) if attention else None
        self.norm = AdaLayerNorm(width, conditions)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(width, intermediate, conditions, 1 / num_layers, causal=causal)
            for _ in range(num_layers)
        )
        self.final_norm = nn.LayerNorm(width, eps=1e-6)
        self.head = ISTFTHead(width, n_fft, hop_length)
        self.delay = self.head.delay
        self.apply(_initialise)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Tensor:
        """Waveform [batch, 1, positions * hop_length] of latents [batch, positions, dim]."""
        condition = 0
        if self.training and self.conditions > 1:
            condition = int(torch.randint(self.conditions, ()))
        x = self.embed(_masked(latents.transpose(1, 2), mask))
        if self.context is not None:
            x = self.context(x, mask)
        x = self.norm(x.transpose(1, 2), condition)
        for block in self.blocks:
            x = block(x, condition, mask)
        return self.head(self.final_norm(x), mask)

    def rest(self, state: State) -> Tensor:
        """The samples that the head holds back."""
        return self.head.rest({key: state[f"head.{key}"] for key in self.head.start(1)})


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, normalisation and a two-layer perceptron with a scaled skip."""

    def __init__(
        self,
        width: int,
        intermediate: int,
        conditions: int,
        scale: float,
        *,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.depthwise = _convolution(width, width, groups=width, causal=causal)
        self.norm = AdaLayerNorm(width, conditions)
        self.expand = nn.Linear(width, intermediate)
        self.reduce = nn.Linear(intermediate, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor, condition: int = 0, mask: Tensor | None = None) -> Tensor:
        """[batch, time, width] → the same shape."""
        y = self.depthwise(_masked(x.transpose(1, 2), mask)).transpose(1, 2)
        y = self.reduce(F.gelu(self.expand(self.norm(y, condition))))
        return x + self.scale * y


class Context(nn.Module):
    """Two residual blocks, self-attention, two residual blocks, normalisation."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.before = nn.ModuleList(ResidualBlock(width, dropout) for _ in range(2))
        self.attention = FrameAttention(width)
        self.after = nn.ModuleList(ResidualBlock(width, dropout) for _ in range(2))
        self.norm = GroupNorm1d(32, width, eps=1e-6)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, width, time] → the same shape."""
        for block in self.before:
            x = block(x, mask)
        x = self.attention(x, mask)
        for block in self.after:
            x = block(x, mask)
        return self.norm(x, mask)


class ResidualBlock(nn.Module):
    """Twice group normalisation, SiLU and a convolution of 3 taps, added to the input."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(GroupNorm1d(32, width, eps=1e-6) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, width, time] → the same shape."""
        y = self.convs[0](_masked(F.silu(self.norms[0](x, mask)), mask))
        y = self.dropout(F.silu(self.norms[1](y, mask)))
        return x + self.convs[1](_masked(y, mask))


class FrameAttention(nn.Module):
    """Self-attention with one head over the whole sequence, added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = GroupNorm1d(32, width, eps=1e-6)
        self.project_in = nn.Conv1d(width, 3 * width, 1)
        self.project_out = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, width, time] → the same shape."""
        query, key, value = (
            self.project_in(self.norm(x, mask)).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        )
        keys = None if mask is None else mask[:, None, None, :]
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=keys)
        return x + self.project_out(y.squeeze(1).transpose(1, 2))


def _convolution(dim: int, width: int, *, groups: int = 1, causal: bool) -> nn.Module:
    """A convolution of 7 taps, with zeros at the borders."""
    if causal:
        return Conv1d(dim, width, 7, groups=groups, causal=True, pad_mode="constant", norm="none")
    return nn.Conv1d(dim, width, 7, padding=3, groups=groups)


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """``x`` [batch, channels, time] with zeros where ``mask`` [batch, time] is False."""
    return x if mask is None else x * mask.unsqueeze(1)


def _initialise(module: nn.Module) -> None:
    """Vocos' initialisation: normal weights of standard deviation 0.02, cut at 2, and zero bias."""
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
