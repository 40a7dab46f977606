"""Conditions of generators, and classifier-free guidance."""

from typing import TYPE_CHECKING

from intaglio.codecs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Condition as Condition
    from .base import PromptCondition as PromptCondition
    from .classes import ClassCondition as ClassCondition
    from .encoded import EncodedText as EncodedText
    from .guidance import Guidance as Guidance
    from .text import TextCondition as TextCondition
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
