"""What people write into `--config` files and behind `--set`: read, or refused with its place."""

from __future__ import annotations

import os
import pathlib

import pytest

from data import synthetic
from pipeline.config import pipeline_config as configuration
from pipeline.config import resolve


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"trainer:\n\tseed: 7\n",
            "{file}; got at line 2, column 1: while scanning for the next token, found character '\\t' that cannot "
            "start any token; indent with blanks, not with tabs",
        ),
        (
            b'name: a\noutput: "C:\\Users\\me"\n',
            "{file}; got at line 2, column 14: while scanning a double-quoted scalar, expected escape sequence of 8 "
            "hexadecimal numbers, but found 's'; put it between single quotes, where a backslash is a backslash",
        ),
        (b"trainer: {seed: 1", "{file}; got at line 1, column 18: while parsing a flow mapping, expected ',' or '}}'"),
        (b"name: *other\n", "{file}; got at line 1, column 7: found undefined alias 'other'"),
        (b"? [a]\n: b\n", "{file}; got at line 1, column 3: while constructing a mapping, found unhashable key"),
        (b"a: 1\n---\nb: 2\n", "{file}; got at line 2, column 1: expected a single document in the stream"),
        (b"name: !!python/object:os.path {}\n", "{file}; got at line 1, column 7: could not determine a constructor"),
        (b"a: 1\noutput: Caf\xe9\n", "{file}, which is text in UTF-8; got at line 2: invalid continuation byte; save"),
        ("a: é\nb: \x07\n".encode(), "{file}, which is text in UTF-8; got at line 2: special characters are not"),
        (b"\x00\x01\x02", "{file}, which is text in UTF-8; got at line 1: special characters are not allowed"),
        (b"name: 2001-99-99\n", "{file}; got a value that cannot be read: month must be in 1..12"),
        (b"name: !!bool x\n", "{file}; got a value that cannot be read: 'x'"),
        (b"name: " + b"[" * 1_000, "{file}; got a value that cannot be read: maximum recursion depth exceeded"),
    ],
    ids=[
        "tab",
        "escape",
        "open",
        "alias",
        "key",
        "documents",
        "tag",
        "latin-1",
        "bell",
        "binary",
        "date",
        "bool",
        "deep",
    ],
)
def test_a_file_that_is_no_yaml_is_named_with_the_place(tmp_path: pathlib.Path, content: bytes, said: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="expected YAML in ") as caught:
        resolve.layers({}, config_file=str(file), assignments=())
    assert said.format(file=file) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "shown"), [("- 1\n", "[1]"), ("7", "7"), ("false", "False"), ("''", "''"), ("1: 2\n", "{1: 2}")]
)
def test_a_file_without_fields_is_refused(tmp_path: pathlib.Path, content: str, shown: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match="must hold fields of the configuration") as caught:
        resolve.layers({}, config_file=str(file), assignments=())
    assert str(caught.value).endswith(f"; got {shown}")


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xef\xbb\xbf"])
def test_an_empty_file_asks_for_nothing(tmp_path: pathlib.Path, content: bytes) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    assert resolve.layers({}, config_file=str(file), assignments=()) == {"data": {}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_with_a_mark_is_read(tmp_path: pathlib.Path, encoding: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("name: é\n", encoding=encoding)
    assert resolve.layers({}, config_file=str(file), assignments=()) == {"data": {}, "name": "é"}


@pytest.mark.parametrize(("name", "said"), [("", "Is a directory"), ("none.yaml", "No such file or directory")])
def test_what_is_no_file_is_refused(tmp_path: pathlib.Path, name: str, said: str) -> None:
    with pytest.raises(ValueError, match=rf"expected a YAML file with fields; got .*: {said}"):
        resolve.layers({}, config_file=str(tmp_path / name), assignments=())


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("trainer.model={epochs: 5", "{epochs: 5; got at line 1, column 11: while parsing a flow mapping, expected"),
        ('output="C:\\Users"', "got at line 1, column 6: while scanning a double-quoted scalar"),
        ("name=caf\udce9", "got at line 1: special characters are not allowed"),
        ("name=\a", "got at line 1: special characters are not allowed"),
    ],
)
def test_an_assignment_of_no_yaml_is_named(assignment: str, said: str) -> None:
    with pytest.raises(ValueError, match="expected YAML in ") as caught:
        configuration.parse_assignments((assignment,))
    assert str(caught.value).startswith(f"expected YAML in {assignment}")
    assert said in str(caught.value)


@pytest.mark.parametrize("given", ["data: ratings\n", "data: [ratings]\n"])
def test_fields_are_not_laid_over_a_value(tmp_path: pathlib.Path, given: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(given)
    with pytest.raises(ValueError, match=r"expected a folder in --data or data\.root, such as .*; got data: "):
        resolve.layers({}, config_file=str(file), assignments=())
    with pytest.raises(ValueError, match=r"expected fields in data, such as root; got data: "):
        resolve.layers({"data.root": "ratings"}, config_file=str(file), assignments=())
    with pytest.raises(ValueError, match=r"expected fields in endpoint, such as name; got endpoint: 5"):
        configuration.merge({"cluster": {"endpoint": 5}}, {"cluster": {"endpoint": {"name": "films"}}})
    # Nothing is overruled by a layer that is none.
    assert configuration.merge({"endpoint": None}, {"endpoint": {"name": "films"}}) == {"endpoint": {"name": "films"}}


@pytest.mark.parametrize("place", ["flag", "assignment", "file"])
def test_a_file_in_place_of_the_data_folder_leads_to_prepare(tmp_path: pathlib.Path, monkeypatch, place: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ratings.csv").write_text("user_id,movie_title,user_rating\n1,A,3\n")
    file = tmp_path / "config.yaml"
    file.write_text("data: {root: ~/ratings.csv}\n" if place == "file" else "")
    with pytest.raises(ValueError, match=r"got the file ~/ratings\.csv; .* data prepare ~/ratings\.csv --destination"):
        resolve.layers(
            {"data.root": "~/ratings.csv"} if place == "flag" else {},
            config_file=str(file),
            assignments=("data.root=~/ratings.csv",) if place == "assignment" else (),
        )


@pytest.mark.parametrize("place", ["flag", "assignment", "file"])
def test_a_tilde_is_the_home_folder_wherever_it_is_given(tmp_path: pathlib.Path, monkeypatch, place: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/")
    synthetic.write(tmp_path / "ratings", rows=100, users=10, titles=20, seed=0)
    folders = {"data.root": "~/ratings", "output": "~/out", "artifacts": "~/made"}
    (tmp_path / "config.yaml").write_text(
        "data: {root: ~/ratings}\noutput: ~/out\nartifacts: ~/made\n" if place == "file" else ""
    )
    config = resolve.resolve(
        folders if place == "flag" else {},
        config_file="~/config.yaml",
        assignments=tuple(f"{key}={value}" for key, value in folders.items()) if place == "assignment" else (),
    )
    assert [config.data.root, config.output, config.pipeline_root] == [
        os.path.join(tmp_path, name) for name in ("ratings", "out", "made")
    ]


@pytest.mark.parametrize("key", ["data.root", "output", "artifacts"])
def test_a_folder_without_a_name_is_refused(key: str) -> None:
    layers = configuration.merge({"data": {"root": "ratings"}}, configuration.nested({key: ""}))
    with pytest.raises(ValueError, match="at least 1 character") as caught:
        configuration.PipelineConfig(**layers)
    assert configuration.explain(caught.value).startswith(f"{key}: ")


@pytest.mark.parametrize(
    ("trainer", "faults"),
    [
        ({"preset": "notebook", "model": {"epochs": 0}}, ["trainer.model.epochs: Input should be greater than 0 (got"]),
        (
            {"preset": "notebook", "model": {"epochs": "many", "speed": 9}},
            ["trainer.model.epochs: Input should be a valid integer", "trainer.model.speed: Extra inputs are not"],
        ),
        ({"preset": "best", "model": {"epochs": 0}}, ["trainer.preset: preset must be one of default, fast, notebook"]),
        ({"preset": "notebook", "model": [1]}, ["trainer.model: Input should be a valid dictionary"]),
    ],
)
def test_faults_of_a_model_are_named_by_their_keys(trainer: dict, faults: list[str]) -> None:
    with pytest.raises(ValueError, match="trainer") as caught:
        configuration.PipelineConfig(data={"root": "ratings"}, trainer=trainer)
    lines = configuration.explain(caught.value).splitlines()
    assert len(lines) == len(faults)
    for line, fault in zip(lines, faults, strict=True):
        assert line.startswith(fault)
