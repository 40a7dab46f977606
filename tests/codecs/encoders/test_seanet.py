import torch

from intaglio.codecs.encoders.seanet import SEANetEncoder


def test_a_causal_encoder_does_not_see_later_samples():
    encoder = SEANetEncoder(4, (2, 3), width=4, causal=True, pad_mode="constant", lstm_layers=1)
    x = torch.randn(1, 1, 60)
    before = encoder(x)
    x[..., 31:] += 1
    same = torch.isclose(encoder(x), before).all(-1)[0].tolist()
    # the windows of six samples that end before sample 31 are those of latents 0 to 4
    assert same == [True] * 5 + [False] * 5


def test_a_latent_of_the_other_kind_sees_both_sides():
    encoder = SEANetEncoder(4, (2, 3), width=4, lstm_layers=0)
    x = torch.randn(1, 1, 60)
    before = encoder(x)
    x[..., 31] += 1
    changed = (~torch.isclose(encoder(x), before).all(-1))[0].nonzero().flatten().tolist()
    assert changed[0] < 5 < changed[-1]


def test_a_true_skip_has_no_convolution():
    count = sum(p.numel() for p in SEANetEncoder(4, (2,), width=8, lstm_layers=0).parameters())
    fewer = SEANetEncoder(4, (2,), width=8, lstm_layers=0, true_skip=True)
    # an 8 x 8 weight as magnitude and direction, and a bias
    assert count - sum(p.numel() for p in fewer.parameters()) == 8 * 8 + 8 + 8
