"""Texts as states of a frozen encoder: those of transformers, right-aligned."""

import json

import pytest
import torch

from intaglio.codecs.bundle import read, save
from intaglio.generators.conditioning.encoded import EncodedText
from intaglio.generators.image.llamagen import llamagen

transformers = pytest.importorskip("transformers")
WORDS = ["<pad>", "</s>", "<unk>", "a", "red", "green", "apple", "sea"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Folder of a T5 of 16 channels with random weights, and of its tokenizer of eight words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(2)
    config = transformers.T5Config(
        vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2
    )
    transformers.T5EncoderModel(config).save_pretrained(folder)
    return str(folder)


def test_states_are_transformers_and_stand_on_the_right(encoder):
    condition = EncodedText(encoder, channels=16, prefix=6).bind(8)
    found = condition.of_texts(["a red apple", "", "sea"])
    model = transformers.T5EncoderModel.from_pretrained(encoder).eval()
    with torch.no_grad():
        states = model(torch.tensor([[3, 4, 6, 1]])).last_hidden_state
    torch.testing.assert_close(found[0, 2:], states[0])
    assert not found[0, :2].any() and not found[1].any() and not found[2, :4].any()
    torch.testing.assert_close(
        found[2:], condition.of_texts(["sea"])
    )  # whatever else is in the batch
    tokens = condition(found)
    assert tokens.shape == (3, 6, 8)
    nothing = condition.projection(condition.nothing)
    torch.testing.assert_close(tokens[1], nothing)
    torch.testing.assert_close(tokens[0, :2], nothing[:2])
    torch.testing.assert_close(tokens[0, 2:], condition.projection(states[0]))


def test_a_dropped_text_is_none(encoder):
    condition = EncodedText(encoder, channels=16, prefix=6).bind(8)
    texts = condition.of_texts(["red", "green"])
    dropped = condition.dropped(texts, torch.tensor([True, False]))
    # encoded alone, in products of other shapes, the text is the same but for rounding
    torch.testing.assert_close(dropped, condition.of_texts(["", "green"]))
    assert not dropped[0].any() and torch.equal(dropped[1], texts[1])
    assert not torch.equal(texts[0], texts[1])


def test_captions_that_are_too_long_are_cut_and_texts_refused(encoder):
    condition = EncodedText(encoder, channels=16, prefix=3).bind(8)
    found = condition.of_batch({"caption": ["a red red apple", "a red"]})
    torch.testing.assert_close(found[0], found[1])  # two words and the end, rows of one product
    with pytest.raises(ValueError, match="a text of 5 tokens, the generator takes 3: 'a red red"):
        condition.of_texts(["sea", "a red red apple"])


def test_a_bundle_holds_the_name_of_the_encoder_and_no_weights_of_it(encoder, tmp_path):
    condition = EncodedText(encoder, channels=16, prefix=6)
    generator = llamagen("tiny", shape=(2, 3), vocab=(11,), condition=condition)
    again = read(save(generator, tmp_path / "bundle")).condition
    texts = again.of_texts(["a green sea"])
    assert torch.equal(again(texts), condition(texts))
    assert set(condition.state_dict()) == {"nothing", "projection.0.weight", "projection.2.weight"}
    recipe = json.loads((tmp_path / "bundle" / "config.json").read_text())["recipe"]
    backbone = recipe["init_args"]["backbone"]["init_args"]
    assert backbone["condition"]["init_args"]["encoder"] == encoder


def test_llamagen_is_conditioned_on_an_encoder(encoder):
    condition = EncodedText(encoder, channels=16)
    generator = llamagen("tiny", shape=(2, 3), vocab=(11,), condition=condition).eval()
    assert generator.condition.prefix == 120
    torch.nn.init.normal_(generator.head.get_parameter("linear.weight"), std=0.5)
    texts = generator.condition.of_texts(["a red apple", "sea", ""])
    loss = generator.loss(torch.zeros(3, 6, 1, dtype=torch.int64), texts)
    per_text = loss.detach().view(3, 6).mean(1)
    assert per_text.diff().abs().min() > 1e-4
    loss.mean().backward()
    assert all(weight.grad.any() for weight in generator.condition.projection.parameters())


def test_mistakes_are_one_line(encoder, tmp_path):
    with pytest.raises(ValueError, match="finds no text encoder") as caught:
        EncodedText(str(tmp_path), channels=16).of_texts(["red"])
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="has states of 16 channels, the generator takes 12"):
        EncodedText(encoder, channels=12).of_texts(["red"])
    with pytest.raises(ValueError, match=r"texts are \[6, 16\]"):
        EncodedText(encoder, channels=16, prefix=6).bind(8)(torch.zeros(1, 5, 16))


def test_an_encoder_that_a_bundle_names_runs_no_code(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    names = {"AutoConfig": "evil.C", "AutoModelForTextEncoding": "evil.M"}
    content = {"model_type": "evil", "auto_map": names | {"AutoTokenizer": ["evil.T", None]}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="finds no text encoder"):
        EncodedText(str(tmp_path), channels=16).of_texts(["red"])
    assert not (tmp_path / "canary").exists()


def test_an_encoder_is_fetched_only_if_the_user_says_so(monkeypatch):
    asked = []

    def look(name, **options):
        asked.append(options)
        raise OSError("not here")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", look)
    for value in ("0", "1"):
        monkeypatch.setenv("INTAGLIO_DOWNLOAD", value)
        with pytest.raises(ValueError, match="INTAGLIO_DOWNLOAD=1"):
            EncodedText("somebody/encoder", channels=16).of_texts(["red"])
    assert [options["local_files_only"] for options in asked] == [True, False]
    assert not any(options["trust_remote_code"] for options in asked)
