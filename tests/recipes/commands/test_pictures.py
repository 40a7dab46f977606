"""`encode`, `decode` and `info` of images: any size comes back, and the wrong kind is one line."""

import json

import pytest
import torch

from intaglio.codecs import load
from intaglio.data.formats.image import read_image
from intaglio.data.formats.tokens import Extent, read_tokens
from intaglio.data.image_transforms import padded, to_pixels, to_unit


@pytest.mark.parametrize("size", [(16, 16), (17, 22), (3, 5), (1, 40)])
def test_tokens_and_pixels_equal_those_of_the_codec(intaglio, draw, image_bundle, tmp_path, size):
    source = draw(tmp_path / "a.png", *size)
    tokens, out = tmp_path / "a.intaglio", tmp_path / "b.png"
    assert intaglio("encode", source, "-o", tokens, "--codec", image_bundle) == (0, "", "")
    codec = load(image_bundle)
    with tokens.open("rb") as file:
        header, ids = read_tokens(file)
    expected = codec.encode(to_unit(padded(read_image(source), 4)).unsqueeze(0))
    assert torch.equal(ids, expected.ids[0])
    assert header.picture == Extent(*size, *expected.grid) and header.modality == "image"
    assert header.fingerprint == codec.fingerprint and header.extras == {}
    assert intaglio("decode", tokens, "-o", out, "--codec", image_bundle) == (0, "", "")
    whole = to_pixels(codec.decode(expected)[0])
    assert torch.equal(read_image(out), whole[:, : size[0], : size[1]])


def test_a_folder_is_mirrored_and_damaged_files_are_named(intaglio, draw, image_bundle, tmp_path):
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "in" / "deep" / "b.jpg")
    (tmp_path / "in" / "bad.webp").write_bytes(b"RIFF, but no more")
    (tmp_path / "in" / "song.wav").touch()
    out = tmp_path / "out"
    status, _, err = intaglio("encode", tmp_path / "in", "-o", out, "--codec", image_bundle)
    assert status == 1 and "1 of 3 files could not be encoded" in err and "3/3" in err
    assert "in/bad.webp is not an image" in err
    assert intaglio("decode", out, "-o", tmp_path / "back", "--codec", image_bundle).status == 0
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("back/**/*.*"))
    assert found == ["back/a.png", "back/deep/b.png"]


def test_the_wrong_kind_is_one_line(refusal, draw, record, bundle, image_bundle, tmp_path):
    picture, sound = draw(tmp_path / "a.png"), record(tmp_path / "a.wav")
    out = tmp_path / "new" / "t"
    line = refusal("encode", sound, "-o", out, "--codec", image_bundle)
    assert line == f"{sound}: it is a recording, tiny picture is a codec of images"
    line = refusal("encode", picture, "-o", out, "--codec", bundle)
    assert line == f"{picture}: it is an image, tiny is a codec of audio"
    for options in (("--stereo", "folded"), ("--levels", 1), ("--loudness", -16)):
        line = refusal("encode", picture, "-o", out, "--codec", image_bundle, *options)
        assert "are for audio" in line
    for options in (("--tokens", 3), ("--fit", "crop")):
        assert "are for images" in refusal("encode", sound, "-o", out, "--codec", bundle, *options)
    line = refusal("encode", picture, "-o", out, "--codec", image_bundle, "--fit", "crop")
    assert "any size" in line
    line = refusal("encode", picture, "-o", out, "--codec", image_bundle, "--tokens", 3)
    assert "tiny picture decodes all 30 positions, not 3" in line
    assert not out.parent.exists()


def test_token_files_of_the_other_kind_are_one_line(
    intaglio, refusal, draw, record, bundle, image_bundle, tmp_path
):
    picture, sound = draw(tmp_path / "a.png"), record(tmp_path / "b.wav")
    intaglio("encode", picture, "-o", tmp_path / "a.intaglio", "--codec", image_bundle)
    intaglio("encode", sound, "-o", tmp_path / "b.intaglio", "--codec", bundle)
    line = refusal("decode", tmp_path / "a.intaglio", "-o", tmp_path / "c.wav", "--codec", bundle)
    assert "made with the codec tiny picture" in line
    line = refusal(
        *("decode", tmp_path / "b.intaglio", "-o", tmp_path / "c.png", "--codec", image_bundle)
    )
    assert "made with the codec tiny" in line
    line = refusal(
        *("decode", tmp_path / "a.intaglio", "-o", tmp_path / "c.wav", "--codec", image_bundle)
    )
    assert "can write .png" in line
    existing = refusal("encode", picture, "-o", tmp_path / "b.wav", "--codec", image_bundle)
    assert "--overwrite" in existing


def test_info_tells_of_pictures(intaglio, draw, image_bundle, tmp_path):
    tokens = tmp_path / "a.intaglio"
    intaglio("encode", draw(tmp_path / "a.png"), "-o", tokens, "--codec", image_bundle)
    facts = json.loads(intaglio("info", tokens, "--json").out)
    assert (facts["modality"], facts["height"], facts["width"]) == ("image", 17, 22)
    assert (facts["rows"], facts["columns"], facts["positions"]) == (5, 6, 30)
    assert facts["nominal_bits"] == 270
    assert facts["nominal_bits_per_pixel"] == pytest.approx(270 / 17 / 22)
    assert "sample_rate" not in facts and "seconds" not in facts
    codec = json.loads(intaglio("info", image_bundle, "--json").out)
    assert (codec["image_size"], codec["hop_length"], codec["positions"]) == (16, 4, 16)
    assert (codec["any_size"], codec["flexible"], codec["nominal_bits"]) == (True, False, 144)
