"""Image codecs: VQGAN compared with diffusers' ``VQModel``; memory of a search of 262,144 codes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from intaglio.codecs import ImageCodec
from intaglio.codecs.quantizers.ibq import IndexBackpropagationQuantizer
from intaglio.export.converters.vqgan import convert
from intaglio.recipes.benchmarks.timing import Timing, compare

IMAGE_SIZE = 256
WIDTHS = (128, 128, 256, 256, 512)  # LlamaGen's, squares of 16 pixels
LATENT = 256
CODES, CODE_SIZE = 16_384, 8
ROUNDS = 9

SEARCHED = (262_144, 256)  # codes and their size (IBQ)
VECTORS = 1024  # four pictures of 256 positions


def run() -> list[Timing]:
    """All comparisons, with random weights.

    Raises:
        ModuleNotFoundError: diffusers is missing.
        RuntimeError: the two implementations disagree.
    """
    return [*_vqgan(), _search()]


def _vqgan() -> list[Timing]:
    """Encoding and decoding of one picture, with the same weights."""
    theirs = _diffusers()
    ours = convert(theirs.state_dict(), image_size=IMAGE_SIZE)
    x = _picture()

    def encode() -> Tensor:
        return theirs.quantize(theirs.encode(x).latents)[2][2].view(1, -1, 1)

    with torch.no_grad():
        codes = encode()
        latents = theirs.quantize.get_codebook_entry(codes.flatten(), _latent_shape())
    tokens = ours.encode(x)
    same = (tokens.ids == codes).float().mean().item()

    def decode() -> Tensor:
        return theirs.decode(latents, force_not_quantize=True).sample

    with torch.no_grad():
        error = (ours.decode(ours.tokens(codes)) - decode().clamp(-1, 1)).abs().max().item()
    if same < 0.99 or error > 1e-3:
        raise RuntimeError(f"{same:.1%} of diffusers' tokens, pixels differ by {error:.2g}")
    note = f"{same:.2%} of {codes.numel()} tokens equal, pixels within {error:.1g}"
    return [
        _compared(ours, "encode", lambda: ours.encode(x), encode, note),
        _compared(ours, "decode", lambda: ours.decode(tokens), decode, note),
    ]


def _compared(
    ours: ImageCodec,
    task: str,
    mine: Callable[[], object],
    theirs: Callable[[], object],
    note: str,
) -> Timing:
    name = f"{task}, {ours.name} f{ours.hop_length}, {IMAGE_SIZE} pixels"
    baseline = "diffusers VQModel"
    return compare(name, mine, theirs, baseline_name=baseline, note=note, rounds=ROUNDS)


def _diffusers() -> Any:
    import diffusers

    torch.manual_seed(0)
    between = len(WIDTHS) - 1
    make: Any = diffusers.VQModel
    theirs = make(
        down_block_types=("DownEncoderBlock2D",) * between + ("AttnDownEncoderBlock2D",),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * between,
        block_out_channels=WIDTHS,
        layers_per_block=2,
        latent_channels=LATENT,
        num_vq_embeddings=CODES,
        vq_embed_dim=CODE_SIZE,
    ).eval()
    with torch.no_grad():  # codes as far apart as the latents
        latents = theirs.encode(_picture()).latents
        spread = latents.std((0, 2, 3)) * torch.randn(CODES, CODE_SIZE)
        theirs.quantize.embedding.weight.copy_(latents.mean((0, 2, 3)) + spread)
    return theirs


def _picture() -> Tensor:
    noise = torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
    return (0.4 * noise).clamp(-1, 1)


def _latent_shape() -> tuple[int, int, int, int]:
    """Batch, rows, columns and size of the codes of the picture, as diffusers asks for it."""
    side = IMAGE_SIZE // 2 ** (len(WIDTHS) - 1)
    return 1, side, side, CODE_SIZE


def _search() -> Timing:
    """Memory that the search needs in addition to the codebook, in a process of its own."""
    codes, dim = SEARCHED
    ours, full = _growth(codes, dim)
    return Timing(
        f"search of {VECTORS} vectors in {codes} codes of {dim}, peak memory without the codes",
        ours,
        full,
        "one product of all",
        "MiB",
        full / ours,
    )


def _growth(codes: int, dim: int) -> tuple[float, float]:
    """Memory, MiB, that a search in slices and one single product add to a process."""
    code = (
        "from intaglio.recipes.benchmarks.image import report; "
        f"report({codes}, {dim}, vectors={VECTORS})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    sliced, full = (max(1.0, int(word) / 1024) for word in done.stdout.split())
    return sliced, full


def report(codes: int, dim: int, *, vectors: int) -> None:
    """Search in both ways, and print the memory that each adds to this process, in KiB.

    Reads the figures in ``/proc``, so it runs on Linux only.
    """
    torch.set_num_threads(1)
    quantizer = IndexBackpropagationQuantizer(dim, codes).eval().requires_grad_(False)
    latents = torch.randn(1, vectors, dim)
    table = quantizer.codebook.t()
    for search in (quantizer.encode_ids, lambda x: (x @ table).argmax(-1)):
        search(latents[:, :1])  # allocations of the first product
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        before = _kibibytes("VmRSS")
        search(latents)
        print(_kibibytes("VmHWM") - before)


def _kibibytes(figure: str) -> int:
    """A figure of the memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{figure}:"))
