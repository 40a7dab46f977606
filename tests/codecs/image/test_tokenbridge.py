import torch

from intaglio.codecs.image.tokenbridge import tokenbridge


def test_it_keeps_the_contract(keeps_the_contract):
    keeps_the_contract(tokenbridge(4, size="small"))


def test_sizes(count):
    assert count(tokenbridge) == 66_454_691
    codec = tokenbridge(4, bits=5, size="small")
    assert codec.vocab == (32,) * 4


def test_statistics_follow_the_training_and_serve_afterwards():
    torch.manual_seed(0)
    codec = tokenbridge(4, size="small").train()
    x = torch.rand(8, 3, 64, 64) * 2 - 1
    codec(x)
    means = codec.encoder(x)[..., :4].detach().flatten(0, 1)
    torch.testing.assert_close(codec.quantizer.quantizer.mean, means.mean(0), atol=1e-5, rtol=0)
    std = means.std(0, unbiased=False)
    torch.testing.assert_close(codec.quantizer.quantizer.std, std, atol=1e-4, rtol=0)
    before = codec.quantizer.quantizer.mean.clone()
    codec.eval()(x + 1)
    assert torch.equal(codec.quantizer.quantizer.mean, before)


def test_more_bits_come_nearer_to_the_continuous_picture():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    errors = []
    for bits in (2, 4, 6):
        torch.manual_seed(0)
        codec = tokenbridge(4, bits=bits, size="small").train()
        codec(x)
        codec.eval()
        with torch.no_grad():
            means = codec.encoder(x)[..., :4]
            free = codec.decoder(means, grid=(8, 8))
        errors.append(float((codec.decode(codec.encode(x)) - free.clamp(-1, 1)).square().mean()))
    assert errors[0] > 4 * errors[1] > 16 * errors[2] > 0
