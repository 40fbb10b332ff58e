"""The verb that opens the web app: serve."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from moodreel.cli.console import complain, complete_bundles, needs_extra, stop


def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to bind to; any but this machine needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="Port; 0 takes any that is free.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What clients must show; default: $MOODREEL_TOKEN. 'new' makes one."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A name the server is reached by; may repeat."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|BUNDLE",
            help="Models to serve; default: all that ship. May repeat.",
            autocompletion=complete_bundles,
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Result table of the library, as predict --out writes it."),
    ] = None,
    media: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the table's clips, and nothing else; default: the table's."
        ),
    ] = None,
    votes: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL", help="Collect votes: a file for SQLite, or a SQLAlchemy URL."),
    ] = None,
    emotion: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of --votes: what is asked; default: all 17. May repeat."),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            metavar="N", help="Threads that read clips; with two or more one is kept for short ones."
        ),
    ] = 2,
    max_mb: Annotated[
        int, typer.Option("--max-mb", metavar="N", help="Size of an uploaded file, in MiB.")
    ] = 64,
    seconds: Annotated[
        float, typer.Option(metavar="S", help="Time that a model may take over one clip.")
    ] = 600.0,
    rate: Annotated[
        int, typer.Option(metavar="N", help="Requests a minute of one client that cost work; 0: no bound.")
    ] = 3000,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Open the web app: look at clips, search a library, vote, and an API. Ctrl-C ends."""
    with needs_extra("web", "moodreel serve", ("fastapi", "uvicorn", "python_multipart", "starlette")):
        from moodreel.web.app import create_app
        from moodreel.web.serve import list_models, serve_app
        from moodreel.web.settings import MIB, WebSettings
    import secrets

    from moodreel.emotions import GIFGIF_17

    if token is None:
        token = os.environ.get("MOODREEL_TOKEN") or None
    elif token == "new":
        token = secrets.token_urlsafe(24)
    if max_mb < 1:
        stop(f"--max-mb {max_mb}: expected at least 1")
    settings = WebSettings(
        host=host,
        port=port,
        token=token,
        allowed_hosts=tuple(allow_host or ()),
        table=table,
        media=media,
        votes=votes,
        emotions=tuple(emotion or GIFGIF_17),
        workers=workers,
        file_bytes=max_mb * MIB,
        seconds=seconds,
        rate=rate,
    )
    models = list_models(model or [], workers)
    for name, served in models.items():
        if served.problem is not None:
            complain(f"{name} is not served: {served.problem}")
    serve_app(lambda settings: create_app(settings, models), settings, complain, browser)
