"""Binary quantization: every dimension keeps its sign; groups of signs are the ids.

Lookup-free quantization (LFQ; Yu et al., 2024, as in Open-MAGVIT2: 18 bits in one group), grouped
LFQ (WeTok, Zhuang et al., 2025: groups of 8 bits), binary spherical quantization (BSQ; Zhao et al.,
2024) and the bounded kind of UniWeTok (tanh(x / 2) before the sign). The sign of 0 is -1, and the
first bit of a group is the least significant one of its id.

Deviations: the entropies are those of the papers, but never enumerate all codes for every vector;
Open-MAGVIT2's release adds 1e-5 inside the logarithm of the batch entropy (``log_floor=1e-5``).
The token entropy is the sum over bits, which is exact because the softmax over the corners of a
cube factorises: a bit is 1 with probability sigmoid(4 u s / temperature), where codes are ±s. The
batch entropy is summed from outer products of half the bits each. Averages are over all processes.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.distributed import shared_mean
from intaglio.codecs.quantizers.base import Quantized, Quantizer, mean_square, straight_through
from intaglio.codecs.quantizers.entropy import bit_entropy, corners, entropy
from intaglio.codecs.quantizers.usage import perplexity

KINDS = ("lfq", "bsq", "bounded")


class BinaryQuantizer(Quantizer):
    """Signs of a latent, with a linear layer on either side if the sizes differ.

    Losses: ``entropy``, which is negative by design: token_weight * token entropy - batch_weight *
    batch entropy, the means over the groups; and ``commitment`` (lfq only). Without bounds (lfq)
    the latents should come normalised, or the token entropy drives them outward for ever.

    The batch entropy is exact (by enumeration of 2^bits mean probabilities) for groups of up to
    ``enumerated_bits`` bits, and the sum of the entropies of the single bits, an upper bound, for
    larger ones. Memory a vector: its bits for the token entropy, and 2^(bits / 2) * 2 in each group
    for the exact batch entropy.

    Args:
        dim: size of a latent vector.
        bits: of one group, 1 to 62.
        groups: number of groups, one id each.
        kind: ``lfq`` (codes ±1), ``bsq`` (the vector of all groups has length 1; codes
            ±1 / sqrt(bits * groups)) or ``bounded`` (tanh(x / 2); codes ±1).
        temperature: of the probabilities softmax(2 u·c / temperature) over codes c.
        token_weight: of the entropy of a vector's probabilities, which is made small.
        batch_weight: of the entropy of the mean probabilities, which is made large.
        batch_entropy: of one histogram for all groups (``shared``, as WeTok has it) or of one for
            each (``per_group``).
        enumerated_bits: bits of the largest group whose batch entropy is exact, at most 20.
        log_floor: added to the mean probabilities inside the logarithm of the batch entropy; the
            release has 1e-5, which is more than most probabilities of 2^18 codes and weakens the
            gradients of rare ones.

    Raises:
        ValueError: a size, temperature or kind out of range.
    """

    losses = ("entropy", "commitment")
    powers: Tensor

    def __init__(
        self,
        dim: int,
        bits: int = 18,
        groups: int = 1,
        *,
        kind: Literal["lfq", "bsq", "bounded"] = "lfq",
        temperature: float = 0.01,
        token_weight: float = 1.0,
        batch_weight: float = 1.0,
        batch_entropy: Literal["shared", "per_group"] = "shared",
        enumerated_bits: int = 18,
        log_floor: float = 0.0,
    ) -> None:
        super().__init__()
        if not 1 <= bits <= 62 or groups < 1 or enumerated_bits > 20:
            raise ValueError(
                f"groups need 1 to 62 bits, of which at most 20 are enumerated; got {groups} "
                f"groups of {bits} bits, {enumerated_bits} enumerated"
            )
        if temperature <= 0 or kind not in KINDS or batch_entropy not in ("shared", "per_group"):
            raise ValueError(
                f"cannot quantize by {kind!r} at temperature {temperature} with a batch entropy "
                f"{batch_entropy!r}"
            )
        self.dim = dim
        self.bits = bits
        self.groups = groups
        self.vocab = (2**bits,) * groups
        self.kind = kind
        self.temperature = temperature
        self.token_weight = token_weight
        self.batch_weight = batch_weight
        self.batch_entropy = batch_entropy
        self.enumerated_bits = enumerated_bits
        self.log_floor = log_floor
        size = bits * groups
        self.scale = size**-0.5 if kind == "bsq" else 1.0
        self.project_in = nn.Linear(dim, size) if dim != size else nn.Identity()
        self.project_out = nn.Linear(size, dim) if dim != size else nn.Identity()
        self.register_buffer("powers", 2 ** torch.arange(bits), persistent=False)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize with a straight-through gradient.

        All processes of a training must call this alike; their masks may differ.
        """
        with torch.autocast(latents.device.type, enabled=False):
            inputs = self._inputs(latents)
            bits = (inputs > 0).long()
            codes = self._codes(bits)
            values = self.project_out(straight_through(inputs, codes))
            ids = self._ids(bits)
            vectors = inputs.flatten(0, 1) if mask is None else inputs[mask]
            kept = ids.flatten(0, 1) if mask is None else ids[mask]
            losses = {"entropy": self._entropy(vectors)}
            if self.kind == "lfq":
                chosen = codes.flatten(0, 1) if mask is None else codes[mask]
                losses["commitment"] = mean_square(vectors, chosen)
            each = [perplexity(kept[:, group], self.vocab[0]) for group in range(self.groups)]
        return Quantized(values, ids, losses, {"perplexity": torch.stack(each).mean()})

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, groups]."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._ids((self._inputs(latents) > 0).long())

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, positions, dim]."""
        with torch.autocast(ids.device.type, enabled=False):
            bits = ids.unsqueeze(-1).div(self.powers, rounding_mode="floor").remainder(2)
            return self.project_out(self._codes(bits.flatten(-2)))

    def _inputs(self, latents: Tensor) -> Tensor:
        """What has its sign taken, [batch, positions, bits * groups]."""
        inputs = self.project_in(latents.float())
        if self.kind == "bsq":
            return F.normalize(inputs, dim=-1)
        return (inputs / 2).tanh() if self.kind == "bounded" else inputs

    def _codes(self, bits: Tensor) -> Tensor:
        return (2 * bits - 1) * self.scale

    def _ids(self, bits: Tensor) -> Tensor:
        return (bits.unflatten(-1, (self.groups, self.bits)) * self.powers).sum(-1)

    def _entropy(self, vectors: Tensor) -> Tensor:
        logits = vectors.unflatten(-1, (self.groups, self.bits))
        logits = logits * (4 * self.scale / self.temperature)
        rows = len(logits) * self.groups
        token = shared_mean(bit_entropy(logits).sum(), rows, alone=not self.training)
        if self.batch_entropy == "shared":
            logits = logits.flatten(0, 1).unsqueeze(1)
        return self.token_weight * token - self.batch_weight * self._of_the_batch(logits)

    def _of_the_batch(self, logits: Tensor) -> Tensor:
        """Entropy of the mean probabilities of logits [vectors, histograms, bits], their mean."""
        if self.bits > self.enumerated_bits:  # an upper bound: the bits as if independent
            total = torch.stack([logits.sigmoid().sum(0), (-logits).sigmoid().sum(0)], dim=-1)
        else:
            half = self.bits // 2
            low, high = corners(logits[..., :half]), corners(logits[..., half:])
            total = torch.einsum("vgl,vgh->ghl", low, high)
        mean = shared_mean(total, len(logits), alone=not self.training)
        return entropy(mean, self.log_floor).sum((1, 2)).mean()
