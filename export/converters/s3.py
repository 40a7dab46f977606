"""S3's released ONNX files (CosyVoice 1 and 2): the part of the recogniser up to the quantizer."""

from collections.abc import Mapping
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.s3 import s3
from intaglio.codecs.layers.positions import sine_positions
from intaglio.export.converters.names import filled, renamed

BLOCK = r"encoder\.blocks\.(\d+)\."
OURS = r"encoder.transformer.blocks.\1."
RULES = [
    (r"encoder\.conv([12])\.", r"encoder.conv\1.conv."),
    (BLOCK + r"attn\.fsmn_block\.", OURS + "attention.memory."),
    (BLOCK + r"attn\.", OURS + "attention."),
    (BLOCK + r"attn_ln\.", OURS + "attention_norm."),
    (BLOCK + r"mlp\.", OURS + "mlp."),
    (BLOCK + r"mlp_ln\.", OURS + "mlp_norm."),
    (r"quantizer\._codebook\.project_down\.", "quantizer.project_in."),
    (r"quantizer\._codebook\.embed$", "quantizer._codebook.codes"),
]
POSITIONS = "encoder.positional_embedding"


def convert(state: Mapping[str, Tensor], version: int = 2, frame_rate: int = 25) -> AudioCodec:
    """The codec with released weights. It encodes only.

    Args:
        state: tensors by name, as `read_onnx` gives them.
        version: 1, 2 or 3.
        frame_rate: tokens a second, 25 or 50.

    Raises:
        ValueError: these are not the weights of that model.
    """
    codec = s3(version, frame_rate)
    kept = {name: tensor for name, tensor in state.items() if name != POSITIONS}
    if (table := state.get(POSITIONS)) is not None:
        sines = sine_positions(*table.shape[-2:])
        if version != 1 or not torch.allclose(table.reshape(sines.shape), sines, atol=1e-4):
            raise ValueError(f"{POSITIONS} is not the table of sines of version 1")
    found = renamed(kept, RULES)
    if version != 1:
        heads = codec.encoder.get_submodule("transformer.blocks.0.attention").heads
        for name in [name for name in found if ".query." in name or ".key." in name]:
            # they rotate the pairs of channels (i, i + half) of a head, here they are neighbours
            found[name] = rearrange(found[name], "(h two d) ... -> (h d two) ...", h=heads, two=2)
    # what only a training needs: the way back from the codes, and how often they were used
    for name, tensor in codec.quantizer.state_dict().items():
        if name.startswith("project_out.") or name.removeprefix("_codebook.") in (
            "usage",
            "initialised",
            "updates",
        ):
            fill = 1 if name.endswith(("usage", "initialised")) else 0
            found.setdefault(f"quantizer.{name}", torch.full_like(tensor, fill))
    return filled(codec, found)


def read_onnx(file: str | Path) -> dict[str, Tensor]:
    """Weights of an ONNX file by their authors' names. Nothing in it is run.

    Weights of matrix products, which exporters rename and transpose, get the name of the module
    that their node is of, and are transposed back.

    Needs ``pip install 'intaglio[export]'``.

    Raises:
        ModuleNotFoundError: the package is missing.
        OSError: the file cannot be read.
        ValueError: it is no ONNX file, or its weights lie in other files.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ONNX files need a package: pip install 'intaglio[export]'"
        ) from error
    content = Path(file).read_bytes()
    try:
        graph = onnx.load_model_from_string(content).graph
    except Exception as error:  # of protobuf, which onnx brings
        raise ValueError(f"{file} is no ONNX file") from error
    if not graph.initializer:
        raise ValueError(f"{file} is no ONNX file, or has no weights")
    if any(one.data_location == onnx.TensorProto.EXTERNAL for one in graph.initializer):
        raise ValueError(f"{file} keeps its weights in other files; save it as one")
    tensors = {one.name: torch.tensor(numpy_helper.to_array(one)) for one in graph.initializer}
    for node in graph.node:
        weight = node.input[1] if node.op_type == "MatMul" and len(node.input) > 1 else ""
        if weight in tensors and tensors[weight].dim() == 2:
            name = weight
            if weight.startswith("onnx::"):  # and the node is /encoder/blocks.0/attn/query/MatMul
                name = node.name.strip("/").rpartition("/")[0].replace("/", ".") + ".weight"
            tensors[name] = tensors.pop(weight).t().contiguous()
    # constants of the arithmetic are no weights
    return {name: x for name, x in tensors.items() if name.startswith(("encoder.", "quantizer."))}
