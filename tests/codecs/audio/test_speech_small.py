import torch

from intaglio.codecs.audio.speech_small import speech_small


def test_rate_and_size():
    codec = speech_small()
    assert codec.sample_rate == 16_000
    assert 400 <= codec.bits_per_second <= 800
    assert len(codec.vocab) == 1
    assert sum(p.numel() for p in codec.parameters()) < 8e6


def test_it_learns_one_clip():
    """Eighty steps as in the recipe, on one signal, bring its spectrum much nearer."""
    from intaglio.codecs.losses.mel import MelLoss
    from intaglio.data.synthetic.audio import speechlike

    wave = speechlike(8000, 16_000, torch.Generator().manual_seed(0)).view(1, 1, -1)
    torch.manual_seed(4)
    codec = speech_small(levels=(4, 4, 4))
    loss = MelLoss(16_000, num_mels=40)
    optimizer = torch.optim.AdamW(codec.parameters(), 2e-3)
    errors = []
    for step in range(80):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1, (step + 1) / 20)
        output = codec(wave)
        error = loss(output.values, wave)
        optimizer.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.4 * errors[0]
    assert len(codec.encode(wave).ids.unique()) > 2
