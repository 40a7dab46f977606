"""Encoders and decoders of codecs as modules of plain tensors: what an exported graph computes."""

from torch import Tensor, nn

from intaglio.codecs import Codec, ImageCodec
from intaglio.codecs.decoders.convnet2d import ConvDecoder


class EncoderGraph(nn.Module):
    """A signal, float32, to ids, int64 [batch, positions, groups]."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.encoder = codec.encoder
        self.quantizer = codec.quantizer

    def forward(self, x: Tensor) -> Tensor:
        """Ids of a signal."""
        return self.quantizer.encode_ids(self.encoder(x))


class DecoderGraph(nn.Module):
    """Ids, int64 [batch, positions, groups], to waveform, float32 [batch, channels, samples].

    Attributes:
        names: of the inputs.
    """

    names: tuple[str, ...] = ("ids",)

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.quantizer = codec.quantizer
        self.decoder = codec.decoder

    def forward(self, ids: Tensor) -> Tensor:
        """Waveform of ids; positions * hop_length samples."""
        return self.decoder(self.quantizer.decode_ids(ids))


class ImageGraph(DecoderGraph):
    """Ids to images, float32 [batch, 3, height, width], in [-1, 1]."""

    def __init__(self, codec: ImageCodec) -> None:
        super().__init__(codec)
        side = codec.image_size // codec.hop_length
        self.grid = (side, side)

    def forward(self, ids: Tensor) -> Tensor:
        """Images of ids."""
        return self.decoder(self.quantizer.decode_ids(ids), grid=self.grid).clamp(-1, 1)


class PrefixGraph(ImageGraph):
    """As `ImageGraph`, for codecs that were trained to decode any first positions."""

    names = ("ids", "mask")

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Images of those ids whose mask, bool [batch, positions], is True."""
        latents = self.quantizer.decode_ids(ids)
        return self.decoder(latents, mask, grid=self.grid).clamp(-1, 1)


class NoiseGraph(ImageGraph):
    """As `ImageGraph`, for decoders with noise in addition to the latents."""

    names = ("ids", "noise")

    def forward(self, ids: Tensor, noise: Tensor) -> Tensor:  # type: ignore[override]
        """Images of ids and standard normal noise, float32 [1, dim, rows, columns]."""
        latents = self.quantizer.decode_ids(ids)
        return self.decoder(latents, grid=self.grid, noise=noise).clamp(-1, 1)


def has_noise(module: nn.Module) -> bool:
    """Whether a decoder takes noise in addition to the latents."""
    return isinstance(module, ConvDecoder) and module.conv_noise is not None
