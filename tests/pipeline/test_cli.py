"""The command line: help, errors and exit codes, in this process."""

from __future__ import annotations

import errno
import os
import pathlib
import shlex
import subprocess
import sys

import pytest

from data import synthetic
from pipeline import cli, local_runner
from pipeline.commands import doctor
from pipeline.exit_codes import MEANINGS, ExitCode

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        cli.main(list(arguments))
    return int(done.value.code or 0)


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ratings")
    synthetic.write(folder, rows=200, users=20, titles=30, seed=0)
    return folder


@pytest.mark.parametrize("command", [(), *((name,) for name in cli.COMMANDS)], ids=lambda command: " ".join(command))
def test_every_command_explains_itself(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*command, "--help") == 0
    assert "Usage: movie-ranking" in capsys.readouterr().out


def test_summaries_are_there_for_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    call("--help")
    shown = capsys.readouterr().out
    assert all(summary in shown for _, _, summary in cli.COMMANDS.values())


def test_exit_codes_are_documented_where_they_arise(capsys: pytest.CaptureFixture[str]) -> None:
    call("run", "--help")
    shown = " ".join(capsys.readouterr().out.split())
    for code, meaning in MEANINGS.items():
        assert f"{int(code)} {meaning}" in shown
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "best"], "Invalid value for '--preset'"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (["--rmse-bound", "0"], "Invalid value for '--rmse-bound'"),
        (["--set", "epochs"], "expected KEY=VALUE"),
        (["--set", "trainer.speed=9"], "trainer.speed: Extra inputs are not permitted"),
        (["--preset", "notebook", "--set", "trainer.model.epochs=0"], "epochs"),
        (["--set", "trainer.seed=[1"], "expected YAML in trainer.seed=[1; "),
        (["--set", "data=5"], "expected a folder in --data or data.root, such as `data: {root: FOLDER}`; got data: 5"),
        (["--set", "data=null"], "got data: None"),
        (["--set", "data.root=5"], "'root': 5}"),
        (["--data", ""], "Invalid value for '--data': expected a path; got an empty text"),
        (["--set", "data.root="], "'root': None}"),
        (["--set", "data.root=''"], "'root': ''}"),
        (["--data", "/nowhere"], "expected ratings.csv"),
        (["--data", "az://bucket"], "or in gs://, s3://, hdfs://; got az://bucket"),
        (["--output", "gs://bucket/output"], "expected a folder on this machine for output"),
        (["--beam", "prism"], "Invalid value for '--beam'"),
        (["--beam", "flink"], "run `movie-ranking beam fetch flink`"),
        (["--beam-arg", "workers=2"], "beam: expected arguments such as --NAME=VALUE"),
        (["--set", "beam.parallelism=2"], "parallelism (of flink)"),
        (["--config", "/nowhere"], "does not exist"),
        (["--from", "Trainer", "--to", "Transform"], "--from Trainer comes after --to Transform"),
    ],
)
def test_bad_input_is_named_and_exits_with_2(
    ratings, tmp_path, monkeypatch, capsys, arguments: list[str], said: str
) -> None:
    # Where no engine was fetched.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = [] if "--data" in arguments else ["--data", str(ratings)]
    assert call("run", *base, "--output", str(tmp_path), *arguments) == ExitCode.BAD_INPUT
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


OUTSIDE = ["--pipeline-root", "gs://bucket/run", "--data", "gs://bucket/ratings", "--image", "image"]
VERTEX = ["--project", "films", "--region", "europe-west4", "--dry-run"]


@pytest.mark.parametrize("below", ["", "/below"])
@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["run", "--data", "ratings"], "--output"),
        (["run", "--data", "ratings"], "--set=artifacts"),
        (["tune", "--data", "ratings"], "--output"),
        (["benchmark", "accuracy"], "--output"),
        (["benchmark", "scoring"], "--output"),
    ],
    ids=" ".join,
)
def test_a_file_in_place_of_a_folder_to_write_is_refused(
    ratings, tmp_path, monkeypatch, capsys, arguments, option, below
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratings").symlink_to(ratings)
    (tmp_path / "file").write_text("")
    place = f"{tmp_path}/file{below}"
    assert call(*arguments, f"{option}={place}") == ExitCode.BAD_INPUT
    shown = capsys.readouterr().err
    refused = f"{place}: {'Not a directory' if below else 'it is a file'}; give another"
    assert refused in shown or f"Directory '{place}' is a file" in shown


@pytest.mark.parametrize("command", ["run", "tune"])
def test_a_folder_that_cannot_be_made_is_refused(ratings, capsys, command: str) -> None:
    assert call(command, "--data", str(ratings), "--output", "/proc/output") == ExitCode.BAD_INPUT
    assert "in --output that can be made and written; got /proc/output: No such file" in capsys.readouterr().err


def test_a_search_writes_on_this_machine(ratings, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("tune", "--data", str(ratings), "--output", "gs://bucket/tuning") == ExitCode.BAD_INPUT
    assert "expected a folder on this machine in --output; got gs://bucket/tuning" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("folder", "File '{0}/folder' is a directory"),
        ("file/job.json", "got {0}/file: it is a file"),
        ("/proc/x", "/proc"),
    ],
)
def test_a_job_that_cannot_be_written_is_refused(tmp_path, monkeypatch, capsys, output: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    assert call("compile", *OUTSIDE, "--output", str(tmp_path / output)) == ExitCode.BAD_INPUT
    assert said.format(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is none; run `movie-ranking compile`"),
        (b"Caf\xe9", "it cannot be read: 'utf-8' codec"),
        (b"{", "it cannot be read: "),
        (b"[1]", "expected pipelineSpec and runtimeConfig of a compiled job"),
        (b'{"pipelineSpec": 1, "runtimeConfig": 2}', "expected pipelineSpec and runtimeConfig of a compiled job"),
        (b'{"pipelineSpec": {}, "runtimeConfig": {}}', "expected pipelineSpec and runtimeConfig of a compiled job"),
    ],
)
def test_what_is_no_compiled_job_is_refused(tmp_path, capsys, content: bytes | None, said: str) -> None:
    pytest.importorskip("google.cloud.aiplatform", reason="the extra `vertex` is not installed")
    file = tmp_path / "job.json"
    if content is not None:
        file.write_bytes(content)
    assert call("submit", "vertex", str(file), *VERTEX) == ExitCode.BAD_INPUT
    shown = capsys.readouterr().err
    assert said in shown
    assert str(file) in shown


@pytest.mark.parametrize("variable", ["data: ratings\n", "trainer:\n\tseed: 7\n", None])
def test_the_file_that_the_environment_names_is_judged_alike(
    tmp_path, monkeypatch, capsys, variable: str | None
) -> None:
    file = tmp_path / "config.yaml"
    if variable:
        file.write_text(variable)
    monkeypatch.setenv(local_runner.CONFIG_VARIABLE, str(file))
    with pytest.raises(SystemExit) as done:
        local_runner.main()
    assert done.value.code == ExitCode.BAD_INPUT
    assert "Error: expected " in capsys.readouterr().err


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("fly") == ExitCode.BAD_INPUT
    assert "No such command 'fly'" in capsys.readouterr().err


def test_fields_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "--list-fields", "--preset", "notebook") == 0
    shown = capsys.readouterr().out
    assert "evaluator.rmse_bound" in shown
    assert "trainer.model.epochs" in shown


@pytest.mark.parametrize("command", [["predict", "--title", "A"], ["rank"]])
def test_without_a_pushed_model_there_is_nothing_to_ask(tmp_path, capsys, command: list[str]) -> None:
    assert call(*command, "--user", "1", "--output", str(tmp_path)) == ExitCode.BAD_INPUT
    assert "run `movie-ranking run` first" in capsys.readouterr().err


def test_no_candidates_are_refused(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "titles.txt"
    empty.write_text("\n\n")
    assert call("rank", "--user", "1", "--titles", str(empty), "--output", str(tmp_path)) == ExitCode.BAD_INPUT
    assert "expected titles" in capsys.readouterr().err


def test_the_doctor_finds_this_environment_healthy(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("doctor", "--output", str(tmp_path)) == 0
    shown = capsys.readouterr().out
    for name in ("python", "glibc", "tfx", "tensorflow", "apache-beam", "compiler", "headers", "disk", "data"):
        assert f"ok   {name}" in shown


def test_the_doctor_names_what_is_wrong(tmp_path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED_GIB", 10**9)
    monkeypatch.setattr(doctor, "SHOWN", ("no-such-distribution",))
    assert call("doctor", "--output", str(tmp_path / "not" / "there")) == 1
    shown = capsys.readouterr().out
    assert "BAD  disk" in shown
    assert "missing; run `make setup`" in shown


def test_an_interrupt_says_that_it_resumes(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.cli, "main", interrupted)
    assert call("run") == ExitCode.INTERRUPTED
    assert "resumes" in capsys.readouterr().err


def run_alone(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own, its output sent where a shell's redirection says."""
    code = "import movie_ranking_main; movie_ranking_main.main()"
    command = shlex.join([sys.executable, "-c", code, *arguments])
    return subprocess.run(["bash", "-c", f"{command} {redirection}"], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_an_output_that_is_full_is_a_line_and_no_trace() -> None:
    done = run_alone(">/dev/full", "--help")
    assert done.returncode == ExitCode.FAILED
    assert done.stderr == (
        "Error: expected to write; got: [Errno 28] No space left on device; make room, or write elsewhere\n"
    )


def test_an_output_that_nobody_reads_is_no_trace() -> None:
    done = run_alone("| true", "--help")
    assert done.stderr == ""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_is_no_longer_read_is_no_trace(stream: str) -> None:
    code = (
        "import sys\nfrom pipeline import cli\n"
        f"def tell():\n    while True: print('a' * 99_999, file=sys.{stream})\n"
        "cli.guarded(tell)"
    )
    reader, writer = os.pipe()
    os.close(reader)
    others = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: writer}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60, **others)
    os.close(writer)
    assert done.returncode == ExitCode.FAILED
    assert not done.stdout
    assert not done.stderr


def test_another_pipe_that_is_no_longer_read_is_a_bug() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        cli.guarded(lambda: os.write(writer, b"a"))
    os.close(writer)


def test_an_output_that_is_closed_costs_the_output_alone(ratings, tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.csv").write_bytes((ratings / "ratings.csv").read_bytes())
    done = run_alone(">&-", "data", "prepare", str(tmp_path / "a.csv"), "--destination", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "ratings.json").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "Error: expected more memory; got no more; give more, as by `ulimit -v`, or fewer ratings\n"),
        (
            OSError(errno.EROFS, "Read-only file system", "/x\x1b"),
            "Error: expected to write; got: [Errno 30] Read-only file system: '/x\\x1b'; make room, or write "
            "elsewhere\n",
        ),
    ],
    ids=["memory", "disk"],
)
def test_what_the_machine_lacks_is_a_line(capsys, error: Exception, said: str) -> None:
    def lack() -> None:
        raise error

    with pytest.raises(SystemExit) as done:
        cli.guarded(lack)
    assert done.value.code == ExitCode.FAILED
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("bug", [ValueError("no shape"), OSError(errno.EIO, "Input/output error")], ids=repr)
def test_a_bug_keeps_its_trace(bug: Exception) -> None:
    def fail() -> None:
        raise bug

    with pytest.raises(type(bug)) as raised:
        cli.guarded(fail)
    assert raised.value is bug
