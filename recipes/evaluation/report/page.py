"""Report of an evaluation: one self-contained HTML file.

Sounds (FLAC) and figures (PNG) are inside as data addresses, and a content security policy forbids
all connections and scripts. All texts are escaped.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.printable import counted
from intaglio.recipes.evaluation.audio.recognition import compared
from intaglio.recipes.evaluation.report.embedding import data_address, flac
from intaglio.recipes.evaluation.report.stylesheet import CSS
from intaglio.recipes.evaluation.rows import Row
from intaglio.recipes.evaluation.scores import Metric
from intaglio.recipes.evaluation.tables import bits_text, cell, heading, notes

FILE = "report.html"
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


class Player(NamedTuple):
    """One version of an utterance.

    Attributes:
        system: what made it.
        wave: float [samples], in [-1, 1].
        rate: bits per second as text, such as "900 bit/s"; "" to show none.
        heard: what a recogniser understood; None if it was not asked.
        is_ours: made by the codec that the report is about.
    """

    system: str
    wave: Tensor
    rate: str = ""
    heard: str | None = None
    is_ours: bool = False


class Figure(NamedTuple):
    """A figure.

    Attributes:
        png: bytes of the image.
        alt: what it shows, as text.
        caption: what to look for.
    """

    png: bytes
    alt: str
    caption: str = ""


class Utterance(NamedTuple):
    """A recording in all its versions, the original first.

    Attributes:
        name: of the recording.
        text: what is said; "" if unknown.
        players: its versions.
        figure: its spectrograms, if drawn.
    """

    name: str
    text: str
    players: Sequence[Player]
    figure: Figure | None = None


class ExportedFile(NamedTuple):
    """An exported file: where, how large in bytes, what was checked, and whether it passed."""

    path: str
    size: int
    check: str
    passed: bool


class Command(NamedTuple):
    """What can be done next, and the command line for it."""

    what: str
    line: str


class Report(NamedTuple):
    """Content of a report; sections without content are left out.

    Attributes:
        title: of the page.
        summary: one or two sentences: what was done and what came out.
        warnings: what qualifies it: a training that was cut short…
        facts: name and value: data set, codec, bit rate, steps, minutes…
        sample_rate: of all waveforms, in Hz.
        utterances: to listen to.
        rows: of the comparison.
        metrics: the columns of its table.
        results: figures of the comparison, such as the rate-distortion plot.
        tokens: figures of the tokens.
        training: figures of the training.
        pictures: that generators drew.
        files: what was exported.
        commands: what to do next.
        footnote: versions, date, licences.
    """

    title: str
    summary: str
    facts: Sequence[tuple[str, str]]
    sample_rate: int
    warnings: Sequence[str] = ()
    utterances: Sequence[Utterance] = ()
    rows: Sequence[Row] = ()
    metrics: Sequence[Metric] = ()
    results: Sequence[Figure] = ()
    tokens: Sequence[Figure] = ()
    training: Sequence[Figure] = ()
    pictures: Sequence[Figure] = ()
    files: Sequence[ExportedFile] = ()
    commands: Sequence[Command] = ()
    footnote: str = ""


def write_report(folder: str | Path, report: Report) -> Path:
    """Write ``report.html`` into ``folder``; an old one is replaced when the new one is whole."""
    path = Path(folder) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(render(report), encoding="utf-8")
    return path


def render(report: Report) -> str:
    """The page as text."""
    sections = [
        ("listen", "Listen", _listening(report)),
        ("results", "Results", _results(report)),
        ("tokens", "Tokens", "".join(_figure(one) for one in report.tokens)),
        ("training", "Training", "".join(_figure(one) for one in report.training)),
        ("pictures", "Pictures", "".join(_figure(one) for one in report.pictures)),
        ("files", "Files", _files(report.files)),
        ("next", "Next steps", _commands(report.commands)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title, _ in sections)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title">'
        f'<h2 id="{key}-title">{title}</h2>{content}</section>\n'
        for key, title, content in sections
    )
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in report.facts
    )
    failed = [f"{file.path}: {file.check}" for file in report.files if not file.passed]
    told = [*report.warnings, *(f"A check failed: {one}" for one in failed)]
    warnings = "".join(f'<p class="warning" role="note">{escape(one)}</p>' for one in told)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(report.title)}</title>
<style>{CSS}</style>
</head>
<body>
<header>
<p class="eyebrow">intaglio</p>
<h1>{escape(report.title)}</h1>
<p class="lead">{escape(report.summary)}</p>
{warnings}
<dl class="facts">{facts}</dl>
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main>
{body}</main>
<footer><p>{escape(report.footnote)}</p></footer>
</body>
</html>
"""


def _listening(report: Report) -> str:
    if not report.utterances:
        return ""
    intro = ""
    if any(player.heard is not None for one in report.utterances for player in one.players):
        intro = (
            '<p class="faint">Below each player is what the recogniser understood; words with '
            "a wavy underline differ from what was said.</p>"
        )
    return intro + "".join(_utterance(one, report.sample_rate) for one in report.utterances)


def _utterance(utterance: Utterance, sample_rate: int) -> str:
    said = f'<p class="said">“{escape(utterance.text)}”</p>' if utterance.text else ""
    players = "".join(_player(one, utterance, sample_rate) for one in utterance.players)
    figure = _figure(utterance.figure) if utterance.figure else ""
    return (
        f'<article class="utterance"><h3>{escape(utterance.name)}</h3>{said}'
        f'<div class="players">{players}</div>{figure}</article>\n'
    )


def _player(player: Player, utterance: Utterance, sample_rate: int) -> str:
    label = escape(f"{player.system}, {utterance.name}", quote=True)
    address = data_address("audio/flac", flac(player.wave, sample_rate))
    heard = ""
    if player.heard is not None:
        words = " ".join(
            escape(word) if right else f"<mark>{escape(word)}</mark>"
            for word, right in compared(utterance.text, player.heard)
        )
        heard = f'<p class="heard">{words or "(nothing)"}</p>'
    return (
        f'<div class="player{" ours" * player.is_ours}">'
        f"<h4>{escape(player.system)} <span>{escape(player.rate)}</span></h4>"
        f'<audio controls preload="metadata" aria-label="{label}" src="{address}"></audio>'
        f"{heard}</div>"
    )


def _results(report: Report) -> str:
    figures = "".join(_figure(one) for one in report.results)
    return (_table(report.rows, report.metrics) if report.rows else "") + figures


def _table(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    titles = ["System", "bit/s", *(heading(metric) for metric in metrics)]
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    lines = []
    for row in rows:
        cells = [cell(row, metric) for metric in metrics]
        values = "".join(
            f"<td>{escape(mean)}<small>{escape(spread)}</small></td>" for mean, spread in cells
        )
        lines.append(
            f'<tr class="{"ours-row" if row.is_ours else ""}">'
            f'<th scope="row">{escape(row.system)}</th><td>{bits_text(row)}</td>{values}</tr>'
        )
    items = max(row.items for row in rows)
    remarks = "".join(f'<p class="faint">{escape(note)}</p>' for note in notes(rows, metrics))
    table = (
        f"<table><caption>Means over {counted(items, 'recording')}; below them half the width of "
        "the 95 % interval. ↑ higher is better, ↓ lower is better.</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )
    return _scrolling("Table of results", table) + remarks


def _figure(figure: Figure) -> str:
    caption = f"<figcaption>{escape(figure.caption)}</figcaption>" if figure.caption else ""
    address = data_address("image/png", figure.png)
    image = f'<img src="{address}" alt="{escape(figure.alt, quote=True)}">'
    return f"<figure>{_scrolling(figure.alt, image)}{caption}</figure>\n"


def _scrolling(name: str, content: str) -> str:
    """Content that may be wider than a small screen, with a line that says so there."""
    label = escape(name, quote=True)
    return (
        '<p class="cue" aria-hidden="true">wider than this screen: scroll sideways →</p>'
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">{content}</div>'
    )


def _files(files: Sequence[ExportedFile]) -> str:
    if not files:
        return ""
    lines = "".join(
        f'<tr><th scope="row"><code>{escape(file.path)}</code></th>'
        f"<td>{file.size / 1e6:.2f} MB</td><td>{_verdict(file)}: {escape(file.check)}</td></tr>"
        for file in files
    )
    return _scrolling(
        "Exported files",
        '<table class="files"><thead><tr><th scope="col">File</th><th scope="col">Size</th>'
        f'<th scope="col">Check</th></tr></thead><tbody>{lines}</tbody></table>',
    )


def _verdict(file: ExportedFile) -> str:
    if file.passed:
        return '<span class="pass">✓ passed</span>'
    return '<span class="fail">✗ failed</span>'


def _commands(commands: Sequence[Command]) -> str:
    return "".join(
        f"<p>{escape(command.what)}</p><pre><code>{escape(command.line)}</code></pre>"
        for command in commands
    )
