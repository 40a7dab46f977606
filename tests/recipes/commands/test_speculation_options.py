"""Names of drafters and rules with options: what they build, and what is refused in one line."""

import argparse

import pytest

from intaglio.generators.samplers.acceptance.exact import GumbelMatch, ModifiedRejection
from intaglio.generators.samplers.adaptive_window import AdaptiveWindow
from intaglio.recipes.commands.options import speculation
from intaglio.recipes.commands.options.sampler import DEFAULTS, sampler_of


class Made:
    def __init__(self, codec, eps: float, k: int | None = None, fixed: bool = True, name: str = ""):
        self.given = (codec, eps, k, fixed, name)


@pytest.fixture
def _table(monkeypatch):
    monkeypatch.setitem(speculation.RULES, "made", Made)


@pytest.mark.usefixtures("_table")
def test_options_are_the_arguments_of_a_class():
    rule = speculation.rule_of("made:eps=0.05,k=3,fixed=false,name=x=y", "the codec")
    assert rule.given == ("the codec", 0.05, 3, False, "x=y")
    assert speculation.rule_of("made:eps=1", None).given == (None, 1.0, None, True, "")


@pytest.mark.usefixtures("_table")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode", "no acceptance rule 'mode'; there are gumbel; rejection.*made:eps=…,k=…,fixed=Tr"),
        ("made", "made needs eps=…"),
        ("made:eps=much", "made:eps is a number.*not 'much'"),
        ("made:eps=1,k=2.5", "made:k is a number"),
        ("made:eps=1,depth=2", "made has options as in made:NAME=VALUE, of which eps, k, fixed, "),
        ("made:0.5", "made has options as in"),
        ("made:eps=1,codec=x", "made has options as in"),
        ("gumbel:x=1", "of which none"),
    ],
)
def test_what_is_wrong_is_refused(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        speculation.rule_name(text)


def test_the_drafter_suits_the_rule():
    def made(drafter, accept):
        chosen = {**DEFAULTS, "drafter": drafter, "accept": accept}
        return sampler_of(chosen)

    assert made("jacobi", "gumbel").drafter.coupling == "gumbel"
    assert made("jacobi", "rejection").drafter.coupling == "maximal"
    chosen = made("jacobi:coupling=independent,initial=uniform", "rejection")
    assert (chosen.drafter.coupling, chosen.drafter.initial) == ("independent", "uniform")
    assert isinstance(chosen.rule, ModifiedRejection) and chosen.rule.exact
    assert isinstance(made("jacobi", "gumbel").rule, GumbelMatch)
    assert made("jacobi:siblings=3", "recursive").drafter.siblings == 3
    small = made("model:generator=emoji,branching=2x3,levels=4", "k-seq").drafter
    assert (small.branching, small.levels, small.replace) == ((2, 3), 4, True)
    beams = made("model:generator=emoji,beams=4,guidance=2", "recursive").drafter
    assert (beams.beams, beams.branching, beams.replace, beams.guidance.scale) == (4, (), False, 2)
    table = made("adjacency:branching=3x1,above=false", "match").drafter
    assert (table.branching, table.above) == ((3, 1), False)
    with pytest.raises(ValueError, match="branching is written as in 2x2x1, not '2,2'"):
        speculation.model(GumbelMatch(), "emoji", "2,2")
    with pytest.raises(argparse.ArgumentTypeError, match="coupling is one of gumbel, maximal, ind"):
        speculation.drafter_name("jacobi:coupling=strong")
    with pytest.raises(argparse.ArgumentTypeError, match="'mind'; there are none, jacobi"):
        speculation.drafter_name("mind")
    with pytest.raises(ValueError, match="--steps and --drafter exclude each other"):
        sampler_of({**DEFAULTS, "drafter": "jacobi", "steps": 4})


def test_the_window_adapts_where_it_changes_no_token():
    def window(accept, **options):
        return sampler_of({**DEFAULTS, "drafter": "jacobi", "accept": accept, **options}).window

    assert isinstance(window("gumbel"), AdaptiveWindow) and window("rejection") == 8
    assert isinstance(window("rejection", window="auto"), AdaptiveWindow)
    assert window("gumbel", window=3) == 3
