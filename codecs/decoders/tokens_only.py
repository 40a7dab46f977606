"""TokensOnly: stands where a decoder would be in codecs whose tokens are not for waveforms."""

from torch import Tensor

from intaglio.codecs.decoders.base import AudioDecoder


class TokensOnly(AudioDecoder):
    """No decoder: the codec encodes, and decoding is refused in one line.

    Args:
        dim: size of a latent vector.
        hop_length: samples of a latent vector.
    """

    def __init__(self, dim: int, hop_length: int) -> None:
        super().__init__()
        self.dim, self.hop_length = dim, hop_length

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Tensor:
        """Refused.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "this codec only encodes: its tokens tell what is said, not how it sounds, and no "
            "decoder makes waveforms of them"
        )
