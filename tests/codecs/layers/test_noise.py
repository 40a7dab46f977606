import torch

from intaglio.codecs.layers.noise import TABLE, NoiseBlock


def test_outside_training_the_noise_belongs_to_the_place():
    block = NoiseBlock(4).eval()
    x = torch.randn(2, 4, 100)
    assert torch.equal(block(x), block(x))
    # products of other shapes are equal but for rounding
    torch.testing.assert_close(block(x)[1], block(x[1:])[0])
    torch.testing.assert_close(block(x[..., 40:], 40), block(x)[..., 40:])
    assert torch.equal(block(x, 5), block(x, 5 + TABLE))
    assert not torch.equal(block(x, 0), block(x, 1))
    assert not torch.equal(NoiseBlock(4, seed=1).table, block.table)


def test_in_training_it_is_drawn_anew_and_its_strength_is_learned():
    block = NoiseBlock(4).double()  # 32 bits leave little of what is divided by almost 0
    x = torch.randn(2, 4, 5000, dtype=torch.float64)
    first, second = block(x) - x, block(x) - x
    assert not torch.equal(first, second)
    noise = first / block.linear(x)
    torch.testing.assert_close(noise[:, :1].expand_as(noise), noise, atol=1e-8, rtol=1e-8)
    assert 0.95 < noise.median(dim=1).values.std() < 1.05
    block(x).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in block.parameters())
