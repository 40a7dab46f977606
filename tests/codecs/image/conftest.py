from collections.abc import Callable

import pytest
import torch
from torch import nn

from intaglio.codecs import ImageCodec

Check = Callable[[ImageCodec], None]


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def bare() -> Callable[[Callable[[], ImageCodec]], ImageCodec]:
    """What a builder builds, without memory for its parameters."""

    def built(build: Callable[[], ImageCodec]) -> ImageCodec:
        with torch.device("meta"):
            return build()

    return built


@pytest.fixture
def count(bare) -> Callable[[Callable[[], ImageCodec]], int]:
    """Parameters of what a builder builds, without memory for them."""

    def counted(build: Callable[[], ImageCodec]) -> int:
        return parameters(bare(build))

    return counted


@pytest.fixture
def keeps_the_contract() -> Check:
    """What every image codec must do, on two pictures of its size."""

    def check(codec: ImageCodec) -> None:
        torch.manual_seed(0)
        x = torch.rand(2, 3, codec.image_size, codec.image_size) * 2 - 1
        output = codec.train()(x)
        terms = [output.values.square().mean(), *output.quantized.losses.values()]
        torch.stack(terms).sum().backward()
        for name in ("encoder", "decoder"):
            gradients = [p.grad for p in getattr(codec, name).parameters() if p.grad is not None]
            assert sum(float(g.abs().sum()) for g in gradients) > 0, f"{name} does not learn"
        codec.eval()
        with torch.no_grad():
            output = codec(x)
        tokens = codec.encode(x).check()
        assert tokens.ids.shape == (2, codec.positions, len(codec.vocab))
        assert torch.equal(tokens.ids, output.quantized.ids)
        decoded = codec.decode(tokens)
        assert decoded.shape == x.shape and float(decoded.abs().max()) <= 1
        assert torch.equal(decoded, output.values.clamp(-1, 1))
        alone = codec.encode(x[1:])
        assert torch.equal(alone.ids, tokens.ids[1:])
        # Rounded by the shape: at most 3e-15 apart in 64 bits, and 1.1e-5 in 32.
        torch.testing.assert_close(codec.decode(alone), decoded[1:], atol=1e-4, rtol=0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ids = codec.quantizer.encode_ids(codec.encoder(x).float())
            again = codec.quantizer(codec.encoder(x).float()).ids
        assert torch.equal(ids, again)

    return check


@pytest.fixture
def spread_at_the_start() -> Check:
    """That a sequence codec's first batch has many ids, although its images hardly differ."""

    def check(codec: ImageCodec) -> None:
        torch.manual_seed(0)
        size = codec.image_size
        x = torch.rand(1, 3, size, size) + 0.2 * torch.rand(16, 3, size, size)
        bounded: list[torch.Tensor] = []
        codec.quantizer.standard.register_forward_hook(lambda *call: bounded.append(call[2]))
        with torch.no_grad():
            ids = codec.train()(x).quantized.ids
        (latents,) = bounded
        assert latents.shape[:2] == (16, codec.positions)
        torch.testing.assert_close(latents.mean(0), torch.zeros_like(latents[0]), atol=1e-4, rtol=0)
        std = latents.std(0, correction=0)
        torch.testing.assert_close(std, torch.ones_like(std), atol=0.02, rtol=0)
        for position in range(codec.positions):
            assert len(ids[:, position].unique()) > 12

    return check
