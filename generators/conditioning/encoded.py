"""States of a frozen text encoder as tokens before the sequence, as in LlamaGen (Sun et al., 2024).

Texts are padded on the left: the last state stands before the first token. The release masks the
padding in attention; here padding has the state of no text, which is drawn at random once and never
learned, as in the release.
"""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.generators.conditioning.base import PromptCondition
from intaglio.generators.provenance import Provenance

DOWNLOAD = "INTAGLIO_DOWNLOAD"  # environment variable; 1 lets transformers fetch an encoder


class EncodedText(PromptCondition):
    """The last states of a text encoder, projected to tokens by two layers.

    The encoder is not part of the generator: its weights stay where transformers keeps them, and a
    bundle holds only its name. Code that comes with an encoder never runs, and nothing is fetched
    from the hub unless the user sets ``INTAGLIO_DOWNLOAD=1``.

    Args:
        encoder: a folder that ``transformers`` loads, with a tokenizer, or a name on its hub.
        channels: of the encoder's states; 2,048 are those of Flan-T5 XL.
        prefix: largest number of states of a text.
    """

    nothing: Tensor

    def __init__(self, encoder: str, *, channels: int = 2048, prefix: int = 120) -> None:
        super().__init__()
        self.encoder, self.prefix, self.channels = encoder, prefix, channels
        self.register_buffer("nothing", torch.randn(prefix, channels) / channels**0.5)

    def create_weights(self, dim: int) -> None:
        """See `Condition.create_weights`."""
        self.projection = nn.Sequential(
            nn.Linear(self.channels, dim, bias=False),
            nn.GELU(approximate="tanh"),
            nn.Linear(dim, dim, bias=False),
        )

    def check(self, provenance: Provenance) -> None:
        """See `Condition.check`; the encoder is loaded and tried, before the first batch.

        Raises:
            ModuleNotFoundError: transformers is missing.
            ValueError: no item has a text, there is no such encoder, or its states have other
                channels.
        """
        super().check(provenance)
        self.of_texts(["a"])

    def check_texts(self, texts: Sequence[str]) -> None:
        """See `PromptCondition.check_texts`.

        Raises:
            ModuleNotFoundError: transformers is missing.
            ValueError: a text is too long, or there is no such encoder.
        """
        self._ids(texts, cut=False)

    def of_batch(self, batch: Mapping[str, Any]) -> Tensor:
        """States of the captions; longer ones are cut."""
        return self._states(self._ids(batch["caption"], cut=True))

    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """States of each text, float32 [batch, prefix, channels]; zeros for none.

        Raises:
            ModuleNotFoundError: transformers is missing.
            ValueError: a text is too long, there is no such encoder, or its states have other
                channels.
        """
        return self._states(self._ids(texts, cut=False))

    def forward(self, condition: Tensor) -> Tensor:
        """Tokens of `of_texts`.

        Raises:
            ValueError: it is of another size.
        """
        if condition.shape[1:] != self.nothing.shape:
            raise ValueError(f"texts are {list(self.nothing.shape)}, not {condition.shape[1:]}")
        present = condition.any(-1, keepdim=True)
        return self.projection(torch.where(present, condition.to(self.nothing), self.nothing))

    def dropped(self, condition: Tensor, drop: Tensor) -> Tensor:
        """See `Condition.dropped`."""
        return condition.masked_fill(drop.view(-1, 1, 1), 0)

    def _ids(self, texts: Sequence[str], *, cut: bool) -> list[list[int]]:
        """Token ids of each text, with the end token; long texts are cut or refused."""
        tokenizer, _ = _loaded(self.encoder)
        limit: dict[str, Any] = {"truncation": True, "max_length": self.prefix} if cut else {}
        found = [tokenizer(text, **limit)["input_ids"] if text.strip() else [] for text in texts]
        for text, ids in zip(texts, found, strict=True):
            if len(ids) > self.prefix:
                raise ValueError(
                    f"a text of {len(ids)} tokens, the generator takes {self.prefix}: {text[:60]!r}"
                )
        return found

    @torch.no_grad()
    def _states(self, ids: list[list[int]]) -> Tensor:
        _, model = _loaded(self.encoder)
        device = self.nothing.device
        model.to(device)
        found = torch.zeros(len(ids), *self.nothing.shape)
        texts = [item for item, tokens in enumerate(ids) if tokens]
        if not texts:
            return found
        longest = max(map(len, ids))
        padded = torch.tensor([ids[item] + [0] * (longest - len(ids[item])) for item in texts])
        mask = torch.tensor([[n < len(ids[item]) for n in range(longest)] for item in texts])
        states = model(padded.to(device), attention_mask=mask.to(device)).last_hidden_state
        if states.shape[-1] != self.channels:
            raise ValueError(
                f"{self.encoder} has states of {states.shape[-1]} channels, the generator takes "
                f"{self.channels}"
            )
        for item, state in zip(texts, states.float().cpu(), strict=True):
            count = len(ids[item])
            found[item, self.prefix - count :] = state[:count]
        return found


@lru_cache(maxsize=1)
def _loaded(encoder: str) -> tuple[Any, Any]:
    """Tokenizer and frozen encoder."""
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "texts by a frozen encoder need transformers: pip install 'intaglio[text]'"
        ) from error
    local = os.environ.get(DOWNLOAD, "0") == "0"
    options: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(encoder, **options)
        model = transformers.AutoModelForTextEncoding.from_pretrained(encoder, **options)
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"transformers finds no text encoder {encoder!r} ({reason}); give a folder that holds "
            "one with its tokenizer, or a name on the hub, which is downloaded if you set "
            f"{DOWNLOAD}=1"
        ) from error
    return tokenizer, model.eval().requires_grad_(False)
