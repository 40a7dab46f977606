"""Nearest-code search against vector-quantize-pytorch, inverse STFT against `torch.istft`."""

import torch
from torch import Tensor
from vector_quantize_pytorch import VectorQuantize

from intaglio.codecs.decoders.istft import InverseSTFT
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.recipes.benchmarks.timing import Timing, compare

CODES = 4096
VECTORS = 4096
DIMS = (512, 8)


def run() -> list[Timing]:
    """All comparisons.

    Raises:
        RuntimeError: the two implementations disagree.
    """
    return [*(search(dim) for dim in DIMS), inverse()]


def search(dim: int) -> Timing:
    """Nearest of 4,096 codes for 4,096 vectors of ``dim`` numbers, in evaluation mode."""
    torch.manual_seed(0)
    quantizer = VectorQuantizer(dim, CODES, kmeans_iterations=0).eval()
    quantizer.codebook.copy_(torch.randn(CODES, dim))
    library = VectorQuantize(dim, CODES).eval()
    library._codebook.embed.copy_(quantizer.codebook[None])
    latents = torch.randn(1, VECTORS, dim)
    with torch.no_grad():
        ids, theirs = quantizer.encode_ids(latents), library(latents)[1]
    if not torch.equal(ids[..., 0], theirs):
        raise RuntimeError(f"{int((ids[..., 0] != theirs).sum())} tokens of {VECTORS} differ")
    return compare(
        f"nearest code, K = {CODES}, D = {dim}",
        lambda: quantizer.encode_ids(latents),
        lambda: library(latents),
        baseline_name="vector-quantize-pytorch, eval",
        note=f"{VECTORS} tokens equal",
    )


def inverse(n_fft: int = 1280, hop_length: int = 320, seconds: float = 10.0) -> Timing:
    """Inverse transform of ten seconds at 24 kHz, cut at the centre as `torch.istft` does."""
    torch.manual_seed(0)
    frames = int(seconds * 24_000 / hop_length) + 1
    module = InverseSTFT(n_fft, hop_length, "center")
    real, imaginary = torch.randn(2, 1, n_fft // 2 + 1, frames)
    imaginary[:, 0] = imaginary[:, -1] = 0  # of a real signal these are real
    window = torch.hann_window(n_fft)

    def theirs() -> Tensor:
        return torch.istft(torch.complex(real, imaginary), n_fft, hop_length, window=window)

    error = (module(real, imaginary)[:, 0] - theirs()).abs().max().item()
    if error > 1e-6:
        raise RuntimeError(f"the inverse transforms differ by {error:.2g}")
    return compare(
        f"inverse STFT, {n_fft} / {hop_length}, {seconds:g} s",
        lambda: module(real, imaginary),
        theirs,
        baseline_name="torch.istft",
        note=f"largest difference {error:.1g}",
    )
