"""What is no file with something in it is refused by the readers of sounds and of images alike."""

import os

import pytest

from intaglio.data.formats.image import probe_image, read_image
from intaglio.data.formats.wave import probe, read_blocks, read_wave

READERS = {
    "probe": probe,
    "read_wave": read_wave,
    "read_blocks": lambda path: list(read_blocks(path, 16_000)),
    "probe_image": probe_image,
    "read_image": read_image,
}


@pytest.fixture(params=READERS)
def read(request):
    return READERS[request.param]


def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path, read):
    path = tmp_path / "pipe.wav"
    os.mkfifo(path)
    with pytest.raises(ValueError, match="pipe.wav is a device or a pipe, not a file"):
        read(path)


def test_folders_empty_and_missing_files_have_different_messages(tmp_path, read):
    (tmp_path / "empty.wav").touch()
    with pytest.raises(ValueError, match="empty.wav is an empty file"):
        read(tmp_path / "empty.wav")
    with pytest.raises(ValueError, match="is a folder, not an (audio file|image)"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent.wav does not exist"):
        read(tmp_path / "absent.wav")
