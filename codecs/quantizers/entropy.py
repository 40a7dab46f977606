"""Entropies of code probabilities, in nats, with gradients that stay finite at 0 and 1."""

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST = 1e-20  # of a probability inside a logarithm


def entropy(probabilities: Tensor, log_floor: float = 0.0) -> Tensor:
    """-p log(p + log_floor) of each entry; the sum over a distribution is its entropy.

    Args:
        probabilities: of any shape.
        log_floor: 0 for the entropy itself.
    """
    return -probabilities * (probabilities + log_floor).clamp(min=SMALLEST).log()


def bit_entropy(logits: Tensor) -> Tensor:
    """Entropy of a bit that is 1 with probability sigmoid(logit), for each logit.

    From logarithms of both probabilities, so that neither is rounded to 0 first.
    """
    ones, zeros = F.logsigmoid(logits), F.logsigmoid(-logits)
    return -(logits.sigmoid() * ones + (-logits).sigmoid() * zeros)


def corners(logits: Tensor) -> Tensor:
    """Probability of every combination of independent bits, [..., 2 ** bits].

    Args:
        logits: [..., bits]; a bit is 1 with probability sigmoid(logit). The first bit is the least
            significant one of a combination's number.
    """
    bits = logits.shape[-1]
    bit = torch.arange(bits, device=logits.device).unsqueeze(1)
    ones = (torch.arange(2**bits, device=logits.device) >> bit & 1).to(logits.dtype)
    return (F.logsigmoid(logits) @ ones + F.logsigmoid(-logits) @ (1 - ones)).exp()
