"""``bench cache``: what the cache holds, and making room."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark_core.console import JsonOption, example, guarded, write_json

cache_app = typer.Typer(
    no_args_is_help=True, help="The cache of activations and kernels.", epilog=example("bench cache info")
)


def add_to(app: typer.Typer) -> None:
    """Make ``cache`` a group of commands of this app."""
    app.add_typer(cache_app, name="cache")


@cache_app.command("info", epilog=example("bench cache info"))
@guarded
def cache_info(as_json: JsonOption = False) -> None:
    """Show what the cache holds and where it is."""
    from benchmark_core.listing import size_text
    from benchmark_core.store import Store, cache_cap

    store = Store.default()
    usage = store.usage()
    if as_json:
        write_json(
            {
                "path": str(store.root),
                "cap_bytes": cache_cap(),
                "usage": {k: {"files": n, "bytes": b} for k, (n, b) in usage.items()},
            }
        )
        return
    print(f"{store.root} (cap {size_text(cache_cap())}; BENCH_CACHE_MAX changes it)")
    for kind, (files, size) in usage.items():
        print(f"  {kind:<12} {files:>6} files  {size_text(size):>10}")


@cache_app.command("prune", epilog=example("bench cache prune --max-size 5GB"))
@guarded
def cache_prune(
    max_size: Annotated[str, typer.Option(metavar="SIZE", help="What may stay, e.g. 5GB; 0 removes everything.")] = "0",
) -> None:
    """Remove what was least recently used; it is computed again when needed. Data and records are never touched."""
    from benchmark_core.listing import size_text
    from benchmark_core.store import Store, parse_size

    removed, freed = Store.default().prune(parse_size(max_size))
    print(f"removed {removed} entries, {size_text(freed)}")
