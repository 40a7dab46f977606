"""The first page of ``intaglio fit --help``: what a recipe is, which there are, and how to begin.

Nothing heavy is imported; ``--help-all`` is the help of Lightning's command line.
"""

import textwrap
from pathlib import Path

ABOUT = {
    "fit": "Train a codec or a generator from a recipe.",
    "validate": "Compute the losses of a trained model on the validation data.",
    "test": "Compute the losses of a trained model on the test data.",
    "predict": "Write the tokens of all clips or images of the data, next to the logs.",
}
RECIPE = """\
A recipe is a YAML file with everything that a training needs: the seed, the model with its
losses and optimizers, the data, the trainer. Further files and options change it key by key.
"""
EXAMPLES = {
    "fit": """\
  intaglio fit -c audio/speech_small -c overlays/debug              two steps, made-up data
  intaglio fit -c audio/speech_small --data.root FOLDER             train on your recordings
  intaglio fit -c audio/speech_small --data.root FOLDER --ckpt_path last    go on
  intaglio fit -c audio/wavtokenizer -c overlays/bf16 --data.root FOLDER --trainer.max_steps 5000
""",
    "": """\
  intaglio {command} -c RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt
""",
}
OPTIONS = """\
  -c RECIPE                       a name from above, or a file; may be repeated
  --data.root FOLDER              files of your own, a manifest, or a set of `intaglio data get`
  --trainer.max_steps N           how long; --trainer.max_time 00:01:00:00 for an hour
  --trainer.default_root_dir DIR  where runs are written; each has a folder version_N there
  --ckpt_path last                go on from the newest checkpoint there, or give a file
  --KEY VALUE                     any key of the recipe, as --model.codec.tokens_per_second 40
  --print_config                  print the recipe with every default, and end
  --model.help CLASS              the arguments of a class; likewise --data.help CLASS
  --help-all                      every option of the trainer
"""


def page(command: str) -> str:
    """The page of a training command."""
    folder = Path(__file__).parents[1]
    groups = {
        group: sorted(path.stem for path in (folder / group).glob("*.yaml"))
        for group in ("audio", "image", "overlays")
    }
    lines = [
        textwrap.fill(
            f"{group}/  {'  '.join(names)}",
            92,
            initial_indent="  ",
            subsequent_indent=" " * (len(group) + 5),
            break_long_words=False,
        )
        for group, names in groups.items()
    ]
    examples = EXAMPLES.get(command, EXAMPLES[""].format(command=command))
    return (
        f"usage: intaglio {command} -c RECIPE [-c OVERLAY …] [--KEY VALUE …]\n\n"
        f"{ABOUT[command]}\n\n{RECIPE}\nrecipes, and overlays that change them:\n"
        + "\n".join(lines)
        + f"\n\nexamples:\n{examples}\noptions:\n{OPTIONS}"
    )
