"""The two graphs of a codec that are exported, and their capture with open axes.

The batch axis is open, and with waveforms the time axis. The height and width of images are those
that the codec was trained on: a grid decoder cannot infer rows and columns from the number of ids.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
import torch._decomp.decompositions as decompositions
from torch import Generator, Tensor, nn
from torch.export import Dim, ExportedProgram

from intaglio.codecs import AudioCodec, Codec, ImageCodec
from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.decoders.flow import FlowDecoder


class EncoderGraph(nn.Module):
    """A signal, float32, to ids, int64 [batch, positions, groups]."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.encoder = codec.encoder
        self.quantizer = codec.quantizer

    def forward(self, x: Tensor) -> Tensor:
        """Ids of a signal."""
        return self.quantizer.encode_ids(self.encoder(x))


class DecoderGraph(nn.Module):
    """Ids, int64 [batch, positions, groups], to waveform, float32 [batch, channels, samples].

    Attributes:
        names: of the inputs.
    """

    names: tuple[str, ...] = ("ids",)

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.quantizer = codec.quantizer
        self.decoder = codec.decoder

    def forward(self, ids: Tensor) -> Tensor:
        """Waveform of ids; positions * hop_length samples."""
        return self.decoder(self.quantizer.decode_ids(ids))


class ImageGraph(DecoderGraph):
    """Ids to images, float32 [batch, 3, height, width], in [-1, 1]."""

    def __init__(self, codec: ImageCodec) -> None:
        super().__init__(codec)
        side = codec.image_size // codec.hop_length
        self.grid = (side, side)

    def forward(self, ids: Tensor) -> Tensor:
        """Images of ids."""
        return self.decoder(self.quantizer.decode_ids(ids), grid=self.grid).clamp(-1, 1)


class PrefixGraph(ImageGraph):
    """As `ImageGraph`, for codecs that were trained to decode any first positions."""

    names = ("ids", "mask")

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Images of those ids whose mask, bool [batch, positions], is True."""
        latents = self.quantizer.decode_ids(ids)
        return self.decoder(latents, mask, grid=self.grid).clamp(-1, 1)


class NoiseGraph(ImageGraph):
    """As `ImageGraph`, for decoders with noise in addition to the latents."""

    names = ("ids", "noise")

    def forward(self, ids: Tensor, noise: Tensor) -> Tensor:  # type: ignore[override]
        """Images of ids and standard normal noise, float32 [1, dim, rows, columns]."""
        latents = self.quantizer.decode_ids(ids)
        return self.decoder(latents, grid=self.grid, noise=noise).clamp(-1, 1)


class Graphs:
    """Both graphs of a codec, with an example input whose sizes fit nothing by chance.

    Attributes:
        encoder: signal to ids.
        decoder: ids, and what `inputs` adds to them, to signal.
        signal: name of the signal, ``wave`` or ``image``.
        names: of the decoder's inputs: ``ids``, and ``mask`` or ``noise`` if it takes one.
        example: input of the encoder.

    Raises:
        ValueError: a codec that cannot be exported.
    """

    def __init__(self, codec: Codec) -> None:
        check(codec)
        generator = Generator().manual_seed(0)
        self.signal = codec.signal
        self.encoder = EncoderGraph(codec).eval()
        self.decoder = _decoder(codec).eval()
        self.names = self.decoder.names
        self.example = 0.1 * torch.randn(*_shape(codec), generator=generator)

    def inputs(self, ids: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """What the decoder takes: ids, and at random a mask of first positions or noise."""
        if "mask" in self.names:
            kept = torch.randint(1, ids.shape[1] + 1, (len(ids), 1), generator=generator)
            return ids, torch.arange(ids.shape[1]) < kept
        if isinstance(self.decoder, NoiseGraph):
            shape = (1, self.decoder.quantizer.dim, *self.decoder.grid)
            return ids, torch.randn(*shape, generator=generator)
        return (ids,)

    def examples(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Inputs of the encoder and of the decoder, to record both with."""
        with torch.no_grad():
            ids = self.encoder(self.example)
        return (self.example,), self.inputs(ids, Generator().manual_seed(0))

    @cached_property
    def programs(self) -> tuple[ExportedProgram, ExportedProgram]:
        """Both graphs as exported programs; open axes may take any size from 1 on."""
        source, target = self.examples()
        time = self.signal == "wave"
        return (
            _capture(self.encoder, source, [(0, 2) if time else (0,)]),
            _capture(self.decoder, target, [(0, 1) if time else (0,), (0,)]),
        )


def check(codec: Codec) -> None:
    """Raise ValueError, in one line, if a codec cannot be exported."""
    reason = None
    if isinstance(codec, AudioCodec) and (codec.segments is not None or codec.normalise):
        reason = "codes segments by their loudness, which no exported graph holds yet"
    elif not codec.vocab:
        reason = "is continuous and has no tokens"
    elif any(isinstance(module, FlowDecoder) for module in codec.modules()):
        reason = "decodes by many steps of a flow, which no exported graph holds yet"
    elif isinstance(codec, ImageCodec) and codec.autoencoder is not None:
        reason = "works on the latents of an autoencoder, which no exported graph holds yet"
    elif any(_noisy(module) for module in codec.modules() if module is not codec.decoder):
        reason = "has a decoder with noise inside another, which no exported graph holds yet"
    if reason:
        raise ValueError(f"{codec.name} {reason}; use it from Python, or export another codec")


def _noisy(module: nn.Module) -> bool:
    return isinstance(module, ConvDecoder) and module.conv_noise is not None


def _decoder(codec: Codec) -> DecoderGraph:
    if not isinstance(codec, ImageCodec):
        return DecoderGraph(codec)
    if codec.prefixes != "none":
        return PrefixGraph(codec)
    return NoiseGraph(codec) if _noisy(codec.decoder) else ImageGraph(codec)


def _shape(codec: Codec) -> tuple[int, ...]:
    """Of an example of the signal."""
    if isinstance(codec, AudioCodec):
        return 2, codec.channels, 21 * codec.hop_length + 3
    assert isinstance(codec, ImageCodec)
    return 2, 3, codec.image_size, codec.image_size


def _capture(
    graph: nn.Module, examples: tuple[Tensor, ...], axes: list[tuple[int, ...]]
) -> ExportedProgram:
    """A graph with open axes; those of an example of one item stay as they are."""
    dims = tuple(
        {axis: Dim.DYNAMIC for axis in opened if example.shape[axis] > 1}
        for example, opened in zip(examples, axes, strict=False)
    )
    with torch.no_grad(), open_lstm(), warnings.catch_warnings():
        # an LSTM's list of its own weights, which stays what it is
        warnings.filterwarnings("ignore", message="The tensor attributes? .*_flat_weights")
        program = torch.export.export(graph, examples, dynamic_shapes=dims, strict=False)
    # Capture guards against sizes of 1, which it treats as special. Nothing here depends on them,
    # as the comparison with the codec at such sizes proves before anything is written.
    program._guards_code = []
    return program


@contextmanager
def open_lstm() -> Iterator[None]:
    """Keep an LSTM's number of steps open while a graph is captured.

    torch.export finds an LSTM's output sizes by unrolling it, which fixes the number of steps. The
    one-layer form that does not unroll gives the same sizes; the captured graph holds the LSTM
    itself either way.
    """
    select = decompositions.select_one_layer_lstm_function
    decompositions.select_one_layer_lstm_function = lambda *_: decompositions.mkldnn_one_layer_lstm
    try:
        yield
    finally:
        decompositions.select_one_layer_lstm_function = select
