"""Tokenizing as a stage of a Ray Data pipeline; Ray itself is imported by whoever runs one.

With Ray installed (``pip install 'ray[data]'``; tried with 2.60):

    recordings = ray.data.read_binary_files("recordings", include_paths=True)
    tokens = recordings.map_batches(
        TokenizeBatch,
        fn_constructor_args=("demo/codec",),
        compute=ray.data.ActorPoolStrategy(size=4),
        batch_size=64,
        num_gpus=1,
    )
    tokens.write_parquet("tokens")
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intaglio.codecs.trust import trusting
from intaglio.recipes.commands.options.codec import load_codec
from intaglio.recipes.tokenization.batch import SourceFile
from intaglio.recipes.tokenization.batch_audio import AudioTokenizer


class TokenizeBatch:
    """Callable for ``ray.data.Dataset.map_batches``; each worker loads the codec once.

    Args:
        codec: bundle folder or training checkpoint that every worker can read.
        device: as the option ``--device`` of the commands.
        batch_seconds: audio encoded at once.
        entropy: entropy code where it saves bytes.
        trust: modules whose parts the codec may name, as for `intaglio.load`.

    Raises:
        ValueError: there is no such device, or the codec is damaged or not an audio codec.
        FileNotFoundError: there is no such codec.
    """

    def __init__(
        self,
        codec: str,
        device: str = "auto",
        *,
        batch_seconds: float = 60.0,
        entropy: bool = False,
        trust: Sequence[str] = (),
    ) -> None:
        with trusting(trust):
            loaded = load_codec(codec, device)
        self._tokenizer = AudioTokenizer(loaded, batch_seconds=batch_seconds, entropy=entropy)

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Columns ``tokens``, the bytes of token files, and ``reason``, why some are empty, instead
        of column ``bytes``, which holds audio files whose names are in column ``path``.
        """
        sources = [
            SourceFile(str(path), bytes(content))
            for path, content in zip(batch["path"], batch["bytes"], strict=True)
        ]
        outcomes = list(self._tokenizer.run(sources))
        kept = {name: column for name, column in batch.items() if name != "bytes"}
        return kept | {
            "tokens": np.array([outcome.tokens for outcome in outcomes], dtype=object),
            "reason": np.array([outcome.reason for outcome in outcomes], dtype=object),
        }
