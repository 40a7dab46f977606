"""`ImageFolder`: same batches for any number of workers, no leak, no file lost in silence."""

import logging
import re
from pathlib import Path

import pytest
import torch

from intaglio.data.formats.image import read_image, write_image
from intaglio.data.image import ImageFolder, Images
from intaglio.data.image_transforms import to_unit
from intaglio.data.manifest import Record, write_manifest
from intaglio.data.pictures import Fitting, PictureReader, scan_images


def fill(folder: Path, count: int) -> list[Path]:
    """Write different images of several sizes, in sub-folders."""
    generator = torch.Generator().manual_seed(1)
    paths = []
    for number in range(count):
        shape = (3, 8 + number % 3, 8 + number % 5)
        path = folder / "ab"[number % 2] / f"{number:03d}.{('png', 'webp')[number % 3 == 0]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8))
        paths.append(path)
    return paths


def module(root: Path, **options) -> ImageFolder:
    defaults = {"batch_size": 4, "validation_share": 0.2, "test_share": 0.2, "seed": 3}
    made = ImageFolder(str(root), 8, **(defaults | options))
    made.setup()
    return made


def epochs(made: ImageFolder, count: int = 2) -> list[dict]:
    loader = made.train_dataloader()
    return [batch for _ in range(count) for batch in loader]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("images")
    fill(root, 30)
    (root / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    write_image(root / ".hidden" / "a.png", torch.zeros(3, 9, 9, dtype=torch.uint8))
    return root


def test_training_batches(folder):
    made = module(folder)
    batch = epochs(made)[0]
    assert set(batch) == {"image", "label", "caption", "path"}
    assert batch["image"].shape == (4, 3, 8, 8) and batch["image"].dtype == torch.float32
    assert batch["label"].dtype == torch.int64 and batch["caption"] == [""] * 4
    assert made.classes == ["a", "b"]
    for path, label in zip(batch["path"], batch["label"].tolist(), strict=True):
        assert Path(path).parent.name == made.classes[label]
    assert -1 <= batch["image"].min() < -0.9 and 0.9 < batch["image"].max() <= 1


def test_an_epoch_is_one_pass_and_the_next_differs(folder):
    made = module(folder, batch_size=1)
    count = len(made.readers["train"])
    paths = [batch["path"][0] for batch in epochs(made)]
    assert sorted(paths[:count]) == sorted(paths[count:]) and paths[:count] != paths[count:]
    assert len(set(paths[:count])) == count


@pytest.mark.parametrize("options", [{"num_workers": 1}, {"cache": True}], ids=["worker", "cache"])
def test_workers_and_memory_give_the_same_batches(folder, options):
    augmented = {"flip": 0.5, "shift": 2}
    plain, other = module(folder, **augmented), module(folder, **augmented, **options)
    for one, two in zip(epochs(plain), epochs(other), strict=True):
        assert torch.equal(one["image"], two["image"]) and one["path"] == two["path"]


def test_a_training_goes_on_with_the_next_batch(folder):
    whole = epochs(module(folder, flip=0.5))
    loader = module(folder, flip=0.5).train_dataloader()
    loader.load_state_dict({"epoch": 0, "batches": 2})
    left = [batch for _ in range(2) for batch in loader]
    assert len(left) == len(whole) - 2
    for ours, theirs in zip(left, whole[2:], strict=True):
        assert torch.equal(ours["image"], theirs["image"])


def test_augmentation_depends_on_seed_pass_and_index_alone(folder):
    made = module(folder, flip=0.5, shift=2)
    reader, labels = made.readers["train"], made.labels
    items = Images(reader, labels, flip=0.5, shift=2, seed=3)
    assert torch.equal(items[5, 3].image, items[5, 3].image)
    drawn = torch.stack([items[number, 3].image for number in range(40)])
    assert len(drawn.unique(dim=0)) > 10
    other = Images(reader, labels, flip=0.5, shift=2, seed=4)
    assert any(not torch.equal(other[n, 3].image, drawn[n]) for n in range(5))
    still = Images(reader, labels)
    assert torch.equal(still[0, 3].image, to_unit(reader.read(3)))
    assert torch.equal(still[3].image, still[9, 3].image)


def test_validation_holds_all_images_of_its_side_as_they_are(folder):
    made = module(folder, flip=1.0, shift=3)
    (loader,) = made.val_dataloader()
    batches = list(loader)
    images = torch.cat([batch["image"] for batch in batches])
    reader = made.readers["validation"]
    assert torch.equal(images, to_unit(torch.stack([reader.read(i) for i in range(len(reader))])))
    sides = [{file.path for file in one.files} for one in made.readers.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 30
    predicted = [path for batch in made.predict_dataloader() for path in batch["path"]]
    assert len(predicted) == 30


def test_images_of_a_source_or_a_caption_lie_on_one_side(tmp_path):
    paths = fill(tmp_path, 40)
    records = [
        Record(
            str(path.relative_to(tmp_path)),
            text=f"No {number % 8}",
            source=f"base {number % 5}" if number % 2 else "",
            label="odd" if number % 2 else "",
        )
        for number, path in enumerate(paths)
    ]
    write_manifest(tmp_path / "manifest.jsonl", records)
    made = module(tmp_path)
    keys = [{f.record.source or f.record.text for f in r.files} for r in made.readers.values()]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]
    assert made.classes == ["odd"]
    batches = epochs(made)
    assert {int(label) for batch in batches for label in batch["label"]} == {-1, 0}
    assert all(caption.startswith("No ") for batch in batches for caption in batch["caption"])


def test_damaged_files_are_counted_named_and_replaced(tmp_path, caplog):
    paths = fill(tmp_path, 20)
    paths[3].write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        made = module(tmp_path, max_bad_share=0.2)
    assert "1 of 20 files cannot be read" in caplog.text and str(paths[3]) in caplog.text
    victim = next(file.path for file in made.readers["train"].files)
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) * 2 // 3])
    batches = epochs(made)
    assert len(made.damage) == 2 and str(victim) in caplog.text
    assert str(victim) not in [path for batch in batches for path in batch["path"]]
    with pytest.raises(ValueError, match=r"2 of 20 files.*more than the 5.0%"):
        module(tmp_path, max_bad_share=0.05, cache=True)


def test_small_images_are_left_out(tmp_path, caplog):
    fill(tmp_path, 20)
    with caplog.at_level(logging.WARNING):
        made = module(tmp_path, min_side=9)
    assert re.search(
        r"left out: \d+ with a side below 9 pixels \(a/.*, .*, .* and \d+ more\)", caplog.text
    )
    sizes = [min(file.info) for reader in made.readers.values() for file in reader.files]
    assert 0 < len(sizes) < 20 and min(sizes) == 9
    with pytest.raises(ValueError, match="no image for training.*20 files, 0 damaged, 20 with"):
        module(tmp_path, min_side=99)


def test_a_letterbox_shows_everything(tmp_path):
    write_image(tmp_path / "a.png", torch.zeros(3, 4, 8, dtype=torch.uint8))
    damage = module(tmp_path, validation_share=0, test_share=0, batch_size=1).damage
    files = scan_images(tmp_path, [Record("a.png")], damage)
    square = PictureReader(files, Fitting(8, "letterbox", (9, 9, 9)), damage).read(0)
    assert square[:, 2:6].max() == 0 and square[:, :2].min() == square[:, 6:].max() == 9
    assert torch.equal(read_image(tmp_path / "a.png"), square[:, 2:6])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": 0}, "squares of 0"),
        ({"size": 8, "shift": 8}, "by 8"),
        ({"size": 8, "flip": 1.5}, "1.5"),
        ({"size": 8, "fit": "squash"}, "squash"),
        ({"size": 8, "background": (0, 0, 256)}, "256"),
        ({"size": 8, "batch_size": 0}, "batch 0"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        ImageFolder("anywhere", **options)


def test_a_folder_without_images_and_a_set_of_recordings_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("INTAGLIO_DATA", str(tmp_path / "nothing fetched"))
    with pytest.raises(ValueError, match="no image files in"):
        module(tmp_path)
    with pytest.raises(ValueError, match="speech-prompts holds files of kind audio"):
        module(Path("speech-prompts"))
    with pytest.raises(FileNotFoundError, match="run `intaglio data get emoji-3d`"):
        module(Path("emoji-3d"))
