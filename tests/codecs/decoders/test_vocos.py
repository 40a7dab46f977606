import torch

from intaglio.codecs.decoders.vocos import VocosDecoder


def decoder(**changes):
    sizes = {"intermediate": 48, "num_layers": 2, "hop_length": 8, "n_fft": 32}
    return VocosDecoder(8, 64, **(sizes | changes)).eval()


def test_items_of_a_batch_are_decoded_as_if_alone():
    module = decoder().double()  # 32 bits round by the shape: 6e-5 apart with torch 2.14
    latents = torch.randn(3, 20, 8).double()
    lengths = torch.tensor([20, 13, 1])
    batch = module(latents, torch.arange(20) < lengths.unsqueeze(1))
    for item, length in enumerate(lengths.tolist()):
        single = module(latents[item : item + 1, :length])[0]
        torch.testing.assert_close(batch[item, :, : length * 8], single, atol=1e-10, rtol=1e-10)


def test_attention_reaches_far_and_convolutions_do_not():
    latents = torch.randn(1, 60, 8)
    other = latents.clone()
    other[0, -1] += 5
    reach = {}
    for attention in (True, False):
        torch.manual_seed(0)
        module = decoder(attention=attention)
        changed = (module(latents) - module(other)).abs()[0, 0].view(60, 8).amax(1)
        reach[attention] = int((changed > 0).nonzero()[0])
    assert reach[True] == 0
    # three convolutions of 7 taps and the overlap of the frames
    assert reach[False] >= 60 - 1 - 9 - 3


def test_conditions_are_drawn_in_training_only():
    module = decoder(conditions=2, dropout=0.0)
    with torch.no_grad():
        module.norm.shift[1] += 1
    latents = torch.randn(1, 5, 8)
    assert torch.equal(module(latents), module(latents))
    module.train()
    sums = {round(module(latents).sum().item(), 4) for _ in range(20)}
    assert len(sums) == 2
