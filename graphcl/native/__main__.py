"""`python -m graphcl.native`: build the compiled kernels and say which this machine uses."""

from __future__ import annotations

import sys

from graphcl.native.build import BuildError, build
from graphcl.native.library import native_library


def main() -> int:
    """Build, report, and return the exit code."""
    try:
        names = build()
    except BuildError as error:
        print(f"the compiled kernels were not built: {error}", file=sys.stderr)
        return 1
    library = native_library()
    print(f"built: {', '.join(names)}; this machine uses: {library.name if library else 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
