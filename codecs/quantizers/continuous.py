"""Continuous bottlenecks: latents that stay as they are, for models of continuous latents.

They keep the contract of quantizers so that a codec trains with either, but have no ids.
"""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from intaglio.codecs.quantizers.base import Quantized, Quantizer


class Normal(NamedTuple):
    """Independent normal distributions.

    Attributes:
        mean: [batch, positions, dim].
        log_variance: the same shape, in [-30, 20].
    """

    mean: Tensor
    log_variance: Tensor

    def sample(self, generator: Generator | None = None) -> Tensor:
        """A draw; of torch's global generator if none is given."""
        if generator is None:
            noise = torch.randn_like(self.mean)
        else:
            noise = torch.randn(self.mean.shape, generator=generator, device=generator.device)
        return self.mean + (self.log_variance / 2).exp() * noise.to(self.mean.device)


class ContinuousBottleneck(Quantizer):
    """Base of bottlenecks without ids: no groups, an empty vocabulary.

    Args:
        dim: size of a latent vector.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.vocab = ()

    def encode_ids(self, latents: Tensor) -> Tensor:
        """No ids: int64 [batch, positions, 0]."""
        return torch.zeros(*latents.shape[:2], 0, dtype=torch.int64, device=latents.device)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Refused.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "a continuous bottleneck has no ids to decode: pass its values to the decoder"
        )


class KLBottleneck(ContinuousBottleneck):
    """Normal distribution of each latent, drawn from in training and its mean otherwise.

    After Kingma and Welling (2014), with the clamps and sums of latent diffusion (Rombach et al.,
    2022). Loss: ``kl``, the divergence from the standard normal in nats, summed over an item and
    averaged over the batch; published weights are around 1e-6.

    Args:
        dim: size of a latent vector; the encoder gives twice that, means first.
    """

    losses = ("kl",)

    @property
    def input_dim(self) -> int:
        """Mean and logarithm of the variance of each latent."""
        return 2 * self.dim

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Draw, or take the means; ``latents`` is [batch, positions, 2 * dim]."""
        with torch.autocast(latents.device.type, enabled=False):
            normal = self.distribution(latents)
            mean, log_variance = normal
            each = (mean.square() + log_variance.exp() - 1 - log_variance) / 2
            counted = each if mask is None else each[mask]
            values = normal.sample() if self.training else mean
        losses = {"kl": counted.sum() / len(latents)}
        return Quantized(values, self.encode_ids(latents), losses, {})

    def distribution(self, latents: Tensor) -> Normal:
        """The normal distributions that an encoder's latents [batch, positions, 2 * dim] name.

        Raises:
            ValueError: latents of another size.
        """
        if latents.shape[-1] != self.input_dim:
            raise ValueError(
                f"means and variances of {self.dim} latents take {self.input_dim} numbers, got "
                f"{latents.shape[-1]}"
            )
        mean, log_variance = latents.float().chunk(2, dim=-1)
        return Normal(mean, log_variance.clamp(-30, 20))


class IdentityBottleneck(ContinuousBottleneck):
    """Latents as they are. No losses."""

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """The latents in float32."""
        return Quantized(latents.float(), self.encode_ids(latents), {}, {})
