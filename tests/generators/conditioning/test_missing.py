"""A condition that the whole data lack: refused in a training, and a class of it in a drawing."""

from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer

from intaglio.codecs.bundle import save
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.conditioning.encoded import EncodedText
from intaglio.generators.conditioning.text import TextCondition
from intaglio.generators.image.llamagen import llamagen
from intaglio.generators.load import load
from intaglio.generators.provenance import Provenance, packed, unpacked
from intaglio.generators.task import GeneratorTask
from intaglio.recipes.sampling.requests import requests_of

CLASSES = ("ant", "bee", "cow")


class Source(NamedTuple):
    """Where the tokens come from."""

    codec: str = "tiny"
    fingerprint: str = "f" * 32
    vocab: tuple[int, ...] = (7,)
    shape: tuple[int, ...] = (2, 2)
    any_length: bool = False


class Data(LightningDataModule):
    """Two items of four tokens."""

    def __init__(self, counts, texts):
        super().__init__()
        self.classes = [] if counts is not None and not sum(counts) else CLASSES
        self.known, self.source = (counts, texts), Source()

    def conditions(self):
        return self.known

    def training_tokens(self):
        return torch.zeros(2, 4, 1, dtype=torch.int64)


def set_up(condition, counts, texts):
    """What the task refuses before the first batch."""
    generator = llamagen("tiny", shape=(2, 2), vocab=(7,), condition=condition)
    task = GeneratorTask(generator.train())
    task.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    task.trainer.datamodule = Data(counts, texts)
    task.setup("fit")
    return task.generator.eval()


def test_a_generator_of_texts_refuses_data_without_any():
    with pytest.raises(ValueError, match="no item for training has a text"):
        set_up(TextCondition(), (1, 1, 0), 0)
    assert set_up(TextCondition(), (0, 0, 0), 1).provenance.texts == 1


def test_a_generator_of_classes_refuses_data_without_any():
    with pytest.raises(ValueError, match="no item for training has a class"):
        set_up(ClassCondition(5), (0, 0, 0), 2)
    set_up(ClassCondition(5), (0, 2, 0), 0)
    set_up(ClassCondition(5), None, None)  # of data that do not say
    unconditional = set_up(ClassCondition(0), (0, 0, 0), 0)
    assert unconditional.condition(torch.tensor([-1, -1])).shape == (2, 1, 160)


def test_a_missing_text_encoder_is_met_before_the_first_batch(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match="finds no text encoder"):
        set_up(EncodedText(str(tmp_path), channels=8, prefix=4), (0, 0, 0), 2)


def test_a_class_that_was_never_trained_is_not_drawn(tmp_path):
    """The bundle knows which ones there were."""
    generator = set_up(ClassCondition(10), (1, 0, 4), 0)
    found = load(save(generator, tmp_path / "bundle"))
    assert found.provenance.counts == (1, 0, 4)
    assert [r.label for r in requests_of(found, classes=["cow", "0"])] == [2, 0]
    for name in ("bee", "1", "3", "9"):  # also those beyond the classes of the data
        with pytest.raises(ValueError, match=f"nothing of class {name}: give one of ant, cow$"):
            requests_of(found, classes=[name])


def test_a_generator_of_before_knows_only_the_names():
    """Its provenance stays as it is written."""
    old = Provenance("tiny", "f" * 32, CLASSES)
    assert b"counts" not in bytes(packed(old).tolist()) and unpacked(packed(old)) == old
    assert [old.trained(label) for label in range(4)] == [True, True, True, False]
    assert Provenance("tiny", "f" * 32).trained(900)
