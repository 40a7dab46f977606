"""The check that comes before any decoding: a token file is read by the codec that made it."""

from intaglio.codecs import Codec
from intaglio.data.formats.tokens import TokenFileError, TokenHeader


def check_same_codec(header: TokenHeader, codec: Codec) -> None:
    """Raise TokenFileError unless a token file was made with this codec."""
    if header.fingerprint != codec.fingerprint:
        raise TokenFileError(
            f"made with the codec {header.codec} ({header.fingerprint}), which is not this one, "
            f"{codec.name} ({codec.fingerprint}); name the right one with --codec"
        )
