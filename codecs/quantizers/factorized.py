"""Factorized vector quantization: lookup by direction in a small space (DAC, 2023).

After Yu et al. (2022) and Kumar et al. (2023): two linear layers lead to a space of a few
dimensions and back; the nearest direction is chosen, and the code itself, not its direction, goes
on. The codebook learns by gradient. With a stride it is SNAC's (Siuzdak et al., 2024), which pools
latents over time.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from intaglio.codecs.quantizers.base import Quantized, Quantizer, mean_square, straight_through
from intaglio.codecs.quantizers.codebook import nearest
from intaglio.codecs.quantizers.usage import perplexity


class FactorizedVectorQuantizer(Quantizer):
    """One codebook. Losses: commitment, codebook.

    Args:
        dim: size of a latent vector.
        codebook_size: number of codes.
        codebook_dim: size of a code.
        stride: latents that share a code: their mean is quantized, and all get its value.
    """

    losses = ("commitment", "codebook")

    def __init__(
        self, dim: int, codebook_size: int = 1024, *, codebook_dim: int = 8, stride: int = 1
    ) -> None:
        super().__init__()
        self.dim = dim
        self.vocab = (codebook_size,)
        self.stride = stride
        self.project_in = weight_norm(nn.Linear(dim, codebook_dim))
        self.project_out = weight_norm(nn.Linear(codebook_dim, dim))
        self.codebook = nn.Parameter(torch.randn(codebook_size, codebook_dim))

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize; the gradient passes straight through, between the two linear layers."""
        with torch.autocast(latents.device.type, enabled=False):
            inputs = self._inputs(latents)
            ids = self._nearest(inputs)
            codes = F.embedding(ids, self.codebook)
            values = self._outputs(straight_through(inputs, codes))
            kept = slice(None) if mask is None else mask[:, :: self.stride]
            inputs, codes = inputs[kept], codes[kept]
            losses = {
                "commitment": mean_square(inputs, codes.detach()),
                "codebook": mean_square(codes, inputs.detach()),
            }
            stats = {"perplexity": perplexity(ids[kept], self.vocab[0])}
        return Quantized(values, ids.unsqueeze(-1), losses, stats)

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, 1]."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._nearest(self._inputs(latents)).unsqueeze(-1)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, positions * stride, dim]."""
        with torch.autocast(ids.device.type, enabled=False):
            return self._outputs(F.embedding(ids[..., 0], self.codebook))

    def _inputs(self, latents: Tensor) -> Tensor:
        """The means of ``stride`` latents in the small space."""
        pooled = latents.float()
        if self.stride > 1:
            pooled = pooled.unflatten(1, (-1, self.stride)).mean(2)
        return self.project_in(pooled)

    def _nearest(self, inputs: Tensor) -> Tensor:
        directions = F.normalize(inputs, dim=-1).flatten(0, 1)
        return nearest(directions, F.normalize(self.codebook, dim=-1)).view(inputs.shape[:2])

    def _outputs(self, codes: Tensor) -> Tensor:
        values = self.project_out(codes)
        return values.repeat_interleave(self.stride, dim=1) if self.stride > 1 else values
