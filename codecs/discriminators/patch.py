"""Discriminator of overlapping patches of an image (PatchGAN; Isola et al., 2017), as VQGAN has it.

Deviation: group normalisation instead of batch normalisation, whose statistics of real and decoded
batches differ and which fails with few items.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.discriminators.base import Discriminator, DiscriminatorOutput


class PatchDiscriminator(Discriminator):
    """Convolutions of 4 × 4 that halve the image; every score depends on a patch.

    Args:
        width: channels of the first layer; each layer doubles them, up to eight times as many.
        layers: layers that halve the image; 3 see patches of 70 pixels.
        groups: of the normalisations.
        channels: of the images.
    """

    def __init__(
        self, width: int = 64, layers: int = 3, *, groups: int = 16, channels: int = 3
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(channels, width, 4, stride=2, padding=1)])
        self.norms = nn.ModuleList([nn.Identity()])
        size = width
        for layer in range(1, layers + 1):
            wider = width * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            self.convs.append(nn.Conv2d(size, wider, 4, stride=stride, padding=1, bias=False))
            self.norms.append(nn.GroupNorm(groups, wider))
            size = wider
        self.head = nn.Conv2d(size, 1, 4, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Score images, [batch, channels, height, width], in [-1, 1]."""
        features = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), 0.2)
            features.append(x)
        return DiscriminatorOutput([self.head(x)], [features])
