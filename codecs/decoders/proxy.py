"""Decoder to the tokens of another codec (TiTok's first stage; Yu et al., 2024).

Predicting another codec's tokens is easier than decoding pixels: it trains a 1-D tokenizer
without an adversary. Later the pixel decoder of that codec is tuned to what the logits expect.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.decoders.base import Decoding, ImageDecoder
from intaglio.codecs.image_codec import ImageCodec


class ProxyDecoder(ImageDecoder):
    """A decoder whose image is logits over a frozen codec's ids. Loss: proxy.

    Args:
        body: decoder to a hidden layer, one pixel for each position of the teacher.
        teacher: codec of one codebook over a grid. Its encoder and quantizer are
            frozen; its decoder learns with the rest, unless a stage freezes it.
        hidden: channels of the hidden layer.

    Raises:
        ValueError: the teacher has more than one codebook.
    """

    losses = ("proxy",)
    takes_prefixes = True

    def __init__(self, body: ImageDecoder, teacher: ImageCodec, *, hidden: int) -> None:
        super().__init__()
        if len(teacher.vocab) != 1 or not teacher.any_size:
            raise ValueError(f"a proxy needs one codebook over a grid, {teacher.name} has not")
        self.dim = body.dim
        self.hop_length = body.hop_length * teacher.hop_length
        self.body = body
        self.teacher = teacher
        self.head = nn.Sequential(nn.Tanh(), nn.Conv2d(hidden, teacher.vocab[0], 1))
        teacher.encoder.requires_grad_(False)
        teacher.quantizer.requires_grad_(False)

    def forward(
        self,
        latents: Tensor,
        mask: Tensor | None = None,
        *,
        grid: tuple[int, int],
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images; see `ImageDecoder`."""
        return self._image(self._logits(latents, mask, grid))

    def learn(
        self, latents: Tensor, target: Tensor, mask: Tensor | None, *, grid: tuple[int, int]
    ) -> Decoding:
        """Decode, and compare the logits with the teacher's ids of the target."""
        logits = self._logits(latents, mask, grid)
        ids = self.teacher.encode(target).ids[..., 0]
        loss = F.cross_entropy(logits.float().flatten(2), ids)
        return Decoding(self._image(logits), {"proxy": loss})

    @property
    def last_weight(self) -> Tensor | None:
        """Of the teacher's decoder."""
        return self.teacher.decoder.last_weight

    def _logits(self, latents: Tensor, mask: Tensor | None, grid: tuple[int, int]) -> Tensor:
        """[batch, codes, rows, columns]."""
        return self.head(self.body(latents, mask, grid=grid))

    def _image(self, logits: Tensor) -> Tensor:
        """The teacher's image of the expected codes."""
        codes = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1)
        table = self.teacher.quantizer.decode_ids(codes)[0]
        shares = logits.float().softmax(1).flatten(2).transpose(1, 2)
        return self.teacher.decoder(shares @ table, grid=(logits.shape[2], logits.shape[3]))
