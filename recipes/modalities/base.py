"""Modality: what the commands must know of one kind of signal, such as audio or images."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from intaglio.codecs import Codec, Tokens
from intaglio.data.formats.tokens import TokenHeader
from intaglio.generators.generator import Generator
from intaglio.recipes.commands.options.words import given
from intaglio.recipes.file_jobs import FileJob
from intaglio.recipes.sampling.pipeline import Medium
from intaglio.recipes.tokenization.batch import Tokenizer

Command = Literal["encode", "decode", "tokenize"]
C = TypeVar("C", bound=Codec)


class Option(NamedTuple):
    """A command-line option for the codecs of one modality; modalities may share it.

    Attributes:
        flag: such as ``--max-size``.
        help: what it does, and the default.
        type: makes the value of a word; None for a flag without a value.
        metavar: what stands for the value in the help.
        choices: the values that are allowed, if they are few.
        exclusive: options of one modality with the same name here exclude one another.
        dest: name of the argument that it sets; that of the flag if empty.
    """

    flag: str
    help: str
    type: Callable[[str], Any] | None = given
    metavar: str | None = None
    choices: tuple[Any, ...] | None = None
    exclusive: str = ""
    dest: str = ""

    @property
    def argument(self) -> str:
        """Name of the argument that it sets."""
        return self.dest or self.flag.removeprefix("--").replace("-", "_")


class Modality(Generic[C]):
    """Base: one kind of signal.

    Attributes:
        codec: class of its codecs.
        tokenizer: makes token files of a data set; takes a codec, ``entropy``, and the options of
            ``tokenize``. Its ``kind`` names the modality in token files and data sets.
        plural: what its codecs are for, in messages: "audio", "images".
        item: one of its files, in messages: "a recording", "an image".
        encoding: makes the options of `encode_file`, of ``entropy`` and the options of ``encode``.
        decoding: makes the options of `decode_file`, of the options of ``decode``.
        options: of the commands.
        decoded_suffix: of the files that `decode_file` writes if nothing else is asked for.
    """

    codec: ClassVar[type[Codec]]
    tokenizer: ClassVar[type[Tokenizer[Any, Any]]]
    plural: ClassVar[str]
    item: ClassVar[str]
    encoding: ClassVar[Callable[..., Any]]
    decoding: ClassVar[Callable[..., Any]]
    options: ClassVar[Mapping[Command, tuple[Option, ...]]] = {}
    decoded_suffix: ClassVar[str]

    @property
    def name(self) -> str:
        """As token files and data sets have it."""
        return self.tokenizer.kind

    def check_encoding(self, codec: C, options: Any) -> None:
        """Raise ValueError for options that fit no file; asked before the first."""

    def check_decoded(self, path: Path) -> None:
        """Raise ValueError unless a file with this suffix can be written."""
        raise NotImplementedError

    def encode_file(self, codec: C, job: FileJob, options: Any) -> None:
        """Encode one file to a token file.

        Raises:
            OSError: a file cannot be read or written.
            ValueError: the input is damaged, or does not fit the codec or the options.
        """
        raise NotImplementedError

    def decode_file(self, codec: C, job: FileJob, options: Any) -> None:
        """Decode one token file.

        Raises:
            OSError: a file cannot be read or written.
            ValueError: the input is damaged or of another codec.
        """
        raise NotImplementedError

    def write_item(self, codec: C, tokens: Tokens, target: Path, *, item: int = 0) -> None:
        """Write one item of a batch of tokens as a token file; folders are made.

        Raises:
            OSError: the file cannot be written.
        """
        raise NotImplementedError

    def codec_facts(self, codec: C) -> dict[str, Any]:
        """What `intaglio info` says of a codec, besides what is true of every codec."""
        raise NotImplementedError

    def token_facts(self, header: TokenHeader, size: int) -> dict[str, Any]:
        """What `intaglio info` says of a token file of ``size`` bytes; likewise."""
        raise NotImplementedError

    def medium(self, generator: Generator, codec: C) -> Medium:
        """What a generator draws with the codec, for `intaglio sample`.

        Raises:
            ValueError: the generator was trained with another codec, or nothing can be drawn yet.
        """
        raise ValueError(f"{codec.name} is a codec of {self.plural}, which cannot be drawn yet")


AnyModality = Modality[Any]
