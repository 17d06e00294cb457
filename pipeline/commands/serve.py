"""`movie-ranking serve`: the pushed models over REST and gRPC."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import click

from modules.errors import UserError
from pipeline.commands.errors import check_address_space, usage_errors
from pipeline.commands.options import Checked, Path, options

_PORT: dict[str, Any] = {"type": click.IntRange(0, 65535), "show_default": True, "metavar": "PORT"}
_FILE: dict[str, Any] = {"type": Path(exists=True, dir_okay=False), "metavar": "FILE"}
# Limits by option: field of `pipeline.serving.limits.Limits`, its default there, and what it is; a test compares them.
LIMITS = {
    "--max-body-bytes": ("body_bytes", 4 << 20, "Largest body of a request, bytes."),
    "--max-depth": ("depth", 16, "How deep lists and objects of JSON may be nested."),
    "--max-values": ("values", 20_000, "How many values a request may hold, such as titles."),
    "--max-under-way": ("under_way", 128, "How many requests may be under way; more are refused."),
    "--max-seconds": ("seconds", 10.0, "Seconds within which a request is answered, or refused."),
    "--head-seconds": ("head_seconds", 10.0, "Seconds within which a request has to arrive once it has begun."),
    "--idle-seconds": ("idle_seconds", 75.0, "Seconds after which a connection is closed on which nothing is asked."),
    "--drain-seconds": ("drain_seconds", 30.0, "Seconds for what is under way when the server is told to stop."),
}


def _model_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", value):
        raise UserError(f"expected a name of letters, digits, dots, dashes and underscores; got {value!r}")
    return value


def _limit(option: str) -> Any:
    field, default, what = LIMITS[option]
    least = click.FloatRange(min=0, min_open=True) if isinstance(default, float) else click.IntRange(min=1)
    return click.option(option, field, type=least, default=default, show_default=True, help=what)


@click.command()
@click.option(
    "--output",
    type=Path(),
    default="output",
    show_default=True,
    metavar="FOLDER",
    help="Output folder of the run that pushed.",
)
@click.option(
    "--model-name",
    type=Checked(_model_name),
    default="movie_ranking",
    show_default=True,
    help="The name by which the model is asked.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for every one.")
@click.option("--rest-port", default=8501, help="Port of REST; 0 for any that is free.", **_PORT)
@click.option("--grpc-port", default=8500, help="Port of gRPC; 0 for any that is free.", **_PORT)
@click.option("--certificate", help="Certificate for TLS on both ports, PEM.", **_FILE)
@click.option("--key", help="Private key of the certificate, PEM.", **_FILE)
@click.option("--api-key-file", help="File with a key that every request has to bring.", **_FILE)
@click.option(
    "--access-log",
    type=Path(dir_okay=False),
    metavar="FILE",
    help="File to which a line of JSON for each request is added.  [default: standard error]",
)
@click.option(
    "--log-requests",
    type=Path(file_okay=False),
    metavar="FOLDER",
    help="Folder for a sample of the requests with their answers, which are personal data.  [default: none is kept]",
)
@click.option(
    "--log-share",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="The share of the requests that is kept there.",
)
@click.option(
    "--log-file-bytes",
    type=click.IntRange(min=1),
    default=8 << 20,
    show_default=True,
    help="Largest file there, bytes.",
)
@click.option(
    "--log-total-bytes",
    type=click.IntRange(min=1),
    default=1 << 30,
    show_default=True,
    help="All files there, bytes; the oldest are removed.",
)
@click.option(
    "--log-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    help="Seconds until a request is in a file there.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="How many requests are worked on at once.  [default: one a core, at least 2]",
)
@click.option(
    "--poll-seconds",
    type=click.FloatRange(min=0.05),
    default=1.0,
    show_default=True,
    help="How often to look for new versions and labels.",
)
@click.option("--no-users", is_flag=True, help="Leave out of the page what users rated and are recommended.")
@options(*map(_limit, LIMITS))
def serve(
    output: str,
    model_name: str,
    host: str,
    rest_port: int,
    grpc_port: int,
    certificate: str | None,
    key: str | None,
    api_key_file: str | None,
    access_log: str | None,
    log_requests: str | None,
    log_share: float,
    log_file_bytes: int,
    log_total_bytes: int,
    log_seconds: float,
    threads: int | None,
    poll_seconds: float,
    no_users: bool,
    **limits: Any,
) -> None:
    """Serve the pushed models over REST and gRPC, by the contract of TensorFlow Serving.

    A page for people is at the address of REST. The newest version answers, or the one that is labelled stable; new
    ones are taken into service as they are pushed. SIGTERM ends the server once what is under way is answered.
    """
    with usage_errors():
        check_address_space()
        if not os.path.isdir(output):
            raise UserError(f"expected the output folder of a run in --output; got {output}; run `movie-ranking run`")
        if bool(certificate) != bool(key):
            raise UserError("expected --certificate and --key together; got one of them; give both, or none")
    import asyncio
    import contextlib

    with usage_errors(), contextlib.ExitStack() as stack:
        from pipeline.serving.journal import Journal
        from pipeline.serving.keys import ApiKey

        api_key = ApiKey.read(api_key_file) if api_key_file else None
        events = Journal(sys.stderr)
        requests = events
        if access_log:
            try:
                file = stack.enter_context(open(access_log, "a", encoding="utf-8"))
            except OSError as error:
                raise UserError(f"expected a file in --access-log that can be written; got: {error}") from error
            requests = Journal(file)
        from pipeline.serving import fork_server

        # It imports TensorFlow beside this process.
        fork_server.start()
        from pipeline.serving import server
        from pipeline.serving.limits import Limits
        from pipeline.serving.request_log import RequestLog

        request_log = None
        if log_requests:
            request_log = stack.enter_context(
                contextlib.closing(
                    RequestLog(
                        log_requests,
                        log_share,
                        log_file_bytes,
                        log_seconds,
                        log_total_bytes,
                        tell=lambda line: events.write("request log", message=line),
                    )
                )
            )
        more = {} if threads is None else {"threads": threads}
        settings = server.Settings(
            output=output,
            name=model_name,
            host=host,
            rest_port=rest_port,
            grpc_port=grpc_port,
            certificate=certificate,
            key=key,
            api_key=api_key,
            limits=Limits(**limits),
            poll_seconds=poll_seconds,
            request_log=request_log,
            shows_users=not no_users,
            **more,
        )
        asyncio.run(server.serve(settings, events, requests))
