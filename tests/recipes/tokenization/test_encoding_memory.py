"""Images of any size that would not fit into memory are refused before they are encoded."""

import pytest

from intaglio.codecs.image.image_small import image_small
from intaglio.recipes.tokenization import encoding_memory
from intaglio.recipes.tokenization.encoding_memory import bytes_per_pixel, check_memory


def test_the_estimate_is_near_what_was_measured():
    assert 250 < bytes_per_pixel(image_small().eval()) < 500  # measured: 320


def test_an_image_that_does_not_fit_is_refused(monkeypatch):
    codec = image_small().eval()
    monkeypatch.setattr(encoding_memory, "free_memory", lambda: 1 << 30)
    check_memory(codec, 2000, 2000)
    with pytest.raises(ValueError, match=r"8000 x 8000 pixels take about .* GiB.*1\.0 GiB"):
        check_memory(codec, 8000, 8000)
    for free in (1 << 40, None):
        monkeypatch.setattr(encoding_memory, "free_memory", lambda free=free: free)
        check_memory(codec, 8000, 8000)
