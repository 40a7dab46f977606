"""A condition that is neither of classes nor of prompts is given all that a request holds."""

import torch

from intaglio.generators.conditioning.base import Condition
from intaglio.generators.image.llamagen import llamagen
from intaglio.recipes.sampling.requests import SampleRequest, condition_of


class Lengths(Condition):
    """Class and number of letters of the caption."""

    prefix = 2

    def create_weights(self, dim):
        self.direction = torch.nn.Parameter(torch.randn(2, dim))

    def of_batch(self, batch):
        letters = torch.tensor([len(text) for text in batch["caption"]])
        return torch.stack([batch["label"], letters], dim=1)


def test_a_new_condition_is_given_the_keys_of_a_training_batch():
    generator = llamagen("tiny", shape=(2, 2), vocab=(7,), condition=Lengths())
    requests = [SampleRequest(0, text="red"), SampleRequest(1, label=4)]
    assert condition_of(generator, requests).tolist() == [[-1, 3], [4, 0]]
