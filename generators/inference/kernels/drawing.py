"""Where Triton kernels draw tokens; everywhere else their twins in torch do."""

import torch

from intaglio.generators.inference.kernels.choice import has_numbers, works
from intaglio.generators.inference.logits import Warp, draw

MAX_VOCAB = 1 << 16  # ids of a row, which a program holds in registers
VERDICT = ([True, False], [0, 3, 2])


def is_fused(device: torch.device, *vocab: int) -> bool:
    """Whether kernels draw on a device, from groups of so many ids.

    The tokens are those of the twins, but for the rounding of logarithms and sums. That Triton does
    not work on a CUDA device is said once, as a warning.
    """
    return has_numbers(device) and max(vocab) <= MAX_VOCAB and works(problem, device)


def problem(device: torch.device) -> str | None:
    """What a race, a verdict or a group has found that it should not, if one has."""
    from intaglio.generators.inference.kernels import bands, races, rejection

    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(16, 1, 257, generator=random).to(device)
    keys = torch.randint(2**62, (16, 1), generator=random).to(device)
    warp = Warp(0.8, top_k=100, top_p=0.9)
    drawn = races.draw(logits, logits / 2, 3.0, warp, keys)
    if (other := int((drawn != draw(warp(2 * logits), keys)).sum())) > 1:  # rounding may change one
        return f"{other} of 16 races have other winners"
    certain = torch.eye(4, device=device)[[0, 3, 2]].log().unsqueeze(0)
    uniform = torch.zeros(1, 2, 4, device=device).log_softmax(-1)
    drafts = torch.tensor([[[0], [1]]], device=device)
    accepted, tokens, *_ = rejection.verify(
        [certain], [uniform], drafts, torch.full((1, 2, 1), 0.5).double().to(device),
        keys[:3].view(1, 3, 1), tiny=1e-6,
    )  # fmt: skip
    found = accepted.flatten().tolist(), tokens.flatten().tolist()
    if found != VERDICT:
        return f"a window was judged {found}"
    law = torch.tensor([[[0.4, 0.3, 0.2, 0.1]]], device=device)
    of_p, of_q = bands.masses(
        law.log(), law.flip(-1).log(), drafts[:, 1:, 0], band=0.5, difference=1, distance=2.5,
        codes=torch.tensor([[0.0], [2.0], [5.0], [3.0]], device=device),
    )  # fmt: skip
    masses = of_p.item(), of_q.item()  # of the first two ids: of the third the code is too far
    near = all(abs(one - other) < 1e-5 for one, other in zip(masses, (0.7, 0.3), strict=True))
    return None if near else f"a group has {masses}"
