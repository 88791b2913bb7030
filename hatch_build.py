"""Build hook: compiles graphcl's C++ kernels while the package is installed.

A machine without a compiler gets a package without them, with a warning; it works,
more slowly.
"""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeKernelsHook(BuildHookInterface):
    """Adds graphcl/native/built/*.so to wheels and to editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as made for this platform if that worked."""
        path = Path(self.root) / "graphcl" / "native" / "build.py"
        spec = importlib.util.spec_from_file_location("graphcl_native_build", path)
        builder = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(builder)
        try:
            names = builder.build()
        except builder.BuildError as error:
            self.app.display_warning(
                f"graphcl is installed without its compiled kernels: {error}; it will use its "
                "slower torch code (`python -m graphcl.native` builds them later)"
            )
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        if version == "standard":
            files = [*(builder.library_path(name) for name in names), builder.BUILT / builder.STAMP]
            build_data["force_include"] |= {
                str(file): str(file.relative_to(self.root)) for file in files
            }
