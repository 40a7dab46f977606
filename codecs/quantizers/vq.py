"""Vector quantization (van den Oord et al., 2017) with one codebook, in its four usual forms.

EMA (codes are moving averages), gradient (trained by the optimizer), cosine (nearest
direction) and projected (looked up in a smaller space; Yu et al., 2022). A cosine codebook that is
trained by gradients is that of LlamaGen and TiTok: vectors and codes are brought to length 1 before
they are compared and passed on, while the codes are kept at any length.

`Codebook` keeps the codes in training: k-means initialisation, running means, revival of dead
codes, agreement of all processes. Tokens equal those of vector-quantize-pytorch with the same
codes.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.quantizers.base import Quantized, Quantizer, mean_square, straight_through
from intaglio.codecs.quantizers.codebook import Codebook, nearest
from intaglio.codecs.quantizers.perturbation import Perturbation
from intaglio.codecs.quantizers.usage import perplexity


class VectorQuantizer(Quantizer):
    """One codebook.

    Args:
        dim: size of a latent vector.
        codebook_size: number of codes.
        codebook_dim: size of a code; linear layers lead there and back. None for codes of ``dim``
            numbers, without layers.
        update: ``ema`` or ``gradient``.
        cosine: whether the nearest direction counts; codes and vectors are normalised.
        decay: of the running means.
        kmeans_iterations: of the initialisation on the first training batch; 0 starts at random.
        dead_below: a code whose running count per batch, of all processes together, is below this
            and below ``dead_share`` is replaced by a vector of the batch; 0 never.
        dead_share: share of the mean count, which is the number of vectors per code. None for
            ``dead_below`` alone, as in the releases of EnCodec and WavTokenizer, whose batches are
            large; in small ones it replaces codes that are in use.
        revival: ``random`` is what ``dead_below`` says; ``clustering`` (CVQ, as in TA-TiTok) has no
            dead codes but pulls little used ones to the nearest vectors after every batch.
        rotation_trick: gradient of Fifty et al. (2024) instead of straight-through.
        perturbation: replaces codes by near ones in the values of a training, not in ids or losses.

    Raises:
        ValueError: an update or revival of another name, or a share outside [0, 1].
    """

    losses = ("commitment", "codebook")

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        codebook_dim: int | None = None,
        update: Literal["ema", "gradient"] = "ema",
        cosine: bool = False,
        decay: float = 0.99,
        kmeans_iterations: int = 10,
        dead_below: float = 2.0,
        dead_share: float | None = 0.1,
        revival: Literal["random", "clustering"] = "random",
        rotation_trick: bool = False,
        perturbation: Perturbation | None = None,
    ) -> None:
        super().__init__()
        if update not in ("ema", "gradient") or revival not in ("random", "clustering"):
            raise ValueError(f"cannot update a codebook by {update!r} and revive by {revival!r}")
        if dead_share is not None and not 0 <= dead_share <= 1:
            raise ValueError(f"dead_share is a share of the mean count in [0, 1], not {dead_share}")
        self.dim = dim
        self.vocab = (codebook_size,)
        self.cosine = cosine
        self.update = update
        self.rotation_trick = rotation_trick
        self.perturbation = perturbation
        size = codebook_dim or dim
        self.project_in = nn.Linear(dim, size) if codebook_dim else nn.Identity()
        self.project_out = nn.Linear(size, dim) if codebook_dim else nn.Identity()
        self._codebook = Codebook(
            codebook_size,
            size,
            decay=decay,
            kmeans_iterations=kmeans_iterations,
            dead_below=dead_below,
            dead_share=dead_share,
            cosine=cosine,
            learned=update == "gradient",
            revival=revival,
        )

    @property
    def codebook(self) -> Tensor:
        """Codes as they are kept, float32 [codes, dim of a code]."""
        return self._codebook.codes

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize; in training mode also update the codebook. Losses: commitment, codebook.

        All processes of a training must call this alike; their masks may differ.
        """
        with torch.autocast(latents.device.type, enabled=False):
            projected = self.project_in(latents.float())
            inputs = self._compared(projected)
            vectors = inputs.flatten(0, 1) if mask is None else inputs[mask]
            if self.training:
                self._codebook.initialise(vectors)
            with torch.no_grad():
                ids = self._ids(inputs)
            codes = self._codebook.at(ids)
            chosen = codes.flatten(0, 1) if mask is None else codes[mask]
            kept = ids.flatten() if mask is None else ids[mask]
            losses = {"commitment": mean_square(vectors, chosen.detach())}
            if self.update == "gradient":
                losses["codebook"] = mean_square(chosen, vectors.detach())
            # with running means the gradient passes by the normalisation, if there is one
            source = inputs if self.update == "gradient" else projected
            values = self.project_out(self._given(source, inputs, codes, ids))
            if self.training:
                self._codebook.update(vectors, kept)
            stats = {"perplexity": perplexity(kept, self.vocab[0])}
        return Quantized(values, ids.unsqueeze(-1), losses, stats)

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, 1]."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._ids(self._compared(self.project_in(latents.float()))).unsqueeze(-1)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, positions, dim]."""
        with torch.autocast(ids.device.type, enabled=False):
            return self.project_out(self._codebook.at(ids[..., 0]))

    def _compared(self, projected: Tensor) -> Tensor:
        """What is compared with the codes."""
        return F.normalize(projected, dim=-1) if self.cosine else projected

    def _given(self, source: Tensor, inputs: Tensor, codes: Tensor, ids: Tensor) -> Tensor:
        """The codes with a gradient to ``source``; in training perturbed, if that is asked for."""
        if self.training and self.perturbation is not None:
            codes = self._codebook.at(
                self.perturbation(ids, inputs.detach(), self._codebook.searched)
            )
        if self.training and self.rotation_trick:
            return _rotated(source, codes.detach())
        return straight_through(source, codes)

    def _ids(self, inputs: Tensor) -> Tensor:
        return nearest(inputs.flatten(0, 1), self._codebook.searched).view(inputs.shape[:2])


def _rotated(source: Tensor, target: Tensor) -> Tensor:
    """The target, as the source rotated and scaled; so is its gradient."""
    norm = source.detach().norm(dim=-1, keepdim=True).clamp(min=1e-6)
    length = target.norm(dim=-1, keepdim=True)
    before, after = source.detach() / norm, target / length.clamp(min=1e-6)
    middle = F.normalize(before + after, dim=-1)
    rotated = (
        source
        - 2 * middle * (source * middle).sum(-1, keepdim=True)
        + 2 * after * (source * before).sum(-1, keepdim=True)
    )
    return rotated * (length / norm)
