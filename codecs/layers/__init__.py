"""Layers that encoders and decoders share."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .attention import Attention as Attention
    from .causal_transformer import CausalTransformer as CausalTransformer
    from .causal_transformer import LayerScale as LayerScale
    from .conv1d import Conv1d as Conv1d
    from .conv2d import AdaptiveGroupNorm as AdaptiveGroupNorm
    from .conv2d import Attention2d as Attention2d
    from .conv2d import Downsample2d as Downsample2d
    from .conv2d import GroupNorm2d as GroupNorm2d
    from .conv2d import ResBlock2d as ResBlock2d
    from .conv2d import Upsample2d as Upsample2d
    from .local_attention import LocalAttention as LocalAttention
    from .log_mel import LogMelSpectrogram as LogMelSpectrogram
    from .lstm import ResidualLSTM as ResidualLSTM
    from .memory_transformer import MemoryAttention as MemoryAttention
    from .memory_transformer import MemoryTransformer as MemoryTransformer
    from .noise import NoiseBlock as NoiseBlock
    from .norm import AdaLayerNorm as AdaLayerNorm
    from .norm import GroupNorm1d as GroupNorm1d
    from .position_norm import PositionNorm as PositionNorm
    from .residual1d import SEANetBlock as SEANetBlock
    from .residual1d import SnakeBlock as SnakeBlock
    from .snake import Snake as Snake
    from .stft import STFT as STFT
    from .stft import MelSpectrogram as MelSpectrogram
    from .transformer import Transformer as Transformer
    from .transposed1d import ConvTranspose1d as ConvTranspose1d
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
