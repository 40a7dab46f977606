"""``intaglio eval image``: table, records, figures, and how it fails."""

import json

import pytest

from intaglio.codecs import load
from intaglio.data.formats.image import read_image
from intaglio.data.image_transforms import fitted, to_pixels, to_unit
from intaglio.data.manifest import Record
from intaglio.recipes.evaluation.image.comparison import compare_images
from intaglio.recipes.evaluation.image.metrics import PSNR
from intaglio.recipes.evaluation.image.pictures import read_pictures
from intaglio.recipes.evaluation.scores import Pair


@pytest.fixture
def data(draw, tmp_path):
    for name in ("a.png", "deep/b.webp", "c.jpg"):
        draw(tmp_path / "data" / name, 30, 40)
    return tmp_path / "data"


def test_table_records_and_figures(intaglio, data, image_bundle, tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'intaglio[demo]'")
    status, out, err = intaglio(
        "eval", "image", "--codec", image_bundle, "--data", data, "--metrics", "psnr,ssim,rfd",
        "--baselines", "jpeg,webp-q10", "--json", tmp_path / "e.json",
        "--plot", tmp_path / "p.png", "--figures", tmp_path / "f",
    )  # fmt: skip
    assert status == 0, err
    assert "3 images of" in out and "16 x 16 pixels" in out and "jpeg-matched" in out
    assert "rFD[effnet-lite0@128,pca64]" in "".join(out.splitlines()[1:6])  # in the heading
    assert "codebook 1: " in out and "bits of an image: 144 nominal" in out
    ours, *classic = json.loads((tmp_path / "e.json").read_text())
    assert (ours["system"], ours["bits"], ours["items"]) == ("tiny picture", 144, 3)
    assert ours["name"] == str(data) and ours["metrics"].keys() >= {"psnr", "ssim"}
    assert ours["bits_per_pixel"] == 144 / 256 and len(ours["tokens"]["perplexity"]) == 1
    names = ["jpeg-matched", "jpeg-q5", "jpeg-q30", "jpeg-q80", "webp-q10"]
    assert [one["system"] for one in classic] == names
    assert classic[3]["metrics"]["psnr"] > classic[1]["metrics"]["psnr"]
    assert classic[3]["bits"] > classic[1]["bits"] and "tokens" not in classic[0]
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [
        "reconstructions.png",
        "usage.png",
    ]
    # original, codec, matched JPEG over three pictures, each enlarged to 64 pixels
    assert read_image(tmp_path / "f" / "reconstructions.png").shape == (3, 3 * 68, 3 * 68)


def test_the_score_is_that_of_what_the_codec_gives(data, image_bundle):
    codec = load(image_bundle)
    items = read_pictures(data, [Record("a.png")], 16)
    (result,) = compare_images({"one": codec}, items, metrics=[PSNR()])
    pixels = fitted(read_image(data / "a.png"), 16)
    decoded = to_pixels(codec.decode(codec.encode(to_unit(pixels).unsqueeze(0)))[0])
    assert result.row.scores["psnr"].mean == pytest.approx(PSNR()(Pair(pixels, decoded)))


def test_the_shuffled_control_is_the_score_against_the_next_image(data, image_bundle):
    codec = load(image_bundle)
    items = read_pictures(data, [Record("a.png"), Record("c.jpg"), Record("deep/b.webp")], 16)
    (result,) = compare_images({"one": codec}, items, metrics=[PSNR()])
    scores = [PSNR()(Pair(items[n].content, result.output.decoded[(n + 1) % 3])) for n in range(3)]
    assert result.row.facts["shuffled_psnr"] == pytest.approx(sum(scores) / 3)
    (alone,) = compare_images({"one": codec}, items[:1], metrics=[PSNR()])
    assert "shuffled_psnr" not in alone.row.facts


def test_several_codecs_stand_side_by_side(intaglio, refusal, data, image_bundle, bundle, tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'intaglio[demo]'")
    words = ("eval", "image", "--data", data, "--metrics", "psnr", "--baselines", "jpeg-q30")
    two = ("--codec", image_bundle, "--codec", image_bundle)
    status, out, err = intaglio(
        *words, *two, "--json", tmp_path / "e.json", "--figures", tmp_path / "f"
    )
    assert status == 0, err
    first, second, jpeg = json.loads((tmp_path / "e.json").read_text())
    names = ["tiny picture", "tiny picture#2", "jpeg-q30"]
    assert [one["system"] for one in (first, second, jpeg)] == names
    assert first["metrics"] == second["metrics"] != jpeg["metrics"]
    assert first["shuffled_psnr"] == second["shuffled_psnr"] and "shuffled_psnr" not in jpeg
    assert "tiny picture#2: codebook 1: " in out
    assert "from the top originals, tiny picture, tiny picture#2" in "".join(out.splitlines())
    names = ["reconstructions.png", "tiny picture#2-usage.png", "tiny picture-usage.png"]
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == names
    assert read_image(tmp_path / "f" / "reconstructions.png").shape == (3, 3 * 68, 3 * 68)
    mixed = (*words, "--codec", image_bundle, "--codec", bundle)
    assert "not a codec of images" in refusal(*mixed)


def test_sizes_that_are_no_multiple_are_cut_off_again(data, image_bundle):
    items = read_pictures(data, [Record("a.png")], 18)
    (result,) = compare_images({"one": load(image_bundle)}, items, metrics=[PSNR()])
    assert result.output.decoded[0].shape == (3, 18, 18) and result.row.bits == 25 * 9


def test_damaged_images_are_named(intaglio, data, image_bundle):
    (data / "bad.png").write_bytes(b"no image")
    words = ("--metrics", "psnr", "--baselines", "none")
    status, out, err = intaglio("eval", "image", "--codec", image_bundle, "--data", data, *words)
    assert status == 1 and "bad.png is not an image" in err and "1 of 4 images" in err
    assert "3 images of" in out


def test_wrong_words_are_one_line(refusal, data, bundle, image_bundle, tmp_path):
    base = ("eval", "image", "--data", data)
    image = (*base, "--codec", image_bundle)
    assert "unknown metric stoi; of images" in refusal(*image, "--metrics", "stoi", status=2)
    assert "of images there are jpeg" in refusal(*image, "--baselines", "opus-6k", status=2)
    assert "not a codec of images" in refusal(*base, "--codec", bundle)
    (tmp_path / "empty").mkdir()
    line = refusal(*image, "--data", tmp_path / "empty")
    assert "no image files" in line


def test_each_kind_has_its_own_codecs_and_options(refusal, data, bundle, image_bundle):
    audio = ("eval", "audio", "--data", data)
    assert "no audio files" in refusal(*audio, "--codec", bundle)
    assert "not a codec of waves" in refusal(*audio, "--codec", image_bundle)
    line = refusal(*audio, "--codec", bundle, "--size", 32, status=2)
    assert line == "unrecognized arguments: --size 32; see `intaglio eval audio --help`"
    line = refusal("eval", "image", "--data", data, "--rate", 16000, status=2)
    assert line == "unrecognized arguments: --rate 16000; see `intaglio eval image --help`"
