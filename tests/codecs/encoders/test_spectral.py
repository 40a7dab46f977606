import pytest
import torch

from intaglio.codecs.encoders.spectral import SpectralEncoder


def small(**options) -> SpectralEncoder:
    torch.manual_seed(0)
    encoder = SpectralEncoder(
        6, 4, (2, 3), num_layers=(1, 1, 1), n_fft=16, width=8, intermediate=12, **options
    )
    encoder.frames.double()
    return encoder.double().eval()


def test_frames_are_a_short_time_fourier_transform():
    encoder = small()
    x = torch.randn(1, 1, 64, dtype=torch.float64)
    padded = torch.nn.functional.pad(x, (6, 6), mode="reflect")[0]
    window = torch.hann_window(16, dtype=torch.float64)
    expected = torch.stft(padded, 16, 4, window=window, center=False, return_complex=True)
    real, imaginary = encoder.frames(x).chunk(2, dim=1)
    assert real.shape == (1, 9, 16)
    # the basis is kept in float32
    assert torch.allclose(torch.complex(real, imaginary), expected, atol=1e-5)


def test_the_phase_is_not_seen():
    encoder = small()
    x = torch.randn(1, 1, 240, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(encoder(-x), encoder(x))


def test_an_item_gives_the_same_in_a_batch_with_longer_ones():
    encoder = small()
    x = torch.randn(3, 1, 240, dtype=torch.float64)
    lengths = torch.tensor([240, 121, 30])
    with torch.no_grad():
        together = encoder(x, lengths)
        assert together.shape == (3, 10, 6)
        for row, length in enumerate(lengths.tolist()):
            alone = encoder(x[row : row + 1, :, :length])
            assert alone.shape[1] == -(-length // 24)
            assert torch.allclose(together[row, : alone.shape[1]], alone[0], atol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_blocks_give_what_the_whole_gives(size):
    encoder = small(final_norm=True)
    x = torch.randn(2, 1, 250, dtype=torch.float64)
    stream = encoder.stream()
    with torch.no_grad():
        found = [stream.push(block) for block in x.split(size, -1)]
        found.append(stream.push(x[..., :0], last=True))
        assert torch.allclose(torch.cat(found, -1).transpose(1, 2), encoder(x), atol=1e-12)
    assert found[0].shape == (2, 6, 0 if size < 100 else found[0].shape[-1])


def test_a_stage_is_needed_on_both_sides_of_each_stride():
    with pytest.raises(ValueError, match="1 strides stand between 2 stages"):
        SpectralEncoder(8, strides=(2,), num_layers=(2,))
