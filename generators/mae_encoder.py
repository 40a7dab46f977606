"""What known tokens say to one another, before a decoder tells the masked ones from it.

The encoder of a masked autoencoder (He et al., 2022), as MAR has it (Li et al., 2024): it never
computes a masked token. The decoder is the backbone of the generator.
"""

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.part import Part


class MAEEncoder(Part):
    """Normalise known tokens, let them see one another, and set them among mask tokens.

    Items may know different numbers of tokens: the places that an item lacks are seen by none, and
    each comes out as it does alone.

    Args:
        backbone: the transformer; it learns no places of its own.
        positions: tokens of an item.
        prefix: tokens of the condition before them, always known; at least 1.

    Attributes:
        last: a vector of each position, [positions, dim], for what the decoder gives there (the
            published ``diffusion position``).

    Raises:
        ValueError: nothing stands before the tokens.
    """

    def __init__(self, backbone: Transformer, positions: int, *, prefix: int) -> None:
        super().__init__()
        if prefix < 1:
            raise ValueError(f"an encoder of known tokens needs a prefix, got {prefix} tokens")
        dim = backbone.dim
        self.prefix = prefix
        self.input_norm = backbone.norm_like()
        self.backbone = backbone
        self.norm = backbone.norm_like()
        self.projection = nn.Linear(dim, dim)
        self.position_embedding = nn.Parameter(0.02 * torch.randn(prefix + positions, dim))
        self.output_position_embedding = nn.Parameter(0.02 * torch.randn(positions, dim))

    def forward(self, x: Tensor, masked: Tensor, token: Tensor) -> Tensor:
        """What the decoder reads, [batch, prefix + positions, dim].

        Args:
            x: embedded tokens behind the prefix, [batch, prefix + positions, dim]; those that are
                masked have no influence.
            masked: bool [batch, positions].
            token: what stands for a masked token, [dim].
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
        known = self.projection(self.norm(self.backbone(self.input_norm(x.gather(1, index)), mask)))
        spread = known.new_zeros(x.shape).scatter(1, index, known)
        return (
            torch.where(masked.unsqueeze(-1), token.to(known.dtype), spread)
            + self.position_embedding
        )
