"""ImageCodec: a codec of images, over a grid of positions or a sequence of them.

A grid codec takes any size that its positions fill. A sequence codec takes the size that it was
trained on. If its decoder takes prefixes, any first positions make a coarser picture (FlexTok;
Bachmann et al., 2025): `encode` keeps as many as asked, and training drops the last ones at random
(nested dropout; Rippel et al., 2014).
"""

import math
from typing import Literal

import torch
from torch import Generator, Tensor

from intaglio.codecs.codec import Codec, Reconstruction
from intaglio.codecs.decoders.base import ImageDecoder
from intaglio.codecs.encoders.base import ImageEncoder
from intaglio.codecs.inputs import check_finite, check_latents, check_range
from intaglio.codecs.quantizers.base import Quantizer
from intaglio.codecs.tokens import Tokens

Grid = tuple[int, int]
Prefixes = Literal["none", "uniform", "powers"]


class ImageCodec(Codec):
    """Codec of images.

    Args:
        encoder: images (or latents of the autoencoder) to latents.
        quantizer: latents to ids.
        decoder: latents to what the encoder takes.
        image_size: height and width of the training images, pixels.
        prefixes: how many first positions each image of a training batch keeps: all (``none``), a
            ``uniform`` number from 1 on, or a power of two, also uniform (``powers``).
        autoencoder: a codec with a continuous bottleneck between the pixels and the rest; frozen.
        latent_scale: factor of the autoencoder's latents that brings them to unit variance.
        name: name of the system.

    Raises:
        ValueError: the parts disagree on latent size or hop length, the decoder takes no prefixes,
            or the image size does not fill whole positions.
    """

    signal = "image"
    encoder: ImageEncoder
    decoder: ImageDecoder

    def __init__(
        self,
        encoder: ImageEncoder,
        quantizer: Quantizer,
        decoder: ImageDecoder,
        *,
        image_size: int,
        prefixes: Prefixes = "none",
        autoencoder: "ImageCodec | None" = None,
        latent_scale: float = 1.0,
        name: str = "image codec",
    ) -> None:
        super().__init__(encoder, quantizer, decoder, name)
        self.image_size = image_size
        self.prefixes = prefixes
        self.latent_scale = latent_scale
        self.autoencoder = autoencoder
        if image_size % self.hop_length:
            raise ValueError(
                f"an image of {image_size} pixels does not fill positions of {self.hop_length}"
            )
        if prefixes != "none" and not self.is_flexible:
            raise ValueError("training with prefixes needs a decoder that takes them")
        if autoencoder is not None:
            autoencoder.requires_grad_(False)

    @property
    def hop_length(self) -> int:
        """Pixels, of each side, that sizes of images must be multiples of."""
        inner = 1 if self.autoencoder is None else self.autoencoder.hop_length
        return self.encoder.hop_length * inner

    @property
    def any_size(self) -> bool:
        """Whether images of other sizes than ``image_size`` can be encoded."""
        return self.encoder.positions is None and not self.quantizer.fixed_positions

    @property
    def is_flexible(self) -> bool:
        """Whether any first positions can be decoded."""
        return self.decoder.takes_prefixes

    @property
    def positions(self) -> int:
        """Positions of an image of the training size."""
        return self.quantizer.positions_of(self._latents_of(self._grid(self.image_size)))

    @property
    def bits(self) -> float:
        """Bits of an image of the training size, without entropy coding."""
        return self.positions * self.bits_per_position

    def forward(self, x: Tensor) -> Reconstruction:
        """Encode, quantize and decode images [batch, 3, height, width] for training."""
        self._check_form(x)
        grid = self._grid(*x.shape[-2:])
        target = x if self.autoencoder is None else self._encoder_input(x)
        quantized = self.quantizer(self.encoder(target))
        mask = None
        if self.training and self.prefixes != "none":
            mask = self._prefix_mask(quantized.values)
        decoded = self.decoder.learn(quantized.values, target, mask, grid=grid)
        values = self._to_pixels(decoded.values)
        return Reconstruction(values, quantized._replace(losses=quantized.losses | decoded.losses))

    def encode(self, x: Tensor, *, positions: int | None = None) -> Tokens:
        """Tokens of a batch of images; an image's tokens do not depend on its neighbours.

        Args:
            x: images, float [batch, 3, height, width], in [-1, 1]; both sides ``image_size`` or, if
                the codec takes `any_size`, multiples of ``hop_length``.
            positions: how many first positions to keep; all of them if None, and of a codec that
                is not flexible.

        Raises:
            ValueError: a wrong shape or dtype, a continuous codec, or a number that does not fit.
        """
        self.check(x)
        if not self.vocab:
            raise ValueError(f"{self.name} is continuous and has no tokens; use `latents`")
        with self.inference():
            ids = self.quantizer.encode_ids(self.encoder(self._encoder_input(x)))
        tokens = self.tokens(ids, self._grid(*x.shape[-2:]))
        return tokens if positions is None else self.first(tokens, positions)

    def decode(self, tokens: Tokens, *, seed: int = 0) -> Tensor:
        """Images of tokens, float [batch, 3, height, width], in [-1, 1].

        Args:
            tokens: of this codec; where the mask is False, ids count for nothing.
            seed: of a generative decoder's noise, which is the same for every item.

        Raises:
            ValueError: the tokens are not of this codec's vocabulary, break their contract, or lack
                positions that the decoder needs.
        """
        self.check_tokens(tokens)
        if not tokens.ids.numel():
            raise ValueError(f"there is nothing to decode in ids of shape {list(tokens.ids.shape)}")
        with self.inference():
            latents = self.quantizer.decode_ids(tokens.ids * tokens.mask.unsqueeze(-1))
            mask = None if bool(tokens.mask.all()) else tokens.mask
            return self.from_latents(latents, mask, grid=tokens.grid, seed=seed)

    def latents(self, x: Tensor) -> Tensor:
        """Latents, float32 [batch, positions, dim], as the quantizer lets them through, of images.

        For a continuous bottleneck the mean. Raises as `encode`.
        """
        self.check(x)
        return self._latents(x)

    def _latents(self, x: Tensor) -> Tensor:
        """`latents` of images that may hold anything: a bad batch of a training is skipped."""
        with self.inference():
            return self.quantizer(self.encoder(self._encoder_input(x))).values

    def from_latents(
        self,
        latents: Tensor,
        mask: Tensor | None = None,
        *,
        grid: Grid | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Images, as `decode` gives them, of latents [batch, positions, dim].

        Args:
            latents: as `latents` gives them.
            mask: bool [batch, positions]: which of them count; all if None.
            grid: rows and columns; those of ``image_size`` if None.
            seed: as in `decode`.

        Raises:
            ValueError: some are masked, and the codec is not flexible.
        """
        check_latents(latents, self.name, self.quantizer.dim, mask=mask)
        if mask is not None and not self.is_flexible and not bool(mask.all()):
            raise ValueError(f"{self.name} decodes all positions; some of them are masked")
        grid = grid or self._grid(self.image_size)
        generator = Generator().manual_seed(seed)
        with self.inference():
            values = self.decoder(latents, mask, grid=grid, generator=generator)
            return self._to_pixels(values).clamp(-1, 1)

    def first(self, tokens: Tokens, positions: int) -> Tokens:
        """Tokens of which only the first positions count.

        Raises:
            ValueError: the codec cannot decode prefixes, or not of this length.
        """
        count = tokens.ids.shape[1]
        if not (1 if self.is_flexible else count) <= positions <= count:
            reach = f"1 to {count}" if self.is_flexible else f"all {count}"
            raise ValueError(f"{self.name} decodes {reach} positions, not {positions}")
        mask = tokens.mask & (torch.arange(count, device=tokens.ids.device) < positions)
        return tokens._replace(ids=tokens.ids * mask.unsqueeze(-1), mask=mask)

    def tokens(self, ids: Tensor, grid: Grid | None = None) -> Tokens:
        """Tokens of ids [batch, positions, groups]; of ``image_size`` if there is no grid.

        Fewer positions than the codec has are the first ones; the others do not count.
        """
        grid = grid or self._grid(self.image_size)
        count = self.quantizer.positions_of(self._latents_of(grid))
        mask = torch.ones(ids.shape[:2], dtype=torch.bool, device=ids.device)
        if ids.shape[1] < count and self.is_flexible:
            missing = count - ids.shape[1]
            ids = torch.nn.functional.pad(ids, (0, 0, 0, missing))
            mask = torch.nn.functional.pad(mask, (0, missing))
        return Tokens(ids, mask, self.vocab, grid=grid if self.any_size else None)

    def _check_form(self, x: Tensor) -> None:
        expected = f"{self.name} takes floating-point images [batch, 3, height, width]"
        self._check_signals(x, expected, (None, 3, None, None))

    def check(self, x: Tensor) -> None:
        """Raise ValueError if images are not what `encode` takes."""
        self._check_form(x)
        if x.shape[0] == 0:
            raise ValueError(f"{self.name} takes at least one image, got {list(x.shape)}")
        check_finite(x, f"{self.name} takes images")
        check_range(x, f"{self.name} takes images")
        height, width = x.shape[-2:]
        whole = height % self.hop_length == width % self.hop_length == 0
        if self.any_size and min(height, width) > 0 and whole:
            return
        if (height, width) != (self.image_size, self.image_size):
            wanted = f"{self.image_size} x {self.image_size} pixels"
            if self.any_size:
                wanted = f"sides that are multiples of {self.hop_length} pixels"
            raise ValueError(f"{self.name} takes {wanted}, got {height} x {width}")

    def check_tokens(self, tokens: Tokens) -> None:
        """Raise ValueError if this codec cannot decode the tokens."""
        self._check_record(tokens)
        if not self.vocab:
            raise ValueError(f"{self.name} is continuous and decodes latents, no tokens")
        if tokens.vocab != self.vocab:
            raise ValueError(f"tokens of vocabulary {tokens.vocab}, the codec has {self.vocab}")
        grid = tokens.grid or self._grid(self.image_size)
        if min(grid) < 1 or (tokens.grid is not None and not self.any_size):
            raise ValueError(f"{self.name} cannot decode a grid of {grid[0]} x {grid[1]}")
        count = self.quantizer.positions_of(self._latents_of(grid))
        if tokens.ids.shape[1] != count:
            raise ValueError(f"{tokens.ids.shape[1]} positions, {self.name} has {count}")
        if not self.is_flexible and not bool(tokens.mask.all()):
            raise ValueError(f"{self.name} decodes all positions; some of them are masked")
        if not bool(tokens.mask[:, 0].all()):
            raise ValueError("an item without its first position cannot be decoded")

    def _grid(self, height: int, width: int | None = None) -> Grid:
        """Rows and columns of the encoder's input patches."""
        return height // self.hop_length, (height if width is None else width) // self.hop_length

    def _latents_of(self, grid: Grid) -> int:
        return math.prod(grid) if self.encoder.positions is None else self.encoder.positions

    def _encoder_input(self, x: Tensor) -> Tensor:
        """What the encoder takes: pixels, or the autoencoder's latents as a map."""
        if self.autoencoder is None:
            return x
        latents = self.autoencoder._latents(x) * self.latent_scale
        rows, columns = (side // self.autoencoder.hop_length for side in x.shape[-2:])
        return latents.transpose(1, 2).unflatten(2, (rows, columns))

    def _to_pixels(self, values: Tensor) -> Tensor:
        if self.autoencoder is None:
            return values
        grid = (values.shape[2], values.shape[3])
        latents = values.flatten(2).transpose(1, 2) / self.latent_scale
        return self.autoencoder.decoder(latents, grid=grid)

    def _prefix_mask(self, latents: Tensor) -> Tensor:
        """Which positions each item of a training batch keeps, bool [batch, positions]."""
        batch, count = latents.shape[:2]
        if self.prefixes == "uniform":
            kept = torch.randint(1, count + 1, (batch,))
        else:
            powers = 1 << torch.arange(count.bit_length())
            choices = torch.cat([powers[powers < count], torch.tensor([count])])
            kept = choices[torch.randint(len(choices), (batch,))]
        return torch.arange(count, device=latents.device) < kept.to(latents.device).unsqueeze(1)
