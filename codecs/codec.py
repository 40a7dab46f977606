"""Codec: an encoder, a quantizer and a decoder, and the contract that every codec keeps.

A codec is a plain module: it loads, runs and exports without Lightning. `CodecTask` trains it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from intaglio.codecs.bundle import fingerprint
from intaglio.codecs.decoders.base import Decoder
from intaglio.codecs.encoders.base import Encoder
from intaglio.codecs.inputs import check_like, check_tensor, described, recording
from intaglio.codecs.part import Part, describe
from intaglio.codecs.quantizers.base import Quantized, Quantizer
from intaglio.codecs.tokens import Tokens

# Names that several parts give to their losses. A recipe may weight them whatever the parts of its
# codec, so that a quantizer or decoder can be exchanged on the command line.
COMMON_LOSSES = frozenset({"commitment", "codebook", "entropy", "kl", "flow", "proxy"})


class Reconstruction(NamedTuple):
    """A signal after encoding, quantizing and decoding, with what the quantizer gave."""

    values: Tensor
    quantized: Quantized


class Hashed(NamedTuple):
    """A fingerprint, and all that it was computed from.

    Attributes:
        recipe: constructor arguments.
        tensors: parameters and buffers. They are held, so that no other tensor takes their address.
        versions: address, number of changes in place and sum of the bits of each of them; fused
            optimizers and changes through ``.data`` are not counted.
        fingerprint: the hash of all this.
    """

    recipe: dict[str, Any]
    tensors: list[Tensor]
    versions: list[tuple[int, int, int]]
    fingerprint: str

    def holds(self, other: "Hashed") -> bool:
        """Whether nothing has changed: the same arguments and tensors, changed as often."""
        return (
            self.recipe == other.recipe
            and self.versions == other.versions
            and all(a is b for a, b in zip(self.tensors, other.tensors, strict=True))
        )


def _sum_of_bits(tensor: Tensor) -> Tensor:
    """Of a tensor's elements as integers, modulo a power of 2 that depends on their size."""
    kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return tensor.detach().contiguous().view(-1).view(kind).sum(dtype=kind).long()


class Codec(Part):
    """Base of all codecs: encoder → quantizer → decoder.

    Attributes:
        name: name of the system, for people; `fingerprint` is what tells codecs apart.
        signal: what it codes, and the name of it in training batches: "wave" or "image".
    """

    signal: str

    def __init__(self, encoder: Encoder, quantizer: Quantizer, decoder: Decoder, name: str) -> None:
        """Compose a codec of its three parts.

        Raises:
            ValueError: the parts disagree on the latent size or the hop length.
        """
        super().__init__()
        if (encoder.dim, decoder.dim) != (quantizer.input_dim, quantizer.dim):
            raise ValueError(
                f"latent sizes differ: encoder {encoder.dim}, quantizer {quantizer.input_dim} to "
                f"{quantizer.dim}, decoder {decoder.dim}"
            )
        if encoder.hop_length != decoder.hop_length:
            raise ValueError(
                f"hop lengths differ: encoder {encoder.hop_length}, decoder {decoder.hop_length}"
            )
        self.encoder = encoder
        self.quantizer = quantizer
        self.decoder = decoder
        self.name = name
        self._hashed: Hashed | None = None

    @property
    def vocab(self) -> tuple[int, ...]:
        """Codebook size of each group of ids."""
        return self.quantizer.vocab

    @property
    def losses(self) -> set[str]:
        """Names of the losses that the quantizer and the decoder, at any depth, add in training."""
        parts = (part for part in self.modules() if isinstance(part, Quantizer | Decoder))
        return {name for part in parts for name in part.losses}

    @property
    def bits_per_position(self) -> float:
        """Bits that one position of the token sequence carries."""
        return sum(math.log2(size) for size in self.vocab)

    @property
    def fingerprint(self) -> str:
        """Hash of configuration and weights, 32 hexadecimal digits; equal codecs, equal tokens.

        In evaluation mode the weights are hashed once, and again after any of them has changed.
        """
        tensors = list(self.state_dict(keep_vars=True).values())
        if self.training or any(tensor.is_inference() for tensor in tensors):
            return fingerprint(self)
        sums = torch.stack([_sum_of_bits(tensor) for tensor in tensors]).tolist()
        versions = [
            (tensor.data_ptr(), tensor._version, bits)
            for tensor, bits in zip(tensors, sums, strict=True)
        ]
        now = Hashed(describe(self), tensors, versions, "")
        if self._hashed is None or not self._hashed.holds(now):
            self._hashed = now._replace(fingerprint=fingerprint(self))
        return self._hashed.fingerprint

    def encode(self, x: Tensor) -> Tokens:
        """Tokens of a batch of signals; see the sub-class for the layout of ``x``."""
        raise NotImplementedError

    def encode_batch(self, batch: dict[str, Any]) -> Tokens:
        """Tokens of a training batch: of its ``signal``, and of what else in it `encode` takes."""
        return self.encode(batch[self.signal])

    def decode(self, tokens: Tokens) -> Tensor:
        """Signals of tokens, in the layout that `encode` takes."""
        raise NotImplementedError

    def _check_signals(self, x: Tensor, expected: str, shape: Sequence[int | None]) -> None:
        """Raise unless signals have this shape and the type and device of the weights.

        Args:
            x: what `encode` was given.
            expected: beginning of the message, "NAME takes floating-point waveforms […]".
            shape: sizes; None is any.
        """
        if recording():
            return
        check_tensor(x, expected, shape)
        check_like(x, expected, next(self.parameters(), None))

    def _check_record(self, tokens: Tokens) -> None:
        """Raise unless these are tokens that keep their contract, on the codec's device."""
        if not isinstance(tokens, Tokens):
            raise TypeError(
                f"{self.name} decodes Tokens, got {described(tokens)}; `tokens(ids)` of the codec "
                "makes them of ids"
            )
        tokens.check()
        weight = next(self.parameters(), None)
        if weight is not None and tokens.ids.device != weight.device:
            raise ValueError(
                f"{self.name} is on {weight.device}, its tokens are on {tokens.ids.device}"
            )

    @contextmanager
    def inference(self) -> Iterator[None]:
        """No gradients, and evaluation mode inside the block: nothing changes for the caller."""
        training = [module for module in self.modules() if module.training]
        for module in training:
            module.training = False
        try:
            with torch.no_grad():
                yield
        finally:
            for module in training:
                module.training = True
