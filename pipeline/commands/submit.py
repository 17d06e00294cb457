"""`movie-ranking submit`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from pipeline.exit_codes import SUBMIT_MEANINGS, ExitCode, ServiceCode

if TYPE_CHECKING:
    from pipeline.cluster.compiled_job import CompiledJob

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {int(code):>3}  {meaning}" for code, meaning in SUBMIT_MEANINGS.items())
DEFAULT_FILE = "movie_ranking.json"


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that both services have."""
    options = (
        click.argument("file", default=DEFAULT_FILE, type=click.Path(dir_okay=False)),
        click.option(
            "--parameter", "parameters", multiple=True, metavar="NAME=VALUE",
            help="What this submission changes; may be repeated. `compile --list-parameters` names them.",
        ),
        click.option("--no-cache", is_flag=True, help="Run every task, whether or not anything changed."),
        click.option("--schedule", "cron", metavar="CRON", help="Submit again and again, by this cron expression."),
        click.option("--schedule-name", help="Name of the schedule.  [default: the pipeline's]"),
        click.option("--wait", is_flag=True, help="Show tasks as they go, and end as a local run would."),
        click.option("--timeout", "timeout_s", type=click.FloatRange(min=0), help="Seconds to wait at most."),
        click.option("--poll", "interval_s", type=click.FloatRange(min=0), default=20.0, show_default=True,
                     help="Seconds between two looks at the job."),
        click.option("--dry-run", is_flag=True, help="Print the request; contact nothing."),
        click.option("--cancel", "cancelled", metavar="ID", help="Cancel this job instead."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group(epilog=EPILOG)
def submit() -> None:
    """Start, schedule or cancel the compiled pipeline on a cluster.

    FILE is what `movie-ranking compile` wrote. Credentials are Application Default Credentials; none is ever written or
    logged.
    """


@submit.command(epilog=EPILOG)
@_common
@click.option("--project", envvar="GOOGLE_CLOUD_PROJECT", required=True, show_envvar=True, help="Google Cloud project.")
@click.option("--region", envvar="GOOGLE_CLOUD_REGION", required=True, show_envvar=True, help="Such as europe-west4.")
@click.option("--service-account", help="Account that tasks run as.  [default: the compiled one]")
@click.option("--network", help="VPC network to peer with.  [default: the compiled one]")
@click.option("--encryption-key", help="Cloud KMS key (CMEK).  [default: the compiled one]")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of the job; may be repeated.")
@click.option("--job-id", help="Id of the job.  [default: name and time]")
@click.option("--max-runs", type=click.IntRange(min=1), help="With --schedule: how often at most.")
@click.option("--endpoint", metavar="HOST", help="Host of the API where it is not the region's own.")
def vertex(
    file: str,
    parameters: tuple[str, ...],
    no_cache: bool,
    cron: str | None,
    schedule_name: str | None,
    wait: bool,
    timeout_s: float | None,
    interval_s: float,
    dry_run: bool,
    cancelled: str | None,
    project: str,
    region: str,
    service_account: str | None,
    network: str | None,
    encryption_key: str | None,
    labels: tuple[str, ...],
    job_id: str | None,
    max_runs: int | None,
    endpoint: str | None,
) -> ExitCode | ServiceCode | None:
    """Run the compiled pipeline on Vertex AI."""
    with _told():
        from google.auth.credentials import AnonymousCredentials

        from pipeline.cluster import vertex_jobs

        place = vertex_jobs.Place(project=project, region=region, endpoint=endpoint)
        place.connect(AnonymousCredentials() if dry_run else None)
        if cancelled:
            click.echo(f"asked to cancel {vertex_jobs.cancel(cancelled).resource_name}")
            return None
        job, values = _read(file, parameters)
        with _rewritten(job, no_cache) as kept:
            submission = vertex_jobs.Submission(
                job=kept,
                parameters=values,
                labels=_pairs(labels),
                service_account=service_account,
                network=network,
                encryption_key=encryption_key,
                job_id=job_id,
            )
            if dry_run:
                click.echo(vertex_jobs.request_text(submission))
                return None
            if cron:
                made = vertex_jobs.schedule(submission, cron=cron, name=schedule_name or job.name, max_runs=max_runs)
                click.echo(f"scheduled {made.resource_name}")
                return None
            started = vertex_jobs.submit(submission)
        click.echo(f"submitted {started.resource_name}\n{vertex_jobs.console_url(started)}")
        if not wait:
            return None
        changes = ((change.task, change.state) for change in vertex_jobs.watch(
            started, interval_s=interval_s, timeout_s=timeout_s
        ))  # fmt: skip
        return _follow(changes, lambda: vertex_jobs.verdict(started))


@submit.command(epilog=EPILOG)
@_common
@click.option(
    "--host", envvar="KF_PIPELINES_ENDPOINT", required=True, show_envvar=True, help="URL of Kubeflow Pipelines."
)
@click.option("--namespace", help="Namespace of a multi-user installation.")
@click.option("--experiment", help="Experiment that the run belongs to.  [default: the pipeline's name]")
@click.option("--service-account", help="Kubernetes service account that tasks run as.")
def kubeflow(
    file: str,
    parameters: tuple[str, ...],
    no_cache: bool,
    cron: str | None,
    schedule_name: str | None,
    wait: bool,
    timeout_s: float | None,
    interval_s: float,
    dry_run: bool,
    cancelled: str | None,
    host: str,
    namespace: str | None,
    experiment: str | None,
    service_account: str | None,
) -> ExitCode | ServiceCode | None:
    """Run the compiled pipeline on open-source Kubeflow Pipelines.

    Compile it with `--target kubeflow`: there are no resolvers there, so a model is judged by the RMSE bound alone.
    """
    with _told():
        from pipeline.cluster import kubeflow_runs

        if cancelled:
            kubeflow_runs.Runs(host, namespace).cancel(cancelled)
            click.echo(f"asked to cancel {cancelled}")
            return None
        job, values = _read(file, parameters)
        if job.has_resolver or job.schema != "2.1.0":
            raise ValueError(f"{file} was not compiled for Kubeflow; compile it with --target kubeflow")
        if no_cache:
            job = job.without_cache()
        experiment = experiment or job.name
        if dry_run:
            click.echo(kubeflow_runs.request_text(job, values, experiment, namespace))
            return None
        runs = kubeflow_runs.Runs(host, namespace)
        if cron:
            name = schedule_name or job.name
            click.echo(f"scheduled {runs.repeat(job, values, experiment, cron=cron, name=name)}")
            return None
        run_id = runs.start(job, values, experiment, service_account)
        click.echo(f"submitted {run_id}\n{runs.url(run_id)}")
        if not wait:
            return None
        changes = runs.watch(run_id, interval_s=interval_s, timeout_s=timeout_s)
        return _follow(changes, lambda: runs.verdict(run_id))


def _follow(
    changes: Iterable[tuple[str, str]], verdict: Callable[[], tuple[ExitCode | ServiceCode, list[str]]]
) -> ExitCode | ServiceCode:
    """Prints changes of tasks to the end, then the verdict."""
    try:
        for task, state in changes:
            click.echo(f"{task:<38} {state.lower()}")
    except TimeoutError:
        click.echo("--timeout passed; the job goes on", err=True)
        return ServiceCode.TIMED_OUT
    except KeyboardInterrupt:
        click.echo("interrupted; the job goes on", err=True)
        return ExitCode.INTERRUPTED
    code, reasons = verdict()
    click.echo("\n".join((SUBMIT_MEANINGS[code].removeprefix("with --wait: ").split("; with --wait, ")[-1], *reasons)))
    return code


def _read(file: str, assignments: tuple[str, ...]) -> tuple[CompiledJob, dict[str, Any]]:
    from pipeline.cluster import compiled_job
    from pipeline.config import submission_parameters

    job = compiled_job.CompiledJob.read(file)
    values = submission_parameters.parse(assignments)
    job.check(values)
    return job, values


@contextlib.contextmanager
def _rewritten(job: CompiledJob, no_cache: bool) -> Iterator[CompiledJob]:
    """The job as a file without caching, if so asked; Google's client reads jobs from files only."""
    import dataclasses
    import json
    import os
    import tempfile

    if not no_cache:
        yield job
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, DEFAULT_FILE)
        changed = job.without_cache()
        with open(path, "w", encoding="utf-8") as file:
            json.dump(changed.content, file)
        yield dataclasses.replace(changed, path=path)


def _pairs(assignments: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator or not key:
            raise ValueError(f"expected KEY=VALUE, such as team=films; got {assignment!r}")
        pairs[key] = value
    return pairs


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns what a service or a user did wrong into one line and an exit code."""
    from pipeline.cluster.service_errors import ServiceError

    try:
        yield
    except ServiceError as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(int(error.exit_code)) from error
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("kfp", "kfp_server_api", "google"):
            raise
        raise click.UsageError(
            f"{error.name} is not installed; install it with `pip install 'movie-ranking[kfp,vertex]'`"
        ) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
