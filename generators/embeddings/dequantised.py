"""Embeddings of ids by their dequantised values, so that near ids have near embeddings."""

import torch
from torch import Tensor, nn

from intaglio.codecs.quantizers.base import Quantizer
from intaglio.generators.embeddings.base import Embedding


class DequantisedEmbedding(Embedding):
    """A linear map of dequantised ids (TokenBridge; Wang et al., 2025).

    Args:
        quantizer: dequantises ids; frozen. Before it is fitted, its values are those of latents
            with mean 0 and standard deviation 1, whatever those of the codec are.
        dim: size of a vector.
    """

    def __init__(self, quantizer: Quantizer, dim: int) -> None:
        super().__init__()
        self.quantizer = quantizer.requires_grad_(False)
        self.vocab = tuple(quantizer.vocab)
        self.width = len(self.vocab)
        self.linear = nn.Linear(quantizer.dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 ids."""
        with torch.no_grad():
            values = self.quantizer.decode_ids(tokens)
        return self.linear(values.to(self.linear.weight.dtype))
