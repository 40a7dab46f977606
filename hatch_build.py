"""Puts the `__init__.py` of the package, which lies in recipes/package/intaglio, into the wheel.

``force-include`` of pyproject.toml would copy it on an editable install too, where the copy would
hide the original.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PackageItself(BuildHookInterface):
    """What hatchling calls before it builds a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """``version`` is ``standard`` or ``editable``."""
        if version == "standard":
            build_data["force_include"]["recipes/package/intaglio"] = "intaglio"
