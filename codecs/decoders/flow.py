"""Rectified-flow decoder (FlexTok; Bachmann et al., 2025): noise to an image, given latents.

Latents and patches of the noisy image go through one transformer with full attention. Latents that
do not count are replaced by one learned vector; with all of them replaced by another, the decoder
models images without a condition, which guidance needs.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.decoders.base import Decoding, ImageDecoder
from intaglio.codecs.layers.flow import logit_normal, on_path, projected_guidance
from intaglio.codecs.layers.positions import sine_grid, sine_time
from intaglio.codecs.layers.solver import euler
from intaglio.codecs.layers.transformer import Modulation, Transformer, modulated

WAVES = 256  # sines and cosines of the time


class FlowDecoder(ImageDecoder):
    """Velocity of a noisy image conditioned on latents. Loss: flow.

    Args:
        dim: size of a latent vector.
        trunk: transformer of two streams: patches, then latents.
        positions: number of latents.
        patch: side of a patch.
        grid: rows and columns of patches.
        channels: of the image, or of an autoencoder's latents.
        drop: share of the items of a training batch that learn without any latents.
        steps: Euler steps of decoding.
        guidance: scale of the guidance in decoding; 1 for none, which halves the work.

    Raises:
        ValueError: the trunk has not two streams.
    """

    losses = ("flow",)
    takes_prefixes = True
    sines: Tensor
    latent_sines: Tensor

    def __init__(
        self,
        dim: int,
        trunk: Transformer,
        positions: int,
        *,
        patch: int = 2,
        grid: int = 16,
        channels: int = 16,
        drop: float = 0.2,
        steps: int = 25,
        guidance: float = 7.5,
    ) -> None:
        super().__init__()
        if trunk.streams != 2:
            raise ValueError(f"a flow decoder's trunk has 2 streams, not {trunk.streams}")
        self.dim = dim
        self.hop_length = patch
        self.trunk = trunk
        self.grid, self.positions, self.channels = grid, positions, channels
        self.drop, self.steps, self.guidance = drop, steps, guidance
        width = trunk.dim
        self.embed_latents = nn.Linear(dim, width)
        self.embed_patches = nn.Linear(patch**2 * channels, width)
        self.time = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.missing = nn.Parameter(0.02 * torch.randn(width))
        self.nothing = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("sines", sine_grid(grid, grid, width), persistent=False)
        self.register_buffer("latent_sines", sine_grid(positions, 1, width), persistent=False)
        self.last = Modulation(width, 2, 1)
        self.head = nn.Linear(width, patch**2 * channels)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        latents: Tensor,
        mask: Tensor | None = None,
        *,
        grid: tuple[int, int],
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images; see `ImageDecoder`."""
        generator = generator or torch.Generator().manual_seed(0)
        side = self.grid * self.hop_length
        noise = torch.randn(1, self.channels, side, side, generator=generator)
        noise = noise.to(latents).expand(len(latents), -1, -1, -1)
        given = self._embed(latents, mask)
        unconditional = self.nothing.expand_as(given)

        def velocity(x: Tensor, time: Tensor) -> Tensor:
            guided = self._velocity(x, time, given)
            if self.guidance == 1:
                return guided
            free = self._velocity(x, time, unconditional)
            return projected_guidance(guided, free, scale=self.guidance)

        return euler(velocity, noise, self.steps)

    def learn(
        self, latents: Tensor, target: Tensor, mask: Tensor | None, *, grid: tuple[int, int]
    ) -> Decoding:
        """Velocity at a random time of the path to the target; the values are where it leads."""
        given = self._embed(latents, mask)
        dropped = torch.rand(len(given), 1, 1, device=given.device) < self.drop
        given = torch.where(dropped, self.nothing, given)
        time = logit_normal(len(target), target.device)
        noise = torch.randn_like(target)
        x = on_path(target, noise, time)
        velocity = self._velocity(x, time, given)
        loss = F.mse_loss(velocity.float(), (noise - target).float())
        return Decoding(x - time.view(-1, 1, 1, 1) * velocity, {"flow": loss})

    def _embed(self, latents: Tensor, mask: Tensor | None) -> Tensor:
        """Tokens of the latents in the trunk, [batch, positions, width]."""
        given = self.embed_latents(latents) + self.latent_sines
        return given if mask is None else torch.where(mask.unsqueeze(-1), given, self.missing)

    def _velocity(self, x: Tensor, time: Tensor, given: Tensor) -> Tensor:
        """Of points [batch, channels, height, width] of the path, the same shape."""
        size = self.hop_length
        patches = rearrange(x, "b c (h i) (w j) -> b (h w) (i j c)", i=size, j=size)
        tokens = torch.cat([self.embed_patches(patches) + self.sines, given], dim=1)
        condition = self.time(sine_time(time, WAVES).to(x.dtype))
        sizes = (len(self.sines), self.positions)
        tokens = self.trunk(tokens, condition=condition, sizes=sizes)[:, : sizes[0]]
        scale, shift = self.last(condition, sizes[:1])
        normal = F.layer_norm(tokens, tokens.shape[-1:])
        patches = self.head(modulated(normal, scale, shift))
        return rearrange(patches, "b (h w) (i j c) -> b c (h i) (w j)", h=self.grid, i=size, j=size)
