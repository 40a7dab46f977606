"""The encoder of a masked autoencoder (He et al., 2022), as in MAR (Li et al., 2024).

It processes the known tokens only; the decoder, which predicts the masked ones, is the backbone of
the generator.
"""

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.part import Part


class MAEEncoder(Part):
    """Encodes the known tokens and puts them back between mask tokens.

    Items may have different numbers of known tokens: shorter ones are padded, and the padding is
    masked in attention, so that each item is encoded as it would be alone.

    Args:
        transformer: without a position embedding of its own.
        positions: number of tokens of an item.
        prefix: number of condition tokens before them, always known; at least 1.

    Attributes:
        output_position_embedding: added to the decoder's outputs, [positions, dim] (the release's
            ``diffusion_pos_embed_learned``).

    Raises:
        ValueError: there is no prefix.
    """

    def __init__(self, transformer: Transformer, positions: int, *, prefix: int) -> None:
        super().__init__()
        if prefix < 1:
            raise ValueError(f"an encoder of known tokens needs a prefix, got {prefix} tokens")
        dim = transformer.dim
        self.prefix = prefix
        self.input_norm = transformer.norm_like()
        self.transformer = transformer
        self.norm = transformer.norm_like()
        self.projection = nn.Linear(dim, dim)
        self.position_embedding = nn.Parameter(0.02 * torch.randn(prefix + positions, dim))
        self.output_position_embedding = nn.Parameter(0.02 * torch.randn(positions, dim))

    def forward(self, x: Tensor, masked: Tensor, token: Tensor) -> Tensor:
        """Input of the decoder, [batch, prefix + positions, dim].

        Args:
            x: prefix and embedded tokens, [batch, prefix + positions, dim]; masked ones have no
                influence.
            masked: bool [batch, positions].
            token: the mask token, [dim].
        """
        masked = torch.cat([masked.new_zeros(len(masked), self.prefix), masked], dim=1)
        numbers = (~masked).sum(1)
        fewest, most = (int(number) for number in numbers.aminmax())
        # the known tokens of each item first, then as many masked ones as it has fewer of them
        index = masked.to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
        index = index.unsqueeze(-1).expand(-1, -1, x.shape[-1])
        mask = None
        if fewest < most:
            seen = torch.arange(most, device=x.device) < numbers.unsqueeze(1)
            mask = seen[:, None, None].expand(-1, -1, most, -1)
        known = self.projection(
            self.norm(self.transformer(self.input_norm(x.gather(1, index)), mask))
        )
        spread = known.new_zeros(x.shape).scatter(1, index, known)
        return (
            torch.where(masked.unsqueeze(-1), token.to(known.dtype), spread)
            + self.position_embedding
        )
