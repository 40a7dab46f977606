import pytest
import torch

from intaglio.codecs.image.image_small import image_small


def test_it_keeps_the_contract(keeps_the_contract):
    keeps_the_contract(image_small())


def test_sizes(count):
    codec = image_small()
    assert (codec.positions, codec.vocab, codec.any_size) == (64, (1000,), True)
    assert codec.bits == pytest.approx(637.8, abs=0.1)
    assert count(image_small) == 2_996_688


def test_it_learns_four_pictures():
    """The overfitting that distinguishes a dead gradient from a live one."""
    torch.manual_seed(0)
    positions = torch.linspace(0, 3, 32)
    waves = [torch.sin(n * positions)[:, None] * torch.cos((n + 1) * positions) for n in range(4)]
    x = torch.stack(waves).unsqueeze(1).expand(-1, 3, -1, -1).contiguous()
    codec = image_small().train()
    optimizer = torch.optim.AdamW(codec.parameters(), lr=1e-3)
    for _ in range(40):
        optimizer.zero_grad()
        loss = (codec(x).values - x).abs().mean()
        loss.backward()
        optimizer.step()
    codec.eval()
    error = (codec.decode(codec.encode(x)) - x).square().mean()
    assert error < 0.4 * x.square().mean()
    assert len(codec.encode(x).ids.unique()) > 10
