"""`AudioFolder`: same batches for any number of workers, no leak, no file lost in silence."""

import functools
import logging
from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer

from intaglio.data import clips
from intaglio.data.audio import AudioFolder
from intaglio.data.formats.wave import read_wave, write_wave
from intaglio.data.manifest import Record, write_manifest
from intaglio.data.synthetic.audio import speechlike

RATE = 8_000


@functools.cache
def long_speech() -> torch.Tensor:
    return speechlike(RATE * 5, RATE, torch.Generator().manual_seed(1))


def fill(folder: Path, count: int, rate: int = RATE) -> list[Path]:
    """Write different clips of 0.3 to 1 s, in sub-folders."""
    speech = long_speech()
    paths = []
    for number in range(count):
        samples = int(rate * (0.3 + 0.7 * (number * 7 % 10) / 10))
        wave = speech[number * 500 : number * 500 + samples]
        path = folder / f"{'ab'[number % 2]}" / f"{number:03d}.{('wav', 'flac')[number % 3 == 0]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wave(path, wave, rate)
        paths.append(path)
    return paths


def module(root: Path, **options) -> AudioFolder:
    defaults = {"batch_size": 4, "validation_share": 0.2, "test_share": 0.2, "seed": 3}
    made = AudioFolder(str(root), RATE, 0.5, **(defaults | options))
    made.setup()
    return made


def epochs(made: AudioFolder, count: int = 2) -> list[torch.Tensor]:
    loader = made.train_dataloader()
    return [batch["wave"] for _ in range(count) for batch in loader]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("speech")
    fill(root, 30)
    (root / "notes.txt").write_text("no audio")
    (root / ".hidden").mkdir()
    write_wave(root / ".hidden" / "a.wav", torch.zeros(RATE), RATE)
    return root


def test_training_batches(folder):
    made = module(folder)
    batches = list(made.train_dataloader())
    assert len(batches) == len(made.readers["train"]) // 4
    for batch in batches:
        assert set(batch) == {"wave", "lengths", "path"}
        assert batch["wave"].shape == (4, 1, RATE // 2) and batch["wave"].dtype == torch.float32
        assert (
            batch["lengths"].tolist() == [RATE // 2] * 4 and batch["lengths"].dtype == torch.int64
        )
        peaks = 20 * batch["wave"].abs().amax((1, 2)).log10()
        assert (peaks > -6.01).all() and (peaks < -0.99).all()


def test_every_file_is_in_one_split_and_hidden_ones_in_none(folder):
    made = module(folder)
    paths = [clip.path for reader in made.readers.values() for clip in reader.clips]
    assert len(paths) == len(set(paths)) == 30
    assert all(len(reader) > 1 for reader in made.readers.values())


def test_whole_clips_are_padded_and_levelled(folder):
    (loader,) = module(folder).val_dataloader()
    batch = next(iter(loader))
    assert set(batch) == {"wave", "lengths", "text", "path"}
    for wave, length, path in zip(batch["wave"], batch["lengths"], batch["path"], strict=True):
        original, _ = read_wave(path)
        assert length == original.shape[1] and not wave[:, length:].any()
        scale = 10 ** (-3 / 20) / original.abs().max()
        torch.testing.assert_close(wave[:, :length], original * scale)
    (loader,) = module(folder, max_seconds=0.35).test_dataloader()
    assert next(iter(loader))["lengths"].max() == int(0.35 * RATE)


def test_batches_do_not_depend_on_the_number_of_workers(folder):
    alone = epochs(module(folder))
    helped = epochs(module(folder, num_workers=2))
    assert len(alone) == len(helped) > 4
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))
    half = len(alone) // 2
    assert not torch.equal(torch.cat(alone[:half]), torch.cat(alone[half:]))
    other = epochs(module(folder, seed=4))
    assert not torch.equal(alone[0], other[0])


def test_each_pass_draws_anew_for_the_same_clip(folder):
    crops = module(folder).train_dataloader().dataset
    index = max(range(len(crops)), key=lambda index: crops.reader.lengths[index])
    first, again, later = (crops[number, index].wave for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, later * (first.abs().max() / later.abs().max()))


@pytest.mark.parametrize("rate", [RATE, 11_025, 16_000])
def test_memory_and_disk_give_the_same_batches(tmp_path, rate):
    fill(tmp_path, 8, rate)
    stored = module(tmp_path, validation_share=0, test_share=0, cache=True)
    read = module(tmp_path, validation_share=0, test_share=0)
    for a, b in zip(epochs(stored), epochs(read), strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=0)
    for path in tmp_path.rglob("*.*"):
        path.unlink()
    assert len(epochs(stored)) == 4


def test_short_clips_are_repeated(tmp_path):
    write_wave(tmp_path / "a.wav", long_speech()[: RATE // 5], RATE)
    made = module(tmp_path, validation_share=0, test_share=0, batch_size=1)
    (crop,) = epochs(made, 1)
    assert torch.equal(crop[..., : RATE // 5], crop[..., RATE // 5 : 2 * (RATE // 5)])
    assert made.val_dataloader() == [] == made.test_dataloader()


def test_an_epoch_can_have_any_size(folder):
    made = module(folder, samples_per_epoch=50)
    assert len(list(made.train_dataloader())) == 50 // 4
    few = module(folder, batch_size=64)
    (batch,) = few.train_dataloader()
    assert len(batch["wave"]) == 64


def test_one_text_lies_on_one_side(tmp_path):
    paths = fill(tmp_path, 40)
    texts = [("One!", "one", "Two.", "Three", "four", "Five")[number % 6] for number in range(40)]
    write_manifest(
        tmp_path / "m.jsonl",
        [
            Record(str(path.relative_to(tmp_path)), text=text)
            for path, text in zip(paths, texts, strict=True)
        ],
    )
    for seed in range(8):
        made = module(tmp_path / "m.jsonl", validation_share=0.3, test_share=0.3, seed=seed)
        sides = [
            {clip.record.text.strip("!.").lower() for clip in reader.clips}
            for reader in made.readers.values()
        ]
        assert sum(map(len, sides)) == len(set().union(*sides)) == 5


def test_texts_reach_the_batch_and_a_folder_with_a_manifest_uses_it(tmp_path):
    paths = fill(tmp_path, 12)
    records = [
        Record(str(path.relative_to(tmp_path)), text=f"text of {path.stem}") for path in paths[:10]
    ]
    write_manifest(tmp_path / "manifest.jsonl", records)
    made = module(tmp_path)
    assert sum(len(reader) for reader in made.readers.values()) == 10
    (loader,) = made.val_dataloader()
    for batch in loader:
        assert batch["text"] == [f"text of {Path(path).stem}" for path in batch["path"]]


def damage(paths: list[Path]) -> None:
    """Cut one file, empty one, replace one by text, all visible in the header."""
    paths[0].write_bytes(paths[0].read_bytes()[:20])
    paths[1].write_bytes(b"")
    paths[2].write_text("no audio " * 50)


def test_damaged_files_are_counted_and_named(tmp_path, caplog):
    paths = fill(tmp_path, 20)
    damage(paths)
    with caplog.at_level(logging.WARNING):
        made = module(tmp_path, max_bad_share=0.2)
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("3 of 20 files cannot be read") and "\n" not in line
    assert all(str(path) in line for path in paths[:3]) and "empty file" in line
    assert sum(len(reader) for reader in made.readers.values()) == 17
    assert len(made.damage) == 3


def test_what_is_wrong_in_whatever_way_is_named_with_its_file(tmp_path, caplog, monkeypatch):
    """A message of a library names no file, and its class is any."""
    paths = fill(tmp_path, 20)
    read = clips.read_wave

    def broken(path, *args, **options):
        if path == paths[3]:
            raise AttributeError("no kernel for \x1b[2J")
        return read(path, *args, **options)

    monkeypatch.setattr(clips, "read_wave", broken)
    made = module(tmp_path, cache=True, max_bad_share=0.1)
    assert made.damage.summary().endswith(f"{paths[3]}: AttributeError: no kernel for \\x1b[2J")
    made = module(tmp_path, max_bad_share=0.1)
    with caplog.at_level(logging.WARNING):
        epochs(made)
    assert f"{paths[3]}: AttributeError: no kernel for \\x1b[2J; the next" in caplog.text


def test_short_clips_are_left_out_by_name(tmp_path, caplog):
    fill(tmp_path, 20)
    for number in range(5):
        write_wave(tmp_path / f"short{number}.wav", torch.zeros(9), RATE)
    with caplog.at_level(logging.WARNING):
        module(tmp_path)
    shown = "short0.wav, short1.wav, short2.wav and 2 more"
    assert f"left out: 5 shorter than 0.1 s ({shown})" in caplog.text


def test_too_many_damaged_files_stop_the_run(tmp_path):
    damage(fill(tmp_path, 20))
    with pytest.raises(ValueError, match=r"3 of 20 files.*more than the 14.0% that max_bad_share"):
        module(tmp_path, max_bad_share=0.14)
    assert module(tmp_path, max_bad_share=0.15).damage is not None


def spoil(path: Path) -> None:
    """Damage the samples but not the header."""
    content = bytearray(path.read_bytes())
    content[len(content) // 4 :] = bytes(len(content) - len(content) // 4)
    path.write_bytes(content)


@pytest.mark.parametrize("workers", [0, 1])
def test_damage_met_later_is_named_and_replaced(tmp_path, request, workers):
    log = logging.FileHandler(tmp_path / "log")  # a file, because workers write to it too
    logging.getLogger("intaglio.data.listing").addHandler(log)
    request.addfinalizer(lambda: logging.getLogger("intaglio.data.listing").removeHandler(log))
    request.addfinalizer(log.close)
    paths = fill(tmp_path, 30)
    made = module(tmp_path, num_workers=workers, max_bad_share=0.05)
    victim = next(c.path for c in made.readers["train"].clips if c.path.suffix == ".flac")
    spoil(victim)
    batches = epochs(made)
    assert all(torch.isfinite(batch).all() for batch in batches)
    assert len(made.damage) == 1
    log = (tmp_path / "log").read_text()
    assert log.count(f"{victim} is") == 1 and "next file is used instead" in log
    made.on_before_batch_transfer({}, 0)

    for path in paths:
        spoil(path) if path.suffix == ".flac" else None
    with pytest.raises(ValueError, match="more than the 5.0% that max_bad_share allows"):
        for batch in made.train_dataloader():
            made.on_before_batch_transfer(batch, 0)


def test_damaged_samples_are_found_at_setup_when_all_is_kept_in_memory(tmp_path):
    paths = fill(tmp_path, 30)
    spoil(paths[0])
    made = module(tmp_path, cache=True, max_bad_share=0.05)
    assert list(made.damage.reasons) and str(paths[0]) in made.damage.summary()
    assert sum(len(reader) for reader in made.readers.values()) == 29
    for reader in made.readers.values():
        for index, clip in enumerate(reader.clips):
            assert torch.equal(reader.read(index), read_wave(clip.path)[0])
    with pytest.raises(ValueError, match="max_bad_share"):
        module(tmp_path, cache=True, max_bad_share=0.01)


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(ValueError, match="no audio files in"):
        module(tmp_path)
    with pytest.raises(FileNotFoundError, match="not a folder, a manifest or the name"):
        module(tmp_path / "nothing")
    fill(tmp_path, 3)
    with pytest.raises(ValueError, match="no clip for training.*3 files, 0 damaged, 3 shorter"):
        module(tmp_path, min_seconds=5)


def test_a_set_that_is_not_there_names_its_command(monkeypatch, tmp_path):
    monkeypatch.setenv("INTAGLIO_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="run `intaglio data get speech-prompts`"):
        AudioFolder("speech-prompts", RATE, 1.0).setup()
    fill(tmp_path / "speech-prompts", 30)
    assert module(Path("speech-prompts")).readers["train"].clips


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"max_seconds": 0}, {"gain": (0, 3)}])
def test_wrong_numbers_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="0"):
        AudioFolder(str(tmp_path), RATE, 1.0, **wrong)


class Seen(LightningModule):
    """Keeps what it is given; learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.batches: list[tuple[int, torch.Tensor]] = []

    def training_step(self, batch, index):
        self.batches.append((self.current_epoch, batch["wave"]))
        return self.weight.sum()

    def validation_step(self, batch, index):
        assert batch["text"] == [""] * len(batch["path"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # the trainer's advice on workers and logging
@pytest.mark.parametrize("workers", [0, 1])
def test_epochs_are_right_in_a_trainer_that_is_resumed(folder, tmp_path, workers):
    def fit(until: int, resume: Path | None = None) -> Seen:
        seen = Seen()
        trainer = Trainer(
            max_epochs=until,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(seen, datamodule=module(folder, num_workers=workers), ckpt_path=resume)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return seen

    through = fit(3).batches
    expected = epochs(module(folder), 3)
    assert all(torch.equal(a, b) for (_, a), b in zip(through, expected, strict=True))
    fit(2)
    resumed = fit(3, tmp_path / "last.ckpt").batches
    rest = [wave for epoch, wave in through if epoch == 2]
    assert {epoch for epoch, _ in resumed} == {2}
    assert all(torch.equal(a, b) for (_, a), b in zip(resumed, rest, strict=True))


def test_crops_are_played_at_the_speeds_given(tmp_path):
    time = torch.arange(2 * RATE) / RATE
    for number in range(8):
        tone = 0.5 * torch.sin(2 * torch.pi * 400 * time)[None]
        write_wave(tmp_path / f"{number}.wav", tone, RATE)
    made = module(tmp_path, speeds=[0.5, 2.0], validation_share=0.0, test_share=0.0)
    waves = torch.cat(epochs(made, 4))[:, 0]
    assert waves.shape[-1] == RATE // 2
    pitches = torch.fft.rfft(waves).abs().argmax(dim=1) * 2
    assert set(pitches.tolist()) == {200, 800}


def sides(made: AudioFolder) -> dict[str, list[str]]:
    """Names of the files on each side."""
    return {side: [clip.path.name for clip in made.readers[side].clips] for side in made.readers}


def test_several_roots_are_read_and_split_as_each_alone(tmp_path):
    """A file that two roots hold counts once, on the side where the first root has it."""
    one, two = tmp_path / "one", tmp_path / "two"
    fill(one, 12)
    fill(two / "inner", 15)
    for path in (two / "inner").rglob("*.*"):
        path.rename(path.with_name(f"x{path.name}"))
    both = AudioFolder(
        [str(one), str(two), f"{two}/inner"], RATE, 0.5, batch_size=2, test_share=0.2
    )
    both.setup()
    alone = []
    for root in (one, two):
        alone.append(AudioFolder(str(root), RATE, 0.5, batch_size=2, test_share=0.2))
        alone[-1].setup()
    for side, names in sides(both).items():
        assert names == sum((sides(made)[side] for made in alone), [])
    assert sum(map(len, sides(both).values())) == 27


def test_clips_of_one_text_in_two_roots_lie_on_one_side(tmp_path):
    for root in "ab":
        paths = fill(tmp_path / root, 8)
        records = [
            Record(f"{path.parent.name}/{path.name}", text=f"sentence {number}")
            for number, path in enumerate(paths)
        ]
        write_manifest(tmp_path / root / "manifest.jsonl", records)
    made = AudioFolder(
        [str(tmp_path / root) for root in "ab"], RATE, 0.5, batch_size=2, test_share=0.3
    )
    made.setup()
    for reader in made.readers.values():
        texts = [clip.record.text for clip in reader.clips]
        assert all(texts.count(text) == 2 for text in texts)


def test_speakers_that_are_held_out_are_in_the_test_only(tmp_path):
    paths = fill(tmp_path, 24)
    records = [
        Record(f"{p.parent.name}/{p.name}", text=f"No {i % 6}", speaker=("ann", "bo", "cy")[i % 3])
        for i, p in enumerate(paths)
    ]
    write_manifest(tmp_path / "manifest.jsonl", records)
    options = {"validation_share": 0.2, "test_share": 0.2}
    made = module(tmp_path, test_speakers=["bo"], **options)
    found = {
        side: [clip.record.speaker for clip in reader.clips]
        for side, reader in made.readers.items()
    }
    assert found["test"].count("bo") == 8 and "ann" in found["train"]
    assert "bo" not in found["train"] + found["validation"]
    plain = sides(module(tmp_path, **options))
    bo = {path.name for path, record in zip(paths, records, strict=True) if record.speaker == "bo"}
    for side in ("train", "validation"):  # the others stay where they were
        assert sides(made)[side] == [name for name in plain[side] if name not in bo]
    with pytest.raises(ValueError, match=r"no clip is by bob .* by ann, bo, cy"):
        module(tmp_path, test_speakers=["bob"])


def test_an_empty_side_has_no_loader_in_fit_and_is_refused_where_it_is_asked_for(folder):
    made = module(folder, validation_share=0.0, test_share=0.0)
    assert made.val_dataloader() == [] and made.test_dataloader() == []
    made.trainer = Trainer(logger=False, barebones=True)
    for function, load in (("validate", made.val_dataloader), ("test", made.test_dataloader)):
        made.trainer.state.fn = function
        with pytest.raises(ValueError, match="on the .* side of the split"):
            load()
