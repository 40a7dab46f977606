import pytest
import torch

from intaglio.data.clips import Damage, Reader, find, scan
from intaglio.data.formats.wave import write_wave


@pytest.mark.parametrize("cache", [False, True])
def test_two_channels_are_read_and_mono_is_doubled(tmp_path, cache):
    left, right = torch.rand(2, 400) - 0.5
    write_wave(tmp_path / "a.wav", torch.stack([left, right]), 8000)
    write_wave(tmp_path / "b.wav", left[None], 8000)
    folder, records = find(tmp_path)
    damage = Damage(2, 1.0)
    clips = scan(folder, records, damage)
    stereo = Reader(clips, 8000, damage, channels=2, cache=cache)
    a, b = stereo.read(0, 100, 200), stereo.read(1)
    torch.testing.assert_close(a, torch.stack([left, right])[:, 100:300], atol=1e-4, rtol=0)
    torch.testing.assert_close(b, left.expand(2, -1), atol=1e-4, rtol=0)
    mono = Reader(clips, 8000, damage, cache=cache)
    torch.testing.assert_close(mono.read(0)[0], (left + right) / 2, atol=1e-4, rtol=0)
