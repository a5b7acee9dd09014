"""`python -m gateway` is what `podlake serve` starts."""

from __future__ import annotations

import click

from gateway.allocators import limit_allocators


@click.command()
@click.option("--host", default="127.0.0.1")
@click.option("--port", type=click.IntRange(1, 65535), default=8000)
def main(host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    limit_allocators()
    from gateway.server import serve  # imports Arrow

    serve(host, port)


if __name__ == "__main__":
    main()
