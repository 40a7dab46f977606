"""Stored bundles keep giving the tokens and the samples that they gave when they were stored.

Each folder of tests/golden holds a bundle with random weights, an input, and what came out. A
change of these files breaks the token files of users and is a commit of its own, with its reason.
"""

import pytest
import torch
from safetensors.torch import load_file

from intaglio.codecs import Tokens, load


@pytest.mark.parametrize("name", ["vq", "fsq"])
def test_a_stored_codec_gives_what_it_gave(root, name):
    folder = root / "tests" / "golden" / name
    codec, golden = load(folder), load_file(folder / "golden.safetensors")
    tokens = codec.encode(golden["wave"])
    assert torch.equal(tokens.ids, golden["ids"])
    assert len(golden["ids"].unique()) > 10
    mask = torch.ones(golden["ids"].shape[:2], dtype=torch.bool)
    stored = Tokens(golden["ids"], mask, codec.vocab, torch.tensor([golden["wave"].shape[-1]]))
    torch.testing.assert_close(codec.decode(stored), golden["decoded"], atol=1e-6, rtol=0)
