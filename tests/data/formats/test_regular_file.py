"""What is no file with something in it is refused by the readers of sounds and of images alike."""

import os

import pytest

from intaglio.data.formats.image import probe_image, read_image
from intaglio.data.formats.regular_file import read_text
from intaglio.data.formats.shards import ShardRow, check_shard, read_row, read_shard
from intaglio.data.formats.wave import probe, read_blocks, read_wave
from intaglio.data.manifest import read_manifest

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


@pytest.mark.parametrize(
    "read",
    [
        lambda path: list(read_shard(path)),
        lambda path: check_shard(path, ShardRow(path.name, 0, 0, "", {})),
        lambda path: read_row(path.with_suffix(".tar")),
        read_manifest,
        lambda path: read_text(path, "a list"),
    ],
)
def test_a_pipe_in_the_place_of_a_shard_its_row_or_a_text_does_not_hang(tmp_path, read):
    path = tmp_path / "pipe.json"
    os.mkfifo(path)
    with pytest.raises(ValueError, match="pipe.json is a device or a pipe, not a file"):
        read(path)


def test_a_text_of_another_encoding_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_bytes("ein Käse".encode("latin-1"))
    with pytest.raises(
        ValueError, match=r"captions.txt is not UTF-8 text \(.* at byte 5\); convert"
    ):
        read_text(path, "a list")
    path.write_bytes(b"\xef\xbb\xbfwith a mark")
    assert read_text(path, "a list") == "with a mark"
    with pytest.raises(ValueError, match="captions.txt has 14 bytes; the limit for a list is 9"):
        read_text(path, "a list", max_bytes=9)
