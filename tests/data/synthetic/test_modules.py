"""Synthetic data has the batches of the real: new ones each epoch, equal for any workers."""

import pytest
import torch

from intaglio.data.synthetic.images import KINDS, shapes_image
from intaglio.data.synthetic.modules import SyntheticAudio, SyntheticImages


def epochs(workers: int) -> list[torch.Tensor]:
    made = SyntheticAudio(8_000, 0.25, batch_size=2, samples_per_epoch=5, num_workers=workers)
    loader = made.train_dataloader()
    return [batch["wave"] for _ in range(2) for batch in loader]


def test_training_batches():
    waves = epochs(0)
    assert len(waves) == 4 and all(wave.shape == (2, 1, 2_000) for wave in waves)
    rows = torch.cat(waves)[:, 0]
    assert torch.unique(rows, dim=0).shape[0] == 8
    assert all(torch.equal(a, b) for a, b in zip(waves, epochs(1), strict=True))


def test_validation_and_test_are_fixed_and_different():
    made = SyntheticAudio(8_000, 0.25, batch_size=2, validation_samples=3)
    first, again = (list(made.val_dataloader()) for _ in range(2))
    assert [len(batch["path"]) for batch in first] == [2, 1]
    assert set(first[0]) == {"wave", "lengths", "text", "path"}
    assert first[0]["lengths"].tolist() == [2_000, 2_000]
    assert torch.equal(first[0]["wave"], again[0]["wave"])
    assert not torch.equal(first[0]["wave"][0], first[0]["wave"][1])
    assert not torch.equal(first[0]["wave"], next(iter(made.test_dataloader()))["wave"])


def test_an_epoch_without_a_batch_is_refused():
    with pytest.raises(ValueError, match="3 samples holds no batch of 4"):
        SyntheticAudio(8_000, 1.0, batch_size=4, samples_per_epoch=3)


def images(workers: int) -> list[dict]:
    made = SyntheticImages(24, batch_size=2, samples_per_epoch=5, num_workers=workers)
    loader = made.train_dataloader()
    return [batch for _ in range(2) for batch in loader]


def test_batches_of_images():
    batches = images(0)
    assert len(batches) == 4
    for batch, again in zip(batches, images(1), strict=True):
        assert batch["image"].shape == (2, 3, 24, 24) and batch["image"].abs().max() <= 1
        assert batch["caption"] == [KINDS[label] for label in batch["label"].tolist()]
        assert torch.equal(batch["image"], again["image"])
    rows = torch.cat([batch["image"] for batch in batches])
    assert torch.unique(rows, dim=0).shape[0] == 8 and rows.std() > 0.2
    made = SyntheticImages(24, validation_samples=3)
    (first,), (again,), (other,) = (
        list(loader)
        for loader in (made.val_dataloader(), made.val_dataloader(), made.test_dataloader())
    )
    assert torch.equal(first["image"], again["image"]) and len(first["path"]) == 3
    assert not torch.equal(first["image"], other["image"])


def test_shapes_do_not_depend_on_the_size():
    for kind in range(len(KINDS)):
        large, small = (
            shapes_image(size, kind, torch.Generator().manual_seed(5)) for size in (64, 16)
        )
        shrunk = torch.nn.functional.avg_pool2d(large, 4)
        assert (shrunk - small).abs().mean() < 0.1
    with pytest.raises(ValueError, match="kind 3"):
        shapes_image(8, 3, torch.Generator())
