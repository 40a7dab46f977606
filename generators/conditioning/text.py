"""Words as tokens before the sequence, learned with the generator; no text model is needed.

A word is the mean of the vectors of its parts: itself and its runs of three and four letters, each
found in a table by a hash (fastText; Bojanowski et al., 2017). So a word that the training has not
seen is near those that it is written like. Texts are padded on their left, as in LlamaGen: the last
word stands before the first token.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.generators.conditioning.base import PromptCondition

WORD = re.compile(r"\w+")
PARTS = 24  # of a word, at most: itself and its first runs
RUNS = (3, 4)  # letters


class TextCondition(PromptCondition):
    """A table of parts of words, with a row for no word.

    Args:
        prefix: words of a text, at most.
        rows: of the table; parts of the same hash share a row.
    """

    def __init__(self, *, prefix: int = 16, rows: int = 8192) -> None:
        super().__init__()
        self.prefix, self.rows = prefix, rows

    def create_weights(self, dim: int) -> None:
        """See `Condition.create_weights`."""
        self.table = nn.Embedding(self.rows + 1, dim)
        nn.init.normal_(self.table.weight, std=0.02)
        self.position_embedding = nn.Parameter(0.02 * torch.randn(self.prefix, dim))

    def of_batch(self, batch: Mapping[str, Any]) -> Tensor:
        """The captions; of longer ones the first words."""
        return self.of_texts([" ".join(words(text)[: self.prefix]) for text in batch["caption"]])

    def check_texts(self, texts: Sequence[str]) -> None:
        """See `PromptCondition.check_texts`."""
        for text in texts:
            if (count := len(words(text))) > self.prefix:
                raise ValueError(
                    f"a text of {count} words, the generator takes {self.prefix}: {text[:60]!r}"
                )

    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """Rows of the parts of the words, int64 [batch, prefix, parts]; 0 for none."""
        self.check_texts(texts)
        found = torch.zeros(len(texts), self.prefix, PARTS, dtype=torch.int64)
        for item, text in enumerate(texts):
            said = words(text)
            for place, word in enumerate(said, start=self.prefix - len(said)):
                rows = [zlib.crc32(part.encode()) % self.rows + 1 for part in parts(word)]
                found[item, place, : len(rows)] = torch.tensor(rows)
        return found

    def forward(self, condition: Tensor) -> Tensor:
        """Tokens of `of_texts`.

        Raises:
            ValueError: it is of another size, or names rows that the table has not.
        """
        if condition.shape[1:] != (self.prefix, PARTS):
            raise ValueError(f"texts are {[self.prefix, PARTS]} rows, not {condition.shape[1:]}")
        low, high = (int(bound) for bound in condition.aminmax())
        if low < 0 or high > self.rows:
            raise ValueError(f"rows of parts are 0 to {self.rows}, got {low} to {high}")
        there = condition > 0
        vectors = self.table(condition) * there.unsqueeze(-1)
        mean = vectors.sum(2) / there.sum(2, keepdim=True).clamp(min=1)
        nothing = ~there.any(2, keepdim=True) * self.table.weight[0]
        return mean + nothing + self.position_embedding

    def dropped(self, condition: Tensor, drop: Tensor) -> Tensor:
        """See `Condition.dropped`."""
        return condition.masked_fill(drop.view(-1, 1, 1), 0)


def words(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return WORD.findall(text.lower())


def parts(word: str) -> list[str]:
    """The word between brackets, and its first runs of letters; no part twice."""
    marked = f"<{word}>"
    runs = [
        marked[start : start + length]
        for length in RUNS
        for start in range(len(marked) - length + 1)
    ]
    return list(dict.fromkeys([marked, *runs]))[:PARTS]
