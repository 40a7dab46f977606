"""Vector quantization (van den Oord et al., 2017) with one codebook, in its four usual forms.

EMA (codebooks follow running means), gradient (trained by the optimizer), cosine (nearest
direction) and projected (looked up in a smaller space; Yu et al., 2022). vector-quantize-pytorch
keeps the codebook in training: running means, k-means initialisation, revival of dead codes,
agreement of all ranks. Inference uses plain tensor operations over its codebook, equal token for
token.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.layers.conv1d import exporting
from intaglio.codecs.quantizers.base import Quantized, Quantizer
from intaglio.codecs.quantizers.usage import perplexity

SCORES_AT_ONCE = 1 << 22  # entries of a score matrix that `nearest` holds at a time: 16 MiB


def nearest(x: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest codebook row (Euclidean), int64 [vectors], of each row of ``x``.

    Args:
        x: [vectors, dim].
        codebook: [codes, dim].

    Distances are compared as x·c - |c|² / 2, one matrix product and no [vectors, codes, dim]
    tensor; long inputs go in slices, so memory does not grow with them.
    """
    half_norm = codebook.square().sum(1).mul(-0.5)
    turned = codebook.t()
    if exporting():
        return torch.addmm(half_norm, x, turned).argmax(1)
    rows = max(1, SCORES_AT_ONCE // codebook.shape[0])
    slices = [torch.addmm(half_norm, part, turned).argmax(1) for part in x.split(rows)]
    return slices[0] if len(slices) == 1 else torch.cat(slices)


class VectorQuantizer(Quantizer):
    """One codebook.

    Args:
        dim: size of a latent vector.
        codebook_size: number of codes.
        codebook_dim: size of a code, if smaller than ``dim``: linear layers lead there and back.
        update: ``ema`` or ``gradient``.
        cosine: whether the nearest direction counts; codes and vectors are normalised.
        decay: of the running means.
        kmeans_iterations: of the initialisation on the first training batch; 0 starts at random.
        dead_below: a code whose running count per batch is below this is replaced by a vector of
            the batch; 0 never.
        rotation_trick: gradient of Fifty et al. (2024) instead of straight-through.
    """

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
        rotation_trick: bool = False,
    ) -> None:
        super().__init__()
        if update == "gradient" and cosine:
            raise ValueError("a cosine codebook is updated by running means: choose update='ema'")
        # costs seconds and is not needed to describe or decode anything else
        from vector_quantize_pytorch import VectorQuantize

        self.dim = dim
        self.vocab = (codebook_size,)
        self.cosine = cosine
        self.update = update
        self.trained = VectorQuantize(
            dim,
            codebook_size,
            codebook_dim=codebook_dim,
            decay=decay,
            kmeans_init=kmeans_iterations > 0,
            kmeans_iters=kmeans_iterations,
            use_cosine_sim=cosine,
            threshold_ema_dead_code=dead_below,
            commitment_weight=0.0,
            rotation_trick=rotation_trick,
            learnable_codebook=update == "gradient",
            ema_update=update == "ema",
        )

    @property
    def codebook(self) -> Tensor:
        """Codes, float32 [codes, dim of a code]."""
        return self.trained._codebook.embed[0]

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize; in training mode also update the codebook. Losses: commitment, codebook."""
        with torch.autocast(latents.device.type, enabled=False):
            latents = latents.float()
            if self.training and bool(latents.isfinite().all()):  # else the codebook would be lost
                values, ids, _ = self.trained(latents, mask=mask)
                ids = ids.unsqueeze(-1)
            else:
                ids = self.encode_ids(latents)
                values = self.decode_ids(ids)
            inputs = self._project_in(latents)
            kept = ids[..., 0] if mask is None else ids[..., 0][mask]
            inputs = inputs.flatten(0, 1) if mask is None else inputs[mask]
            codes = F.embedding(kept.reshape(-1), self.codebook)
            losses = {"commitment": F.mse_loss(inputs, codes.detach())}
            if self.update == "gradient":
                losses["codebook"] = F.mse_loss(codes, inputs.detach())
            stats = {"perplexity": perplexity(kept, self.vocab[0])}
        return Quantized(values, ids, losses, stats)

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, 1]."""
        with torch.autocast(latents.device.type, enabled=False):
            inputs = self._project_in(latents.float())
            ids = nearest(inputs.flatten(0, 1), self.codebook)
        return ids.view(latents.shape[0], latents.shape[1], 1)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, positions, dim]."""
        return self.trained.project_out(F.embedding(ids[..., 0], self.codebook))

    def _project_in(self, latents: Tensor) -> Tensor:
        inputs = self.trained.project_in(latents)
        return F.normalize(inputs, dim=-1) if self.cosine else inputs
