"""What people and their data are called is text in all that is printed, whatever Rich or a terminal reads into it."""

from __future__ import annotations

import io
import pathlib
import sys
from collections.abc import Iterator

import pytest
import tensorflow as tf
from click.testing import CliRunner

from pipeline import cli
from pipeline.cluster.resolve import show_parameters
from pipeline.commands import progress as progress_lines
from pipeline.commands.progress import reported
from pipeline.commands.rate import predict, rank
from pipeline.commands.run import run
from pipeline.exit_codes import ExitCode

NAMES = ["[v2]data", "a[/b]c", "[bold]x[/bold]", ":smile:"]
TITLES = ["[bold]x[/bold]", "[/x]", "[", ":smile: (1995)"]


class _Model(tf.Module):
    """Rates a title by the length of its name."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.string)])
    def predict(self, user_id: tf.Tensor, movie_title: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"predicted_rating": tf.cast(tf.strings.length(movie_title), tf.float32)[:, None]}

    @tf.function(input_signature=[tf.TensorSpec([1], tf.string), tf.TensorSpec([None], tf.string)])
    def rank(self, user_id: tf.Tensor, movie_title: tf.Tensor) -> dict[str, tf.Tensor]:
        rating = tf.cast(tf.strings.length(movie_title), tf.float32)
        order = tf.argsort(-rating, stable=True)
        return {"movie_title": tf.gather(movie_title, order), "predicted_rating": tf.gather(rating, order)}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The output folder of a run that has pushed a model."""
    folder = tmp_path_factory.mktemp("home") / "a[/b]c"
    pushed = folder / "serving_model" / "1"
    model = _Model()
    tf.saved_model.save(model, str(pushed), signatures={"predict": model.predict, "rank": model.rank})
    (pushed / "assets" / "movie_title").write_text("\n".join(TITLES) + "\n", encoding="utf-8")
    (pushed / "assets" / "user_id").write_text("[/7]\n", encoding="utf-8")
    return folder


def test_ranked_titles_are_text(output: pathlib.Path) -> None:
    done = CliRunner().invoke(rank, ["--user", "[/7]", "--output", str(output)])
    assert done.exit_code == 0, done.output
    best_first = sorted(TITLES, key=len, reverse=True)
    assert done.stdout.splitlines() == [
        f"{place:>3}  {len(title):.2f}  {title}" for place, title in enumerate(best_first, start=1)
    ]
    assert done.stderr == "note: this is the order of predicted stars; `movie-ranking recommend` picks titles\n"


def test_rated_titles_are_text(output: pathlib.Path) -> None:
    titles = [word for title in TITLES for word in ("--title", title)]
    done = CliRunner().invoke(predict, ["--user", "[/8]", *titles, "--output", str(output)])
    assert done.stdout.splitlines() == [f"{len(title):.2f}  {title}" for title in TITLES]
    assert done.stderr == "note: user '[/8]' is unknown to the model\n"


ESCAPING = ["\x1b[31mRed", "Bell\x07", "\u202eelpmaxe", "Non\xa0breaking", "Zero\u200djoined"]
SHOWN = [r"\x1b[31mRed", r"Bell\x07", r"\u202eelpmaxe", "Non\xa0breaking", "Zero\u200djoined"]


@pytest.fixture
def escaping(output: pathlib.Path) -> Iterator[None]:
    """The model of `output` with titles that a terminal would obey."""
    names = output / "serving_model" / "1" / "assets" / "movie_title"
    before = names.read_text("utf-8")
    names.write_text("\n".join(ESCAPING) + "\n", encoding="utf-8")
    yield
    names.write_text(before, encoding="utf-8")


@pytest.mark.usefixtures("escaping")
def test_a_terminal_obeys_no_title(output: pathlib.Path) -> None:
    done = CliRunner().invoke(rank, ["--user", "[/7]", "--output", str(output)])
    assert {line.split("  ")[-1] for line in done.stdout.splitlines()} == set(SHOWN)
    titles = [word for title in ESCAPING for word in ("--title", title)]
    done = CliRunner().invoke(predict, ["--user", "\x1b[31m8", *titles, "--output", str(output)])
    assert [line.split("  ")[-1] for line in done.stdout.splitlines()] == SHOWN
    assert "\x1b" not in done.stderr


def test_a_terminal_obeys_no_error(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--data", str(tmp_path / "\x1b[31mred")])
    shown = capsys.readouterr().err
    assert r"\x1b[31mred; found neither" in shown
    assert "\x1b" not in shown
    assert len(shown.splitlines()) > 1


def test_a_terminal_obeys_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress_lines, "_SECONDS_BETWEEN_LINES", 0.0)
    with reported() as progress:
        progress("reading \x1b[31mred", 1, 2, "rows")
    assert terminal.getvalue() == "reading \\x1b[31mred: 50 %\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_in_an_error_is_text(name: str, tmp_path: pathlib.Path) -> None:
    done = CliRunner().invoke(run, ["--data", str(tmp_path / name)])
    assert done.exit_code == ExitCode.BAD_INPUT
    assert f"in {tmp_path / name}; found neither" in done.output


@pytest.mark.parametrize("name", NAMES)
def test_progress_on_a_terminal_is_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with reported() as progress:
        progress(f"reading {name}", 1, 2, "rows")
    assert f"reading {name} " in terminal.getvalue()


def test_a_default_of_a_parameter_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("kfp", reason="the extra `kfp` is not installed")
    show_parameters({"data.root": "gs://b/:smile:"}, platform="vertex")
    assert "gs://b/:smile:" in capsys.readouterr().out
