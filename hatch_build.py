"""The build of the package: compile the tables, and take them into the package."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TablesHook(BuildHookInterface[Any]):
    """Puts ``mappings`` into a wheel as ``converters/_tables``; an editable install finds it in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before a wheel is built."""
        subprocess.run([sys.executable, "-m", "converters.mapping.compile"], cwd=self.root, check=True)
        if version != "editable":
            build_data["force_include"]["mappings"] = "converters/_tables"
