"""Discriminators: real or decoded?"""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Discriminator as Discriminator
    from .base import DiscriminatorOutput as DiscriminatorOutput
    from .combined import CombinedDiscriminator as CombinedDiscriminator
    from .complex_stft import ComplexSTFTDiscriminator as ComplexSTFTDiscriminator
    from .multiscale import MultiScaleDiscriminator as MultiScaleDiscriminator
    from .patch import PatchDiscriminator as PatchDiscriminator
    from .period import MultiPeriodDiscriminator as MultiPeriodDiscriminator
    from .stft import MultiBandDiscriminator as MultiBandDiscriminator
    from .stft import MultiResolutionDiscriminator as MultiResolutionDiscriminator
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
