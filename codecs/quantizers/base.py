"""Quantizer: continuous latents to discrete ids and back."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.inputs import check_finite, check_ids, check_latents, recording
from intaglio.codecs.part import Part


class Quantized(NamedTuple):
    """Output of a quantizer.

    Attributes:
        values: quantized latents, [batch, positions, dim]; in training with a straight-through
            gradient.
        ids: int64 [batch, positions, groups].
        losses: scalar terms of the training objective by name (``commitment`` …), not weighted.
        stats: scalars to log (``perplexity`` …).
        semantic: the part of the values that semantic levels give, if there are such.
    """

    values: Tensor
    ids: Tensor
    losses: dict[str, Tensor]
    stats: dict[str, Tensor]
    semantic: Tensor | None = None

    def of_levels(self, semantic: bool) -> Tensor:
        """The values, or the part of them that semantic levels give.

        Raises:
            ValueError: the quantizer has no semantic levels.
        """
        if not semantic:
            return self.values
        if self.semantic is None:
            raise ValueError("a loss of semantic levels needs a quantizer that has them")
        return self.semantic


class Quantizer(Part):
    """Base of all quantizers. Sub-classes set ``dim`` and ``vocab``.

    Attributes:
        dim: size of a latent vector.
        vocab: codebook size of each group.
        losses: names of the losses that `forward` gives, not those of its sub-quantizers.
        stride: latents that share a position of the ids.
        fixed_positions: whether only one number of latents can be quantized.
        level_groups: groups of each level. Levels refine one another: a prefix of them can be
            decoded. Quantizers without such an order have one level.

    `forward` trains (and updates codebooks, in training mode only); `encode_ids` and `decode_ids`
    are the inference path: plain tensor operations in float32, exportable, never changing any
    state. Latents may be of any floating type.

    Whatever a sub-class does, each of the three refuses other shapes and types with a TypeError or
    ValueError of one line. On CPUs `encode_ids` also refuses values that are not finite, and
    `decode_ids` ids out of range; `forward` leaves a bad batch to the trainer, which skips it.
    """

    dim: int
    vocab: tuple[int, ...]
    losses: tuple[str, ...] = ()
    stride: int = 1
    fixed_positions: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, check in CHECKS.items():
            if name in cls.__dict__:
                setattr(cls, name, _checked(cls.__dict__[name], check))

    @property
    def input_dim(self) -> int:
        """Size of the input latents; ``dim`` is that of the output."""
        return self.dim

    def positions_of(self, latents: int) -> int:
        """Positions of the ids of a number of latents."""
        return latents // self.stride

    @property
    def level_groups(self) -> tuple[int, ...]:
        """Groups of each level."""
        return (len(self.vocab),)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize latents.

        Args:
            latents: [batch, positions * stride, input_dim].
            mask: bool, [batch, positions * stride], True where a latent belongs to its item; all
                if None.
        """
        raise NotImplementedError

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, groups], of latents like those of `forward`."""
        raise NotImplementedError

    def encode_levels(self, latents: Tensor, levels: int) -> Tensor:
        """The ids of the first levels only: `encode_ids` of fewer groups."""
        return self.encode_ids(latents)[..., : sum(self.level_groups[:levels])]

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents [batch, positions * stride, dim] of ids, int64 [batch, positions, groups].

        The groups may be those of the first levels.
        """
        raise NotImplementedError


def _check_batch(quantizer: Quantizer, latents: Tensor, mask: Tensor | None = None) -> None:
    name = type(quantizer).__name__
    check_latents(latents, name, quantizer.input_dim, stride=quantizer.stride, mask=mask)


def _check_encoding(quantizer: Quantizer, latents: Tensor, levels: int | None = None) -> None:
    _check_batch(quantizer, latents)
    if quantizer.vocab and latents.device.type == "cpu" and not recording():
        check_finite(latents, f"{type(quantizer).__name__} takes latents")


def _check_decoding(quantizer: Quantizer, ids: Tensor) -> None:
    if quantizer.vocab:
        check_ids(ids, type(quantizer).__name__, quantizer.vocab, quantizer.level_groups)


CHECKS: dict[str, Callable[..., None]] = {
    "forward": _check_batch,
    "encode_ids": _check_encoding,
    "encode_levels": _check_encoding,
    "decode_ids": _check_decoding,
}


def _checked(method: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    """A method that has its arguments checked first."""

    @functools.wraps(method)
    def call(quantizer: Quantizer, *args: Any, **kwargs: Any) -> Any:
        check(quantizer, *args, **kwargs)
        return method(quantizer, *args, **kwargs)

    return call


def straight_through(source: Tensor, target: Tensor) -> Tensor:
    """The target, to the bit, with the gradient of the source."""
    return target.detach() + (source - source.detach())


def mean_square(a: Tensor, b: Tensor) -> Tensor:
    """Mean square of a difference; 0 if a process has no positions."""
    return F.mse_loss(a, b) if len(a) else a.sum()


def mean_terms(terms: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of each loss or statistic over several quantizers."""
    return {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}
