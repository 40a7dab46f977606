"""Texts as conditions: words on the right, parts that words share, nothing as no condition."""

import pytest
import torch

from intaglio.generators.conditioning.text import PARTS, TextCondition, parts, words


def test_words_and_their_parts():
    assert words("A Red-haired  elf's café!") == ["a", "red", "haired", "elf", "s", "café"]
    assert parts("red") == ["<red>", "<re", "red", "ed>", "<red", "red>"]
    assert parts("a") == ["<a>"]
    assert len(parts("x" * 9 + "y" * 40)) <= PARTS
    assert len(set(parts("banana"))) == len(parts("banana"))


def test_words_stand_on_the_right():
    condition = TextCondition(prefix=3, rows=50).bind(8)
    found = condition.of_texts(["red apple", "apple", ""])
    assert found.shape == (3, 3, PARTS) and found.max() <= 50
    assert not found[0, 0].any() and not found[2].any()
    assert torch.equal(found[0, 2], found[1, 2]) and found[0, 1].any()
    assert int((found[0, 1] > 0).sum()) == len(parts("red"))


def test_tokens_are_means_of_parts_with_position_embeddings():
    torch.manual_seed(0)
    condition = TextCondition(prefix=2, rows=1000).bind(8)
    torch.nn.init.normal_(condition.table.weight)
    rows = condition.of_texts(["red"])
    tokens = condition(rows)
    used = rows[0, 1][rows[0, 1] > 0]
    expected = condition.table.weight[used].mean(0) + condition.position_embedding[1]
    torch.testing.assert_close(tokens[0, 1], expected)
    nothing = condition.table.weight[0] + condition.position_embedding[0]
    torch.testing.assert_close(tokens[0, 0], nothing)


def test_a_word_is_near_those_it_is_written_like():
    torch.manual_seed(0)
    condition = TextCondition(prefix=1).bind(64)
    torch.nn.init.normal_(condition.table.weight)
    near, like, far = condition(condition.of_texts(["smiling", "smile", "rocket"]))[:, 0]
    near, like, far = (x - condition.position_embedding[0] for x in (near, like, far))
    similarity = torch.nn.functional.cosine_similarity
    assert similarity(near, like, dim=0) > 0.3 > similarity(near, far, dim=0) + 0.1


def test_no_condition_is_the_empty_text():
    condition = TextCondition(prefix=2).bind(8)
    texts = condition.of_texts(["red", "blue"])
    dropped = condition.dropped(texts, torch.tensor([True, False]))
    assert torch.equal(dropped, condition.of_texts(["", "blue"]))


def test_longer_captions_lose_their_end_but_longer_requests_are_refused():
    condition = TextCondition(prefix=2).bind(8)
    found = condition.of_batch({"caption": ["one two three", "one"]})
    assert torch.equal(found, condition.of_texts(["one two", "one"]))
    with pytest.raises(ValueError, match="a text of 3 words, the generator takes 2: 'one two"):
        condition.of_texts(["one two three"])
    with pytest.raises(ValueError, match="rows"):
        condition(torch.zeros(1, 3, PARTS, dtype=torch.int64))
    with pytest.raises(ValueError, match="rows of parts are 0 to 8192, got 0 to 8193"):
        condition(torch.full((1, 2, PARTS), 8193).tril())
