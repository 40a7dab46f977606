"""Tables of successors in files: what was learned is read again, and damage is refused."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from intaglio.generators.samplers.acceptance.multi_draft import SampleMatch
from intaglio.generators.samplers.drafters import successor_file
from intaglio.generators.samplers.drafters.adjacency import BUCKETS, AdjacencyDrafter
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler
from intaglio.recipes.commands.options import speculation

VOCAB, CONDITION = 6, torch.arange(6) % 3


def drawn(generator, drafter, **options):
    sampler = SpeculativeSampler(drafter=drafter, window=6, **options)
    return sampler.generate(generator, CONDITION, seed=3), sampler.statistics


@pytest.fixture
def generator(raster):
    return raster(shape=(4, 4), vocab=VOCAB, dtype=torch.float64)


@pytest.fixture
def file(generator, tmp_path):
    drafter = AdjacencyDrafter((2, 1))
    drawn(generator, drafter)
    path = tmp_path / "table.safetensors"
    successor_file.save(drafter, path)
    return path


def test_a_drafter_goes_on_with_what_another_has_learned(generator, file):
    first = AdjacencyDrafter((2, 1))
    drawn(generator, first)
    again = successor_file.load(file, (2, 1))
    for one, other in zip(first.tables, again.tables, strict=True):
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))
    wanted, found = (drawn(generator, one, rule=SampleMatch()) for one in (first, again))
    assert torch.equal(wanted[0], found[0]) and wanted[1] == found[1]
    _, fresh = drawn(generator, AdjacencyDrafter((2, 1)), rule=SampleMatch())
    assert found[1] != fresh  # other drafts were made
    plain = Sampler().generate(generator, CONDITION, seed=3)
    assert torch.equal(drawn(generator, successor_file.load(file, (1, 1)))[0], plain)
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_what_does_not_fit_is_refused(generator, raster, file, tmp_path):
    with pytest.raises(ValueError, match="holds 2 successors of each id.*asks for 3"):
        successor_file.load(file, (3, 1))
    other = raster(shape=(4, 4), vocab=VOCAB + 1, dtype=torch.float64)
    with pytest.raises(
        ValueError, match=r"table.safetensors is of tokens of \[6\] ids, and .*\[7\]"
    ):
        drawn(other, successor_file.load(file, (2, 1)))
    with pytest.raises(FileNotFoundError, match="nothing is missing"):
        successor_file.load(tmp_path / "nothing", (2, 1))
    with pytest.raises(ValueError, match="nothing was learned"):
        successor_file.save(AdjacencyDrafter(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


DAMAGE = {
    "an id that is none": lambda t: {**t, "0.last": t["0.last"].fill_(VOCAB)},
    "a pair that is none": lambda t: {**t, "0.pairs": t["0.pairs"].fill_(-1)},
    "floats": lambda t: {**t, "0.last": t["0.last"].double()},
    "one table": lambda t: {"0.last": t["0.last"]},
    "no table": lambda t: {},
    "another number of successors": lambda t: {**t, "0.pairs": t["0.pairs"][:, :1].contiguous()},
    "no successors": lambda t: {**t, "0.last": t["0.last"][:, :0].contiguous()},
    "other buckets": lambda t: {**t, "0.keys": t["0.keys"][: BUCKETS // 2].contiguous()},
    "another group": lambda t: {key.replace("0", "1"): value for key, value in t.items()},
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused(file, name):
    save_file(DAMAGE[name](load_file(file)), file, successor_file.KIND)
    with pytest.raises(ValueError, match=r"table.safetensors is damaged: .*copy"):
        successor_file.load(file)


def test_files_of_something_else_are_refused_and_stay(generator, file, tmp_path):
    tables = load_file(file)
    for metadata in (None, {**successor_file.KIND, "version": "2"}):
        save_file(tables, file, metadata)
        with pytest.raises(ValueError, match="is no file of successors"):
            successor_file.load(file)
    for content in (b"", b"words\n", file.read_bytes()[:-9], b"\xff" * 100):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="table.safetensors is"):
            speculation.drafter_of(f"adjacency:table={file}", SampleMatch())
        assert file.read_bytes() == content


def test_a_command_reads_the_table_that_is_there_and_writes_what_was_learned(generator, tmp_path):
    path = tmp_path / "table"
    text, passes = f"adjacency:branching=2x1,table={path}", []
    for _ in range(2):
        drafter = speculation.drafter_of(text, SampleMatch())
        passes.append(drawn(generator, drafter, rule=SampleMatch())[1])
        speculation.keep_learned(text, drafter)
        assert torch.equal(successor_file.load(path, (2, 1)).tables[0].keys, drafter.tables[0].keys)
    assert passes[0] != passes[1]
    speculation.keep_learned("adjacency", drafter)  # no file is named
    speculation.keep_learned("jacobi", speculation.drafter_of("jacobi", SampleMatch()))
    assert [*tmp_path.iterdir()] == [path]
