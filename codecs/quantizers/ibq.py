"""Index backpropagation quantization (IBQ; Shi et al., 2024): gradients reach every code.

The code of the largest inner product is chosen; the gradient is that of the softmax over all codes,
as if the one-hot choice were it. That keeps codebooks of 262,144 codes of 256 dimensions in use.

Deviations: the one-hot matrix is never formed; values and gradients are those of the formula with
it. Codes start with unit-variance inner products, not with the release's of almost 0.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.distributed import shared_mean
from intaglio.codecs.quantizers.base import Quantized, Quantizer, mean_square
from intaglio.codecs.quantizers.codebook import SCORES_AT_ONCE, nearest
from intaglio.codecs.quantizers.entropy import entropy
from intaglio.codecs.quantizers.usage import perplexity


class IndexBackpropagationQuantizer(Quantizer):
    """One codebook that is selected from by inner product.

    Losses: ``index`` (mean square of values - latents, with the gradient through all codes),
    ``commitment`` (moves latents), ``codebook`` (moves the chosen codes), and ``entropy``:
    token_weight * entropy of a vector's probabilities - batch_weight * entropy of their mean over
    all processes. The release adds them with the weights 1, 1, 0.25 and 0.05.

    Training holds several float32 tensors of batch * positions * codes entries: 16 images of 256
    positions and 262,144 codes are 4 GiB each. Evaluation works in slices of 16 MiB.

    Args:
        dim: size of a latent vector and of a code.
        codebook_size: number of codes.
        temperature: of the probabilities in the entropies; those of the gradient have 1.
        token_weight: of the entropy that is made small.
        batch_weight: of the entropy that is made large.
        log_floor: added to the mean probabilities inside the logarithm of that entropy; the release
            has 1e-5.

    Raises:
        ValueError: a temperature that is not positive.
    """

    losses = ("index", "commitment", "codebook", "entropy")

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        temperature: float = 0.01,
        token_weight: float = 1.0,
        batch_weight: float = 1.0,
        log_floor: float = 0.0,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"a temperature is positive, got {temperature}")
        self.dim = dim
        self.vocab = (codebook_size,)
        self.temperature = temperature
        self.token_weight = token_weight
        self.batch_weight = batch_weight
        self.log_floor = log_floor
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim) * dim**-0.5)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize; in training with the gradient of the softmax over all codes.

        All processes of a training must call this alike; their masks may differ.
        """
        with torch.autocast(latents.device.type, enabled=False):
            inputs = latents.float()
            ids = self._ids(inputs)
            codes = F.embedding(ids, self.codebook)
            values, regular = codes, None
            if self.training:
                scores = inputs @ self.codebook.t()
                expected = scores.softmax(-1) @ self.codebook.detach()
                values = codes + (expected - expected.detach())
                regular = self._entropies(scores.flatten(0, 1) if mask is None else scores[mask])
            kept = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
            vectors, chosen = inputs[kept], codes[kept]
            losses = {
                "index": mean_square(values[kept], vectors),
                "commitment": mean_square(vectors, chosen.detach()),
                "codebook": mean_square(chosen, vectors.detach()),
                "entropy": self._sliced(vectors) if regular is None else regular,
            }
            stats = {"perplexity": perplexity(ids[kept], self.vocab[0])}
        return Quantized(values, ids.unsqueeze(-1), losses, stats)

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, 1]."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._ids(latents.float()).unsqueeze(-1)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, positions, dim]."""
        return F.embedding(ids[..., 0], self.codebook)

    def _ids(self, inputs: Tensor) -> Tensor:
        return nearest(inputs.flatten(0, 1), self.codebook, by_product=True).view(inputs.shape[:2])

    def _entropies(self, scores: Tensor) -> Tensor:
        """The entropy loss of scores [vectors, codes]."""
        return self._loss(self._sums(scores), len(scores))

    @torch.no_grad()
    def _sliced(self, vectors: Tensor) -> Tensor:
        """The entropy loss of vectors [vectors, dim] in bounded memory, without gradients."""
        rows = max(1, SCORES_AT_ONCE // len(self.codebook))
        transposed = self.codebook.t()
        sums = [self._sums(part @ transposed) for part in vectors.split(rows)]
        return self._loss(torch.stack(sums).sum(0), len(vectors))

    def _sums(self, scores: Tensor) -> Tensor:
        """Sums over vectors of the probabilities and, behind them, of their entropies."""
        logarithms = F.log_softmax(scores / self.temperature, dim=-1)
        probabilities = logarithms.exp()
        each = -(probabilities * logarithms).sum()
        return torch.cat([probabilities.sum(0), each.view(1)])

    def _loss(self, sums: Tensor, count: int) -> Tensor:
        means = shared_mean(sums, count, alone=not self.training)
        spread = entropy(means[:-1], self.log_floor).sum()
        return self.token_weight * means[-1] - self.batch_weight * spread
