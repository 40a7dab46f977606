"""Words as tokens before the sequence, learned with the generator, without a text model.

The vector of a word is the mean of those of its parts: the word itself and its n-grams of three and
four letters, found in a table by a hash (fastText; Bojanowski et al., 2017). A word that is not in
the training data is thus near words with a similar spelling. Texts are padded on the left, as in
LlamaGen: the last word stands before the first token.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.generators.conditioning.base import PromptCondition

WORD = re.compile(r"\w+")
PARTS = 24  # of a word, at most: itself and its first n-grams
NGRAMS = (3, 4)  # letters


class TextCondition(PromptCondition):
    """An embedding table of parts of words, with a row for no word.

    Args:
        prefix: largest number of words of a text.
        rows: of the table; parts with the same hash share a row.
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
        """Captions, cut to the first words."""
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
            found_words = words(text)
            for position, word in enumerate(found_words, start=self.prefix - len(found_words)):
                rows = [zlib.crc32(part.encode()) % self.rows + 1 for part in parts(word)]
                found[item, position, : len(rows)] = torch.tensor(rows)
        return found

    def forward(self, condition: Tensor) -> Tensor:
        """Tokens of `of_texts`.

        Raises:
            ValueError: the shape is wrong, or a row is out of range.
        """
        if condition.shape[1:] != (self.prefix, PARTS):
            raise ValueError(f"texts are {[self.prefix, PARTS]} rows, not {condition.shape[1:]}")
        low, high = (int(bound) for bound in condition.aminmax())
        if low < 0 or high > self.rows:
            raise ValueError(f"rows of parts are 0 to {self.rows}, got {low} to {high}")
        present = condition > 0
        vectors = self.table(condition) * present.unsqueeze(-1)
        mean = vectors.sum(2) / present.sum(2, keepdim=True).clamp(min=1)
        nothing = ~present.any(2, keepdim=True) * self.table.weight[0]
        return mean + nothing + self.position_embedding

    def dropped(self, condition: Tensor, drop: Tensor) -> Tensor:
        """See `Condition.dropped`."""
        return condition.masked_fill(drop.view(-1, 1, 1), 0)


def words(text: str) -> list[str]:
    """Words of a text, in lower case."""
    return WORD.findall(text.lower())


def parts(word: str) -> list[str]:
    """The word in angle brackets and its first n-grams, without repetition."""
    marked = f"<{word}>"
    ngrams = [
        marked[start : start + length]
        for length in NGRAMS
        for start in range(len(marked) - length + 1)
    ]
    return list(dict.fromkeys([marked, *ngrams]))[:PARTS]
