"""The report: complete, self-contained, accessible, and safe with any text."""

import base64
import io
import re
from html.parser import HTMLParser

import pytest
import soundfile
import torch

from intaglio.recipes.evaluation.audio.metrics import STOI, select
from intaglio.recipes.evaluation.audio.recognition import Recogniser
from intaglio.recipes.evaluation.report.codec import _scores
from intaglio.recipes.evaluation.report.page import (
    Command,
    ExportedFile,
    Figure,
    Player,
    Report,
    Utterance,
    render,
    write_report,
)
from intaglio.recipes.evaluation.rows import Row
from intaglio.recipes.evaluation.scores import Score

EVIL = "<script>alert(1)</script> & \"quotes' "
PNG = b"\x89PNG\r\n\x1a\n and so on"


class Page(HTMLParser):
    """Elements of a page in order, and its visible text."""

    VOID = {"meta", "img", "br", "link", "input"}

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def wave():
    return torch.linspace(-1.2, 1.2, 800)


@pytest.fixture(scope="module")
def report(wave):
    players = [
        Player("original", wave, "256 kbit/s", "press one key"),
        Player(f"ours{EVIL}", wave / 2, "900 bit/s", f"press one {EVIL}", is_ours=True),
        Player("opus-6k", wave / 4, heard=""),
    ]
    return Report(
        title=f"Title {EVIL}",
        summary=f"Summary {EVIL}",
        warnings=[f"12 of 30 steps {EVIL}"],
        facts=[("Codec", f"small{EVIL}"), ("Steps", "2,000")],
        sample_rate=16_000,
        utterances=[Utterance(f"a{EVIL}", "Press 1 key!", players, Figure(PNG, f"alt {EVIL}"))],
        rows=[
            Row("original", 256_000.0, {}, 4),
            Row("ours", 900.0, {"stoi": Score(0.8, 0.7, 0.9, 3, 1, "silence")}, 4, is_ours=True),
            Row("codec2-1200", None, {}, 0, "absent: c2enc"),
        ],
        metrics=[STOI()],
        results=[Figure(PNG, "rate and distortion", "caption")],
        files=[ExportedFile("a.onnx", 5_000_000, "equal", True), ExportedFile("b", 1, "no", False)],
        commands=[Command("Encode:", "intaglio encode a -o b && ls")],
        footnote=f"Foot {EVIL}",
    )


@pytest.fixture(scope="module")
def page(report):
    return Page(render(report))


def test_every_player_holds_its_own_sound(page, wave):
    players = page.all("audio")
    assert [player["aria-label"].split(",")[0] for player in players] == [
        "original", f"ours{EVIL}", "opus-6k",
    ]  # fmt: skip
    for player, expected in zip(players, (wave.clamp(-1, 1), wave / 2, wave / 4), strict=True):
        kind, _, content = player["src"].partition(";base64,")
        assert kind == "data:audio/flac" and "controls" in player
        sound, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="float32")
        assert rate == 16_000
        assert torch.allclose(torch.from_numpy(sound), expected, atol=1e-4)


def test_pictures_have_texts_and_are_inside(page):
    images = page.all("img")
    assert [image["alt"] for image in images] == [f"alt {EVIL}", "rate and distortion"]
    for image in images:
        kind, _, content = image["src"].partition(";base64,")
        assert kind == "data:image/png" and base64.b64decode(content) == PNG


def test_nothing_is_fetched_and_nothing_runs(page, report):
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for _, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert value.startswith(("data:", "#"))
    text = render(report)
    assert "http:" not in text and "https:" not in text and "url(" not in text
    policy = next(one for one in page.all("meta") if "http-equiv" in one)
    assert policy["content"].startswith("default-src 'none'; ")


def test_texts_are_shown_as_they_are(page):
    assert page.text.count("<script>alert(1)</script> & \"quotes'") >= 6


def test_wrong_words_are_marked(report):
    text = render(report)
    assert text.count("<mark>") == 2  # the two words of EVIL; & is none
    assert "press one key" in text and "(nothing)" in text


def test_headings_and_links_lead_through_the_page(page):
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [link["href"].removeprefix("#") for link in page.all("a")]
    assert links == ["listen", "results", "files", "next"] and set(links) <= targets
    assert page.all("html") == [{"lang": "en"}]


def test_scores_in_a_sentence_have_their_units():
    scores = {"wer": Score(106.67, 100, 110, 3, 0, ""), "si_sdr": Score(-33.73, -40, -30, 3, 0, "")}
    text = _scores(Row("ours", 900.0, scores, 3), select(("wer", "si_sdr"), Recogniser()))
    assert re.fullmatch(r"WER 106\.\d+\s%, SI-SDR -33\.\d+\sdB", text)


def test_the_results_are_complete(page):
    for words in (
        "0.800 ±0.100",
        "codec2-1200: absent: c2enc",
        "STOI of ours: 1 item failed, 3 measured (silence)",
        "a.onnx 5.00 MB ✓ passed : equal",
        "b 0.00 MB ✗ failed : no",
        "intaglio encode a -o b && ls",
    ):
        assert words in page.text
    rows = [one for one in page.all("tr") if one.get("class") == "ours-row"]
    assert len(rows) == 1


def test_warnings_and_failed_checks_stand_before_everything_else(page):
    begin = page.text[: page.text.index("Listen")]
    assert "12 of 30 steps" in begin and "A check failed: b: no" in begin and "a.onnx" not in begin


def test_what_may_be_wider_than_the_screen_says_so(page):
    cues = [one for one in page.all("p") if one.get("class") == "cue"]
    regions = [one for one in page.all("div") if one.get("class") == "scroll"]
    assert len(cues) == len(regions) == len(page.all("img")) + len(page.all("table"))


def test_the_file_replaces_the_old_one(report, tmp_path):
    folder = tmp_path / "new" / "demo"
    path = write_report(folder, report)
    assert path == folder / "report.html" == write_report(folder, report._replace(title="Second"))
    assert "Second" in path.read_text(encoding="utf-8")
    assert [one.name for one in folder.iterdir()] == ["report.html"]
