"""Reconstruct, then match (LM-SPT; Jo et al., 2025): semantic levels from which a recogniser hears
the same.

A light decoder of the loss resynthesises speech from the semantic levels alone, and a frozen
network compares it with the original. Nothing is pooled to the rate of the tokens, as
`FeatureDistillation` has to, so that levels of few positions a second keep what changes faster.
"""

import torch
from torch import Tensor

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.base import AudioDecoder
from intaglio.codecs.layers.log_mel import RATE
from intaglio.codecs.load import load
from intaglio.codecs.losses.base import LatentLoss, ReconstructionLoss
from intaglio.codecs.losses.perceptual import FeatureNetwork
from intaglio.codecs.losses.whisper import at_rate


class ResynthesisLoss(LatentLoss):
    """A distance between the original and what a decoder of its own makes of semantic levels.

    The decoder is trained with the codec and is no part of it: a bundle does not hold it.

    Args:
        decoder: gives waveforms at 16 kHz, light: a strong one makes up what the levels lack.
        loss: distance of waveforms at 16 kHz, such as `DeepFeatureLoss` with a recogniser.
        sample_rate: of the originals.
    """

    semantic = True

    def __init__(
        self, decoder: AudioDecoder, loss: ReconstructionLoss, *, sample_rate: int = RATE
    ) -> None:
        super().__init__()
        self.decoder, self.loss, self.sample_rate = decoder, loss, sample_rate

    def forward(self, latents: Tensor, target: Tensor) -> Tensor:
        """See `LatentLoss`; ``target`` are waveforms [batch, 1, samples].

        Raises:
            ValueError: the decoder is not for latents of this rate.
        """
        target = at_rate(target.detach(), self.sample_rate, RATE)
        output, samples = self.decoder(latents), target.shape[-1]
        if not samples <= output.shape[-1] < samples + self.decoder.hop_length:
            raise ValueError(
                f"the decoder makes {output.shape[-1]} samples of {latents.shape[1]} latents, that "
                f"stand for {samples} at {RATE} Hz: build it for the codec's frame_rate"
            )
        with torch.autocast(target.device.type, enabled=False):
            return self.loss(output[..., :samples].float(), target.float())


class CodecEncoder(FeatureNetwork):
    """Latents of the encoder of a trained codec, before they are quantized.

    Of `s3` or `s3_small` it is the first half of a recogniser, a judge or a teacher of what is
    said.

    Args:
        source: bundle, checkpoint or name of an audio codec.
        sample_rate: of the waveforms; those of another than the codec's are resampled.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is damaged, foreign, or no codec of one channel of sound.
    """

    def __init__(self, source: str, *, sample_rate: int = RATE) -> None:
        super().__init__()
        codec = load(source)
        if not isinstance(codec, AudioCodec) or codec.channels != 1:
            raise ValueError(f"{source} is {codec.name}, no codec of one channel of sound")
        self.encoder = codec.encoder
        self.rates = sample_rate, codec.sample_rate
        self.train(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """One map [batch, dim, positions] of waveforms [batch, 1, samples]."""
        return [self.encoder(at_rate(x, *self.rates)).transpose(1, 2)]
