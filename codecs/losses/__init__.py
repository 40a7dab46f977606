"""Losses of codec training."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .adversarial import HingeLoss as HingeLoss
    from .adversarial import LeastSquaresLoss as LeastSquaresLoss
    from .adversarial import MixedLoss as MixedLoss
    from .adversarial import NonSaturatingLoss as NonSaturatingLoss
    from .adversary import Adversary as Adversary
    from .balancer import Balancer as Balancer
    from .base import AdversarialLoss as AdversarialLoss
    from .base import LatentLoss as LatentLoss
    from .base import ReconstructionLoss as ReconstructionLoss
    from .distillation import FeatureDistillation as FeatureDistillation
    from .intelligibility import STOILoss as STOILoss
    from .lecam import LeCam as LeCam
    from .lpips import LPIPS as LPIPS
    from .lpips import VGG16 as VGG16
    from .matching import FeatureMatchingLoss as FeatureMatchingLoss
    from .mel import MelLoss as MelLoss
    from .mel import MultiScaleMelLoss as MultiScaleMelLoss
    from .perceptual import EfficientNetLite as EfficientNetLite
    from .perceptual import FeatureNetwork as FeatureNetwork
    from .perceptual import PerceptualLoss as PerceptualLoss
    from .pixel import PixelLoss as PixelLoss
    from .pixel import SSIMLoss as SSIMLoss
    from .quality import PESQLoss as PESQLoss
    from .resynthesis import CodecEncoder as CodecEncoder
    from .resynthesis import ResynthesisLoss as ResynthesisLoss
    from .stft import MultiScaleSTFTLoss as MultiScaleSTFTLoss
    from .waveform import WaveformLoss as WaveformLoss
    from .whisper import DeepFeatureLoss as DeepFeatureLoss
    from .whisper import WhisperEncoder as WhisperEncoder
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
