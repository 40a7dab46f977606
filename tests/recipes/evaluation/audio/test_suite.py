"""Rows of the suite: bit rates, use of the tokens and times, equal to numbers found by hand."""

from fractions import Fraction

import pytest
import torch

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.data.formats.resampling import resample
from intaglio.data.synthetic.audio import speechlike
from intaglio.recipes.evaluation.audio.comparison import OperatingPoint, audio_systems
from intaglio.recipes.evaluation.audio.metrics import SISDR, STOI, MelDistance
from intaglio.recipes.evaluation.audio.operating_points import nominal_rate, points
from intaglio.recipes.evaluation.audio.suite import entry, entry_records, statistics_of, table
from intaglio.recipes.evaluation.comparison import evaluate
from intaglio.recipes.evaluation.items import Item

RATE = 8000
HOP = 20


class Echo(AudioCodec):
    """Decodes what it heard; 400 positions a second at 8 kHz, two levels of two bits.

    The ids of the first level are 0, 1, 0, 1…, those of the second all 3.
    """

    def __init__(self, rate=RATE, channels=1, scaled=False, name="echo"):
        sizes = {"width": 2, "lstm_layers": 0, "channels": channels}
        super().__init__(
            SEANetEncoder(4, (4, 5), **sizes),
            ResidualQuantizer([VectorQuantizer(4, 4), VectorQuantizer(4, 4)]),
            SEANetDecoder(4, (4, 5), **sizes),
            sample_rate=rate,
            channels=channels,
            name=name,
        )
        self.scaled = scaled

    def encode(self, x, lengths=None, *, levels=None):
        self.check(x, lengths)
        self.heard = x
        ids = torch.zeros(1, -(-x.shape[-1] // HOP), levels or 2, dtype=torch.int64)
        ids[:, 1::2, 0] = 1
        ids[:, :, 1:] = 3
        scale = torch.ones(1, 3) if self.scaled else None
        return self.tokens(ids)._replace(scale=scale)

    def decode(self, tokens):
        return self.heard


@pytest.fixture
def items(generator):
    return [Item(f"{n}.wav", speechlike(4000, RATE, generator), RATE) for n in range(2)]


def entries_of(tested, items, metrics):
    results = evaluate(audio_systems(tested), items, metrics=metrics)
    return [entry("prompts", result, tested, items) for result in results]


def test_a_codec_that_keeps_everything_is_perfect(items):
    pytest.importorskip("pystoi", reason="pip install 'intaglio[metrics]'")
    (_, row) = entries_of([OperatingPoint("echo", Echo())], items, [STOI(), MelDistance(), SISDR()])
    scores = row.row.scores
    assert scores["stoi"].mean == pytest.approx(1, abs=1e-6)
    assert scores["mel"].mean < 1e-4  # rows of one product may round apart
    assert scores["si_sdr"].failures == 2 and "a copy" in scores["si_sdr"].reason


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (11_025, 2), (48_000, 2)])
def test_a_codec_hears_and_is_scored_at_its_own_rate_and_channels(items, rate, channels):
    codec = Echo(rate, channels)
    (_, row) = entries_of([OperatingPoint("echo", codec)], items, [SISDR(), MelDistance(RATE)])
    heard = resample(items[-1].content, RATE, rate).expand(1, channels, -1)
    assert torch.equal(codec.heard, heard)
    assert row.row.scores["si_sdr"].mean > 25 and row.row.scores["mel"].mean < 0.2


def test_the_channels_are_mixed_back(items):
    class OneSided(Echo):
        def decode(self, tokens):
            return self.heard * torch.tensor([2.0, 0.0]).view(1, 2, 1)

    systems = audio_systems([OperatingPoint("echo", OneSided(channels=2))])
    results = list(evaluate(systems, items, metrics=[]))
    assert torch.allclose(results[1].output.decoded[0], items[0].content)


@pytest.mark.parametrize(
    ("levels", "scaled", "bits", "entropy"),
    # In half a second 200 positions: of 2 bits a level, of which the first carries 1, and 3 scales.
    [(1, False, 400, 200), (2, False, 800, 200), (None, True, 800 + 96, 200 + 96)],
)
def test_bits_and_usage_are_those_counted_by_hand(items, levels, scaled, bits, entropy):
    entries = entries_of([OperatingPoint("echo", Echo(scaled=scaled), levels)], items, [])
    record = entry_records(entries, RATE)[1]
    depth = levels or 2
    assert record["bits_per_second"] == 2 * bits
    tokens = record["tokens"]
    assert tokens["entropy_bits_per_second"] == pytest.approx(2 * entropy)
    assert tokens["nominal_bits_per_second"] == 400 * 2 * depth
    assert (tokens["positions_per_second"], tokens["ids_per_position"]) == (400, depth)
    assert tokens["codes_used"] == [0.5, 0.25][:depth]
    assert tokens["perplexity"] == pytest.approx([2, 1][:depth])
    assert (record["codec"]["levels"], record["codec"]["depth"]) == (depth, 2)
    assert "tokens" not in entry_records(entries, RATE)[0]


def test_whole_positions_are_charged_over_the_real_duration(generator):
    item = Item("a", speechlike(4001, RATE, generator), RATE)
    (_, row) = entries_of([OperatingPoint("echo", Echo())], [item], [])
    assert row.row.bits == float(Fraction(201 * 4 * RATE, 4001))


def test_the_time_is_the_median_and_relative_to_the_first_codec(items):
    first, second = Echo(name="first"), Echo(name="second")
    many = [items[0], items[0], items[0]._replace(content=torch.zeros(16_000))]
    entries = []
    for codec, times in ((first, (0.1, 0.2, 4.0)), (second, (0.9, 0.3, 0.4))):
        point = OperatingPoint(codec.name, codec)
        (_, row) = entries_of([point], many, [])
        tokens = codec.encode(torch.zeros(1, 1, 4000))
        entries.append(row._replace(statistics=statistics_of(point, [tokens] * 3, times, many)))
    factors = [one.statistics.real_time_factor for one in entries]  # of 0.5, 0.5 and 2 seconds
    assert factors == pytest.approx([0.4, 0.6])
    records = entry_records(entries, RATE)
    assert [one["codec"]["relative_time"] for one in records] == pytest.approx([1, 1.5])
    _, lines = table(entries, [])
    assert "over that of first" in lines[-1] and "0.4 s for a second of prompts" in lines[-1]


def test_data_sets_of_one_name_keep_their_paths(items):
    (_, row) = entries_of([OperatingPoint("echo", Echo())], items, [])
    for names, shown in ((("a/x", "b/y"), ["x", "y"]), (("a/x", "b/x"), ["a/x", "b/x"])):
        drawn, _ = table([row._replace(data=name) for name in names], [])
        assert list(drawn.columns[2].cells) == shown


def test_specs_become_points():
    made = {"runs/a": Echo(name="a"), "b": Echo(name="b"), "c": Echo(name="b")}
    found = points(["runs/a@800,2000", "b", "c@900.5"], made.__getitem__)
    assert [(point.name, point.levels) for point in found] == [
        ("a@800", 1),
        ("a@1600", 2),
        ("b", None),
        ("c@800", 1),
    ]
    assert found[0].codec is found[1].codec is made["runs/a"]
    by_levels = points(["runs/a@L1,L2", "b@L1,1600"], made.__getitem__)
    assert [point.levels for point in by_levels] == [1, 2, 1, 2]
    assert [point.name for point in by_levels] == ["a@800", "a@1600", "b@800", "b@1600"]
    assert [nominal_rate(made["b"], levels) for levels in (1, 2)] == [800, 1600]


def test_a_folder_with_an_at_is_a_folder(in_tmp_path):
    (in_tmp_path / "run@3").mkdir()
    assert [point.name for point in points(["run@3"], lambda source: Echo(name=source))] == [
        "run@3"
    ]


@pytest.mark.parametrize(
    "spec",
    [
        "a@",
        "@800",
        "a@x",
        "a@800,",
        "a@-800",
        "a@nan",
        "a@inf",
        "a@0",
        "a@L0",
        "a@L",
        "a@Lx",
        "@L1",
    ],
)
def test_specs_that_name_no_rate_are_refused(spec):
    with pytest.raises(ValueError, match=f"'{spec}' is no codec with bit rates: write BUNDLE@3000"):
        points([spec], lambda source: Echo())


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        (["a@L3"], "echo has 2 levels, not 3"),
        (["a@799"], "echo takes 800 bits a second at least, more than 799"),
        (["a@800,1500"], "echo@800 would be two rows"),
        (["a", "a"], "a would be two rows"),
    ],
)
def test_rates_between_levels_are_refused(specs, reason):
    with pytest.raises(ValueError, match=reason):
        points(specs, lambda source: Echo())
