"""Feature distillation by hand, on grids and on sequences."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.losses.distillation import FeatureDistillation, grid_of
from intaglio.codecs.losses.perceptual import FeatureNetwork
from intaglio.codecs.quantizers.split import SplitQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer


class Pixels(FeatureNetwork):
    """Features that are the pixels."""

    def forward(self, x):
        return [x.mean(1, keepdim=True), x]


def test_each_latent_tells_the_features_of_its_place():
    loss = FeatureDistillation(Pixels(), 5, 3, hidden=7)
    latents, image = torch.randn(2, 8, 5), torch.randn(2, 3, 8, 16)
    first, _, second = loss.predictor
    predicted = F.silu(latents @ first.weight.T + first.bias) @ second.weight.T + second.bias
    terms = []
    for item in range(2):
        for position in range(8):
            row, column = divmod(position, 4)
            patch = image[item, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            terms.append(
                torch.cosine_similarity(predicted[item, position], patch.mean((1, 2)), dim=0)
            )
    torch.testing.assert_close(loss(latents, image), 1 - torch.stack(terms).mean())


def test_without_places_the_means_are_compared():
    loss = FeatureDistillation(Pixels(), 5, 3, spatial=False)
    latents, image = torch.randn(2, 7, 5), torch.randn(2, 3, 8, 16)
    predicted = loss.predictor(latents).mean(1)
    expected = 1 - torch.cosine_similarity(predicted, image.mean((2, 3))).mean()
    torch.testing.assert_close(loss(latents, image), expected)
    assert (
        torch.equal(loss(latents[:, torch.randperm(7)], image), loss(latents, image))
        or (loss(latents[:, torch.randperm(7)], image) - loss(latents, image)).abs() < 1e-6
    )


def test_latents_and_the_reader_learn_and_the_teacher_does_not():
    loss = FeatureDistillation(Pixels(), 5, 3)
    latents = torch.randn(1, 4, 5, requires_grad=True)
    image = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss(latents, image).backward()
    assert latents.grad.abs().sum() > 0 and image.grad is None
    assert all(p.grad.abs().sum() > 0 for p in loss.predictor.parameters())


def test_latents_must_be_a_grid():
    image = torch.zeros(1, 3, 8, 16)
    assert grid_of(8, image) == (2, 4) and grid_of(2, image) == (1, 2)
    for wrong in (1, 4, 7, 12):
        with pytest.raises(
            ValueError, match=f"{wrong} latents do not form a grid over 8 x 16 pixels"
        ):
            grid_of(wrong, image)


class Frames(FeatureNetwork):
    """Features that are the means of eight samples, and their squares."""

    def forward(self, x):
        means = x.unflatten(-1, (-1, 8)).mean(-1)
        return [torch.cat([means, means.square()], dim=1)]


def test_a_latent_of_a_waveform_tells_the_features_of_its_time():
    loss = FeatureDistillation(Frames(), 5, 2, hidden=None, semantic=True)
    latents, wave = torch.randn(2, 3, 5), torch.randn(2, 1, 3 * 32)
    features = loss.teacher(wave)[0].unflatten(-1, (3, 4)).mean(-1).transpose(1, 2)
    predicted = latents @ loss.predictor.weight.T + loss.predictor.bias
    expected = 1 - torch.cosine_similarity(predicted, features, dim=-1).mean()
    torch.testing.assert_close(loss(latents, wave), expected)


def test_only_the_semantic_levels_learn_from_it():
    """In a training step: the acoustic ones have no part in the loss."""
    quantizer = SplitQuantizer(
        6, *(VectorQuantizer(4, 8, kmeans_iterations=0) for _ in range(2))
    ).train()
    loss = FeatureDistillation(Frames(), 6, 2, hidden=None, semantic=True)
    quantized = quantizer(torch.randn(2, 3, 6))
    loss(quantized.of_levels(loss.semantic), torch.randn(2, 1, 96)).backward()
    assert quantizer.project_out["semantic"].weight.grad.abs().sum() > 0
    assert quantizer.project_out["acoustic"].weight.grad is None
