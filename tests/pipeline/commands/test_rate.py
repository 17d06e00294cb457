"""What `predict` and `rank` take: users, titles, and files of titles."""

from __future__ import annotations

import pathlib

import pytest
import tensorflow as tf
from click.testing import CliRunner, Result

from pipeline.commands.rate import predict, rank
from pipeline.exit_codes import ExitCode
from tests.pipeline.commands import test_markup

# The model of these rates a title by the length of its name.
output = test_markup.output


def ranked(file: pathlib.Path | str, output: pathlib.Path, user: str = "7", **more: object) -> Result:
    return CliRunner().invoke(rank, ["--user", user, "--titles", str(file), "--output", str(output)], **more)


def titles_of(done: Result) -> list[str]:
    assert done.exit_code == 0, done.output
    return [line.split("  ")[-1] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "content",
    [
        "Alien\nAmélie\nHeat\n".encode(),
        b"\xef\xbb\xbfAlien\nAm\xc3\xa9lie\nHeat",
        b"\r\nAlien \r\n\tAm\xc3\xa9lie\r\n  \r\nHeat",
        b"Alien\rAm\xc3\xa9lie\rHeat\r",
        b"Alien\nAme\xcc\x81lie\nHeat\n",
    ],
    ids=["plain", "mark", "windows", "old Macs", "combining accent"],
)
def test_titles_are_read_one_a_line(tmp_path: pathlib.Path, output: pathlib.Path, content: bytes) -> None:
    file = tmp_path / "titles.txt"
    file.write_bytes(content)
    assert titles_of(ranked(file, output)) == ["Amélie", "Alien", "Heat"]
    assert titles_of(ranked("-", output, input=content)) == ["Amélie", "Alien", "Heat"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Alien\nCaf\xe9\n", "expected titles in UTF-8; got 0xe9 at line 2, byte 4, of {file}; save it as UTF-8"),
        ("Alien\n".encode("utf-16"), "expected titles in UTF-8; got UTF-16 in {file}, by its first bytes; save it as"),
        ("Alien\n".encode("utf-16-le"), "expected titles in UTF-8; got a NUL byte at line 1 of {file}; save it as"),
        (b"", "expected titles in {file}, one a line; got none; leave out --titles"),
        (b"\xef\xbb\xbf\n \n", "expected titles in {file}, one a line; got none; leave out --titles"),
    ],
)
def test_what_holds_no_titles_is_refused_with_its_place(tmp_path, output, content: bytes, said: str) -> None:
    file = tmp_path / "titles.txt"
    file.write_bytes(content)
    done = ranked(file, output)
    assert done.exit_code == ExitCode.BAD_INPUT
    assert said.format(file=file) in done.stderr


@pytest.mark.parametrize(("name", "said"), [("", "is a directory"), ("none", "does not exist")])
def test_what_is_no_file_of_titles_is_refused(tmp_path: pathlib.Path, output: pathlib.Path, name: str, said) -> None:
    done = ranked(tmp_path / name, output)
    assert (done.exit_code, said in done.stderr) == (ExitCode.BAD_INPUT, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected an id or a title; got '', which is blank"),
        (" \n", "expected an id or a title; got ' \\n', which is blank"),
        ("caf\udce9", "expected text in UTF-8; got b'caf\\xe9'"),
    ],
)
def test_ids_and_titles_are_text(output: pathlib.Path, text: str, said: str) -> None:
    for arguments in (["--user", text, "--title", "Alien"], ["--user", "7", "--title", text]):
        done = CliRunner().invoke(predict, [*arguments, "--output", str(output)])
        assert (done.exit_code, said in done.stderr) == (ExitCode.BAD_INPUT, True), done.stderr


def test_ids_and_titles_are_looked_up_as_models_spell_them(output: pathlib.Path) -> None:
    done = CliRunner().invoke(predict, ["--user", " [/7]", "--title", "[bold]x[/bold] ", "--output", str(output)])
    assert (done.stdout, done.stderr) == ("14.00  [bold]x[/bold]\n", "")


class _SureModel(tf.Module):
    """Rates every title three stars, and is the surer, the longer its name."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name) for name in ("user_id", "movie_title")])
    def predict(self, user_id: tf.Tensor, movie_title: tf.Tensor) -> dict[str, tf.Tensor]:
        deviation = 1.0 / tf.cast(tf.strings.length(movie_title), tf.float32)[:, None]
        return {"predicted_rating": tf.fill(tf.shape(deviation), 3.0), "rating_stddev": deviation}

    @tf.function(
        input_signature=[tf.TensorSpec([1], tf.string, name="user_id"), tf.TensorSpec([None], tf.string, "movie_title")]
    )
    def rank(self, user_id: tf.Tensor, movie_title: tf.Tensor) -> dict[str, tf.Tensor]:
        rated = self.predict(tf.repeat(user_id, tf.size(movie_title)), movie_title)
        return {"movie_title": movie_title, **{name: value[:, 0] for name, value in rated.items()}}


def test_a_model_that_tells_how_sure_it_is_is_quoted(tmp_path: pathlib.Path) -> None:
    model, pushed = _SureModel(), tmp_path / "serving_model" / "1"
    tf.saved_model.save(model, str(pushed), signatures={"predict": model.predict, "rank": model.rank})
    for column in ("movie_title", "user_id"):
        (pushed / "assets" / column).write_text("Heat\nM\n7\n")
    place = ["--output", str(tmp_path)]
    rated = CliRunner().invoke(predict, ["--user", "7", "--title", "Heat", "--title", "M", *place])
    assert rated.stdout.splitlines() == ["3.00 ± 0.25  Heat", "3.00 ± 1.00  M"], rated.output
    (tmp_path / "titles.txt").write_text("M\nHeat\n")
    best = CliRunner().invoke(rank, ["--user", "7", "--titles", str(tmp_path / "titles.txt"), *place])
    assert best.stdout.splitlines() == ["  1  3.00 ± 1.00  M", "  2  3.00 ± 0.25  Heat"], best.output


def test_titles_are_found_without_their_exact_spelling(tmp_path: pathlib.Path) -> None:
    model, pushed = _SureModel(), tmp_path / "serving_model" / "1"
    tf.saved_model.save(model, str(pushed), signatures={"predict": model.predict})
    (pushed / "assets" / "user_id").write_text("7\n")
    (pushed / "assets" / "movie_title").write_text("12 Angry Men (1957)\nSabrina (1954)\nSabrina (1995)\n")

    def predicted(*titles: str) -> Result:
        named = [word for title in titles for word in ("--title", title)]
        return CliRunner().invoke(predict, ["--user", "7", *named, "--output", str(tmp_path)])

    done = predicted("12 angry men", "12 angry woman", "Alien")
    assert [line.split("  ")[1] for line in done.stdout.splitlines()] == [
        "12 Angry Men (1957)",
        "12 angry woman",
        "Alien",
    ]
    assert done.stderr.splitlines() == [
        "note: title '12 angry woman' is unknown to the model; is it '12 Angry Men (1957)'?",
        "note: title 'Alien' is unknown to the model",
    ]
    several = predicted("sabrina")
    assert several.exit_code == ExitCode.BAD_INPUT
    assert "which could be 'Sabrina (1954)', 'Sabrina (1995)'; give the whole title" in several.stderr


def test_a_file_in_place_of_the_output_folder_holds_no_model(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        done = CliRunner().invoke(rank, ["--user", "7", "--output", str(tmp_path / place)])
        assert done.exit_code == ExitCode.BAD_INPUT
        assert f"expected a pushed model under {tmp_path / place}" in done.stderr


def test_a_tilde_is_the_home_folder(tmp_path: pathlib.Path, output: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(output.parent))
    (output.parent / "titles.txt").write_text("Alien\n")
    assert titles_of(ranked("~/titles.txt", pathlib.Path("~", output.name))) == ["Alien"]
