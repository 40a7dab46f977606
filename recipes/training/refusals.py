"""What is wrong with a recipe or its options, in words of the command line."""

import re

from intaglio.codecs.part import WRITTEN_PATHS

_KEY = re.compile(r'Parser key "([\w.]+)"')
_REQUIRED = re.compile(r"the following arguments are required: ([\w., ]+)")
_UNKNOWN = re.compile(r"class_path '([\w.]+)': (?:module '|No module named|Unexpected import)")
_ROOTS = {
    "TokenShards": "--data.root FOLDER, with the shards that `intaglio tokenize` made",
    "": "--data.root FOLDER, a manifest or the name of a set that `intaglio data get` fetched",
}


def in_words(text: str) -> str:
    """A reason of jsonargparse, in one line, with what to give instead where that is known."""
    keys = ".".join(_KEY.findall(text))
    if (missing := _REQUIRED.search(text)) and not keys:
        return f"no recipe is given ({missing[1]}): -c audio/speech_small; --help names the others"
    if missing and missing[1] == "root":
        kind = "TokenShards" if "TokenShards" in text else ""
        return f"there are no data: give {_ROOTS[kind]}"
    if missing:
        options = [f"--{keys}.{name}" for name in missing[1].split(", ")]
        return f"{', '.join(options)} must be given, or be set in the recipe: {text}"
    if unknown := _UNKNOWN.findall(text):
        return _renamed(unknown[-1]) or text
    if re.match(r"unrecognized arguments: \w+/\w+", text):
        return f"{text}; a recipe is given after -c"
    return text


def _renamed(path: str) -> str:
    """What became of a class or builder of the package that is not there."""
    today = {written: now for now, written in WRITTEN_PATHS.items()}
    if path in today:
        return f"{path} is called {today[path]} now: change it in the recipe or its config.yaml"
    if path.startswith("intaglio."):
        return (
            f"there is no {path} in this version of intaglio: a recipe or config.yaml of another "
            "version needs the name of today (CHANGELOG.md)"
        )
    return ""
