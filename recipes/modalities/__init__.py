"""The modalities: the one table that says which kinds of signals the commands can treat.

A command asks here for the modality of its codec, and leaves to it what differs between them.
`CONTRIBUTING.md` lists what a new modality takes.
"""

from intaglio.codecs import Codec
from intaglio.recipes.modalities.audio import AudioModality
from intaglio.recipes.modalities.base import AnyModality, Command, Modality, Option
from intaglio.recipes.modalities.image import ImageModality

__all__ = [
    "MODALITIES",
    "AnyModality",
    "Command",
    "Modality",
    "Option",
    "modality_called",
    "modality_of",
]

MODALITIES: tuple[AnyModality, ...] = (AudioModality(), ImageModality())


def modality_of(codec: Codec) -> AnyModality:
    """Modality of a codec.

    Raises:
        ValueError: there is none for codecs of this class.
    """
    for modality in MODALITIES:
        if isinstance(codec, modality.codec):
            return modality
    known = ", ".join(modality.plural for modality in MODALITIES)
    raise ValueError(f"{codec.name} is a {type(codec).__name__}; the commands treat {known}")


def modality_called(name: str) -> AnyModality:
    """Modality by the name that it has in token files.

    Raises:
        ValueError: there is none of that name.
    """
    for modality in MODALITIES:
        if modality.name == name:
            return modality
    raise ValueError(f"there is no modality {name!r}")
