"""`movie-ranking submit`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.errors import usage_errors
from pipeline.commands.options import Checked, Path, options
from pipeline.config import cloud_names
from pipeline.exit_codes import SUBMIT_MEANINGS, ExitCode, ServiceCode

if TYPE_CHECKING:
    from pipeline.cluster.compiled_job import CompiledJob
    from pipeline.cluster.kubeflow_runs import Runs, StartedRun
    from pipeline.cluster.vertex_jobs import Jobs, StartedJob

Result = ExitCode | ServiceCode | None
EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {int(code):>3}  {meaning}" for code, meaning in SUBMIT_MEANINGS.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of either service; see the options of the same names.

    Attributes:
      file: of the compiled job.
      values: of its parameters that this submission changes.
    """

    file: str
    parameters: tuple[str, ...]
    no_cache: bool
    cron: str | None
    schedule_name: str | None
    wait: bool
    timeout_s: float | None
    interval_s: float
    dry_run: bool
    cancelled: str | None

    def job(self) -> tuple[CompiledJob, dict[str, Any]]:
        """The compiled job, and the values of its parameters that this submission changes.

        Raises:
          UserError: there is none, or it cannot run with the values.
        """
        from pipeline.cluster import compiled_job
        from pipeline.config import submission_parameters

        job = compiled_job.CompiledJob.read(self.file)
        values = submission_parameters.parse(self.parameters)
        job.check(values)
        return job.without_cache() if self.no_cache else job, values


COMMON = options(
    click.argument("file", default="movie_ranking.json", type=Path(dir_okay=False)),
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


def submission(command: Callable[..., Jobs | Runs]) -> Callable[..., Result]:
    """Makes a command with the options of both services of one that names the service; its own are keyword arguments.

    The latter is told whether to contact nothing, by `dry_run`.
    """

    @COMMON
    @functools.wraps(command)
    def submit_to(**given: Any) -> Result:
        order = Order(**{field.name: given.pop(field.name) for field in dataclasses.fields(Order)})
        with _service_errors():
            return _carry_out(order, command(dry_run=order.dry_run, **given))

    return submit_to


@click.group(epilog=EPILOG)
def submit() -> None:
    """Start, schedule or cancel the compiled pipeline on a cluster.

    FILE is what `movie-ranking compile` wrote. Credentials are Application Default Credentials; none is ever written or
    logged.
    """


@submit.command(epilog=EPILOG)
@submission
@click.option(
    "--project",
    envvar="GOOGLE_CLOUD_PROJECT",
    type=Checked(cloud_names.PROJECT.check),
    required=True,
    show_envvar=True,
    help="Google Cloud project.",
)
@click.option(
    "--region",
    envvar="GOOGLE_CLOUD_REGION",
    type=Checked(cloud_names.REGION.check),
    required=True,
    show_envvar=True,
    help="Such as europe-west4.",
)
@click.option("--service-account", help="Account that tasks run as.  [default: the compiled one]")
@click.option("--network", help="VPC network to peer with.  [default: the compiled one]")
@click.option("--encryption-key", help="Cloud KMS key (CMEK).  [default: the compiled one]")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of the job; may be repeated.")
@click.option("--job-id", help="Id of the job.  [default: name and time]")
@click.option("--max-runs", type=click.IntRange(min=1), help="With --schedule: how often at most.")
@click.option("--endpoint", metavar="HOST", help="Host of the API where it is not the region's own.")
def vertex(labels: tuple[str, ...], dry_run: bool, **place: Any) -> Jobs:
    """Run the compiled pipeline on Vertex AI."""
    from pipeline.cluster.vertex_jobs import Jobs
    from pipeline.config import assignments

    return Jobs(labels=assignments.split(labels, example="team=films"), anonymous=dry_run, **place)


@submit.command(epilog=EPILOG)
@submission
@click.option(
    "--host", envvar="KF_PIPELINES_ENDPOINT", required=True, show_envvar=True, help="URL of Kubeflow Pipelines."
)
@click.option("--namespace", help="Namespace of a multi-user installation.")
@click.option("--experiment", help="Experiment that the run belongs to.  [default: the pipeline's name]")
@click.option("--service-account", help="Kubernetes service account that tasks run as.")
def kubeflow(dry_run: bool, **place: Any) -> Runs:
    """Run the compiled pipeline on open-source Kubeflow Pipelines.

    Compile it with `--target kubeflow`: there are no resolvers there, so a model is judged by the RMSE bound and the
    baseline alone.
    """
    del dry_run  # It connects when it first has to.
    from pipeline.cluster.kubeflow_runs import Runs

    return Runs(**place)


def _carry_out(order: Order, service: Jobs | Runs) -> Result:
    """Cancels, shows, schedules or starts, as the order says."""
    if order.cancelled:
        click.echo(f"asked to cancel {service.cancel(order.cancelled)}")
        return None
    job, values = order.job()
    service.check(job)
    if order.dry_run:
        click.echo(service.request_text(job, values))
        return None
    if order.cron:
        name = order.schedule_name or job.name
        click.echo(f"scheduled {service.schedule(job, values, cron=order.cron, name=name)}")
        return None
    started = service.start(job, values)
    click.echo(f"submitted {started.name}\n{started.url}")
    return _follow(started, order) if order.wait else None


def _follow(started: StartedJob | StartedRun, order: Order) -> ExitCode | ServiceCode:
    """Prints changes of tasks to the end, then the verdict."""
    began = time.monotonic()
    shown: dict[str, str] = {}
    try:
        while True:
            states, ended = started.states()
            for task, state in states.items():
                if shown.get(task) != state:
                    click.echo(f"{task:<38} {state.lower()}")
            shown |= states
            if ended:
                break
            if order.timeout_s is not None and time.monotonic() - began + order.interval_s > order.timeout_s:
                click.echo("--timeout passed; the job goes on", err=True)
                return ServiceCode.TIMED_OUT
            time.sleep(order.interval_s)
    except KeyboardInterrupt:
        click.echo("interrupted; the job goes on", err=True)
        return ExitCode.INTERRUPTED
    code, reasons = started.verdict()
    click.echo("\n".join((SUBMIT_MEANINGS[code].removeprefix("with --wait: ").split("; with --wait, ")[-1], *reasons)))
    return code


@contextlib.contextmanager
def _service_errors() -> Iterator[None]:
    """Turns what a service or a user did wrong into one line and an exit code."""
    from pipeline.cluster.service_errors import ServiceError

    try:
        with usage_errors():
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
