"""Input of VAR's generator (Tian et al., 2024): the codec's sum over all coarser scales.

The embedding holds the codec's quantizer, so sums and sizes are the codec's. Its weights are saved
with the generator and are not trained.
"""

from typing import Self

from torch import Tensor, nn

from intaglio.codecs.quantizers.base import Quantizer
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.generators.embeddings.base import Embedding


class ScaleEmbedding(Embedding):
    """A linear map of the quantized sum before each scale.

    Args:
        quantizer: of the codec; see `load_codec_weights`.
        dim: size of a vector.
    """

    needs_codec = True

    def __init__(self, quantizer: MultiScaleQuantizer, dim: int) -> None:
        super().__init__()
        self.vocab = quantizer.vocab
        self.width = len(self.vocab)
        self.quantizer = quantizer.eval().requires_grad_(False)
        self.linear = nn.Linear(quantizer.dim, dim)

    def load_codec_weights(self, quantizer: Quantizer) -> None:
        """Load the weights of the codec's quantizer.

        Raises:
            ValueError: the quantizer has other sizes or is of another kind.
        """
        ours = self.quantizer
        if not isinstance(quantizer, MultiScaleQuantizer):
            raise ValueError(f"a multi-scale quantizer is needed, got a {type(quantizer).__name__}")
        theirs = quantizer.scales, quantizer.vocab, quantizer.dim
        if theirs != (ours.scales, ours.vocab, ours.dim):
            raise ValueError(
                f"the codec has scales {theirs[0]}, codes {theirs[1]} of {theirs[2]} numbers; the "
                f"generator {ours.scales}, {ours.vocab} of {ours.dim}; set its quantizer"
            )
        try:
            ours.load_state_dict(quantizer.state_dict())
        except RuntimeError as error:
            raise ValueError(f"the codec's quantizer is of another kind: {error}") from error

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed the cells of the scales after the first.

        Args:
            tokens: int64 [batch, positions, groups], the ids of the first scales, or none.

        Returns:
            [batch, cells of the second scale up to the one after those given, dim].
        """
        if not tokens.shape[1]:
            return self.linear.weight.new_zeros(len(tokens), 0, self.linear.out_features)
        sums = self.quantizer.sums_before(tokens)
        return self.linear(sums.to(self.linear.weight.dtype))

    def train(self, mode: bool = True) -> Self:
        """Train the linear map; the quantizer stays in evaluation mode."""
        super().train(mode)
        self.quantizer.eval()
        return self
