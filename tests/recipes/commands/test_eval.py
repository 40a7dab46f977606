"""``intaglio eval`` names what it can evaluate; each kind explains itself."""

import pytest

from intaglio.recipes.commands.eval import KINDS


def test_a_kind_has_to_be_named(intaglio):
    for words in ((), ("runs/codec",), ("--codec", "runs/codec", "--data", "recordings")):
        status, out, err = intaglio("eval", *words)
        assert (status, out) == (2, "")
        assert err.startswith("intaglio: error: ") and err.count("\n") == 1
        assert all(kind in err for kind in ("audio", "image", "generator"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_explains_itself(intaglio, kind):
    status, out, _ = intaglio("eval", kind, "--help")
    assert status == 0 and f"usage: intaglio eval {kind} " in out
    assert f"examples:\n  intaglio eval {kind} " in out


def test_the_help_lists_the_kinds(intaglio):
    status, out, _ = intaglio("eval", "--help")
    assert status == 0 and all(module.EXAMPLES in out for module in KINDS.values())
