"""The plot of acceptance rules: every rule that there is, measured on one generator."""

import json

from PIL import Image

from intaglio.recipes import cli
from intaglio.recipes.benchmarks import sampler_rules
from intaglio.recipes.commands.options.speculation import RULES, rule_name


def test_every_approximate_rule_is_in_the_plot():
    texts = [text for texts in sampler_rules.FAMILIES.values() for text in texts]
    assert [rule_name(text) for text in texts] == texts
    shown = {text.partition(":")[0] for text in texts}
    assert shown == {"budget", "annealed", "grouped", "coarse", "neighbour"} <= RULES.keys()


def test_the_command_writes_the_plot_and_its_numbers(monkeypatch, tmp_path, capsys):
    right = sampler_rules.run
    monkeypatch.setattr(sampler_rules, "FAMILIES", {"budget": ("budget:eps=0.2",)})
    monkeypatch.setattr(sampler_rules, "COLOURS", ("red", "blue"))
    monkeypatch.setattr(sampler_rules, "MARKERS", "os")
    monkeypatch.setattr(sampler_rules, "BATCH", 1)
    monkeypatch.setattr(sampler_rules, "run", lambda: right(2, "pixels"))
    path, numbers = tmp_path / "rules.png", tmp_path / "rules.json"
    words = ["--threads", "1", "--plot", str(path), "--json", str(numbers)]
    monkeypatch.setattr("sys.argv", ["intaglio", "bench", "sampler", *words])
    assert cli.main() == 0
    with Image.open(path) as image:
        assert image.format == "PNG"
    printed = capsys.readouterr().out
    plain, exact, budget = json.loads(numbers.read_text())
    for one in (plain, exact, budget):
        assert one["rule"] in printed and f"{one['tokens_per_pass']:.2f}" in printed
        assert one["distance"] > 0
    assert (plain["tokens_per_pass"], plain["excess"], exact["excess"]) == (1.0, 0.0, 0.0)
    assert 1 < exact["tokens_per_pass"] < budget["tokens_per_pass"] <= sampler_rules.WINDOW + 1
    assert 0.01 < budget["excess"] <= 0.2


def test_only_samplers_are_plotted(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["intaglio", "bench", "memory", "--plot", "x.png"])
    assert cli.main() == 2
    assert "only sampler takes --plot" in capsys.readouterr().err
