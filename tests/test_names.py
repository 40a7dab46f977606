"""Folders of parts have the names of what lies in them, and import it when it is asked for."""

import importlib
import subprocess
import sys

import pytest

FOLDERS = (
    "codecs.decoders",
    "codecs.discriminators",
    "codecs.encoders",
    "codecs.layers",
    "codecs.losses",
    "codecs.quantizers",
    "generators.conditioning",
    "generators.embeddings",
    "generators.heads",
    "generators.inference",
    "generators.orders",
    "generators.samplers",
)

each_folder = pytest.mark.parametrize("folder", FOLDERS)


@each_folder
def test_every_name_of_a_folder_is_there(folder: str) -> None:
    package = importlib.import_module(f"intaglio.{folder}")
    assert package.__all__
    for name in package.__all__:
        value = getattr(package, name)
        assert value.__name__ == name and value.__module__.startswith(f"intaglio.{folder}.")
    assert set(package.__all__) <= set(dir(package))


def test_other_names_are_refused() -> None:
    package = importlib.import_module("intaglio.codecs.quantizers")
    with pytest.raises(AttributeError, match=r"'intaglio\.codecs\.quantizers' has no .* 'FSK'"):
        package.FSK  # noqa: B018
    with pytest.raises(ImportError, match="FSK"):
        from intaglio.codecs.quantizers import FSK  # type: ignore[attr-defined]  # noqa: F401


def test_a_folder_imports_what_is_asked_for_and_no_more() -> None:
    code = (
        "import sys; from intaglio.codecs.quantizers import FSQ;"
        "print(FSQ.__module__, 'intaglio.codecs.quantizers.residual' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["intaglio.codecs.quantizers.fsq", "False"]
