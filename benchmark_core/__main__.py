"""``bench``, also as ``python -m benchmark_core``."""

from __future__ import annotations

import gc


def main() -> None:
    """Run the command line."""
    gc.disable()  # nothing of what is imported is garbage; looking for some there takes a tenth of `bench list`
    from benchmark_core import cli

    gc.freeze()
    gc.enable()
    cli.main()


if __name__ == "__main__":
    main()
