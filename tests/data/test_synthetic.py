"""`SyntheticAudio` has the batches of `AudioFolder`: new ones each epoch, equal for any workers."""

import pytest
import torch

from intaglio.data.synthetic import SyntheticAudio


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
