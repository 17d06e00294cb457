"""What the pages say of files, commands, options and fields is there."""

from __future__ import annotations

import glob
import pathlib
import re
import shlex
import typing
from collections.abc import Iterator

import click
import pydantic
import pytest
import yaml

from modules import presets
from pipeline import cli
from pipeline.config.pipeline_config import PipelineConfig, merge
from pipeline.exit_codes import CLEAN_MEANINGS, MEANINGS
from tests.conftest import ROOT
from tests.docs import pages

README_LINES = 250
EACH_PAGE = pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
# Options of other programs, which the pages name by themselves.
FOREIGN_OPTIONS = {"--NAME", "--flink_version", "--rest_api_port"}


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(pages.README.read_text(encoding="utf-8").splitlines()) <= README_LINES


def anchor(heading: str) -> str:
    """The fragment that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@EACH_PAGE
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", pages.prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if fragment:
            headings = re.findall(r"^#+ (.+)$", pages.prose(file), re.MULTILINE)
            assert fragment in map(anchor, headings), f"{page.name} links to {target}"


def test_every_page_is_named_by_the_readme() -> None:
    readme = pages.README.read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"](docs/{page.name})" not in readme] == []


@EACH_PAGE
def test_files_that_are_named_are_there(page: pathlib.Path) -> None:
    rooms = ("pipeline", "components", "data", "modules", "tests", "docs", "requirements")
    named = re.findall(rf"(?<![\w/.-])((?:{'|'.join(rooms)})/[\w/*.-]*\.(?:py|md|txt|sh))", page.read_text("utf-8"))
    # What a recipe asks the reader to make is not there yet.
    made = set(re.findall(r"(?:New file|new file) `([^`]+)`", page.read_text(encoding="utf-8")))
    assert [name for name in named if name not in made and not glob.glob(str(ROOT / name))] == []


def command_lines(page: pathlib.Path) -> Iterator[str]:
    """Every command line of ours on a page, continued lines joined."""
    for block in pages.blocks(page.read_text(encoding="utf-8")):
        yield from (line for line in block.replace("\\\n", " ").splitlines() if line.startswith("movie-ranking "))
    yield from (span for span in pages.spans(page) if span.startswith(("movie-ranking ", "compile -", "submit -")))


def parse(line: str) -> tuple[click.Command, list[str]]:
    """The command of a line, and what follows its name."""
    words = shlex.split(line, comments=True)
    words = words[1:] if words[0] == "movie-ranking" else words
    command: click.Command = cli.cli
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"{line}: no command {words[0]}"
        command, words = found, words[1:]
    return command, words


def options_of(command: click.Command) -> set[str]:
    names = {"--help", "-h", "--version"}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            names.update((*parameter.opts, *parameter.secondary_opts))
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            names |= options_of(command.get_command(click.Context(command), name) or command)
    return names


@EACH_PAGE
def test_command_lines_parse(page: pathlib.Path) -> None:
    for line in command_lines(page):
        command, words = parse(line)
        options = [word.partition("=")[0] for word in words if word.startswith("-") and word != "-"]
        values = [word for before, word in zip(["", *words], words, strict=False) if before == "--beam-arg"]
        unknown = set(options) - options_of(command) - {value.partition("=")[0] for value in values}
        assert not unknown, f"{page.name}: {line}: {unknown}"


def test_command_lines_are_found() -> None:
    assert sum(1 for page in pages.PAGES for _ in command_lines(page)) > 30


@EACH_PAGE
def test_options_that_are_named_exist(page: pathlib.Path) -> None:
    known = options_of(cli.cli) | FOREIGN_OPTIONS
    named = [span.split()[0].partition("=")[0] for span in pages.spans(page) if span.startswith("--")]
    assert set(named) <= known, f"{page.name}: {set(named) - known}"


def fields(model: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of the fields of a configuration, layers and what holds layers included."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for each in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(each, type) and issubclass(each, pydantic.BaseModel):
                inner = f"{prefix}{name}." if typing.get_origin(field.annotation) is not dict else f"{prefix}{name}.*."
                yield from fields(each, inner)


def known_fields() -> set[str]:
    known = set(fields(PipelineConfig))
    for name in presets.PRESETS:
        known |= {f"trainer.model.{field}" for field in type(presets.build_config(name, {})).model_fields}
    return known


# A change log names fields that are gone.
@pytest.mark.parametrize("page", [page for page in pages.PAGES if page != pages.CHANGELOG], ids=lambda page: page.name)
def test_fields_that_are_named_exist(page: pathlib.Path) -> None:
    text = page.read_text(encoding="utf-8")
    # A recipe may ask the reader to make a field of a model.
    made = re.findall(r"^    (\w+): \w+ = pydantic\.Field\(", text, re.MULTILINE)
    known = known_fields() | {f"trainer.model.{name}" for name in made}
    named = set(re.findall(r"--set ([\w.]+)=", text))
    layers = {name.partition(".")[0] for name in known if "." in name}
    files = re.compile(r"\.(csv|json|yaml|md|py|txt)$")
    named |= {
        span.partition("=")[0]
        for span in pages.spans(page)
        if re.fullmatch(rf"(?:{'|'.join(layers)})(?:\.\w+)+(?:=\S+)?", span) and not files.search(span)
    }
    named = {re.sub(r"^cluster\.components\.\w+", "cluster.components.*", name) for name in named}
    assert named <= known, f"{page.name}: {named - known}"


@EACH_PAGE
def test_configuration_files_are_valid(page: pathlib.Path) -> None:
    given = {
        "data": {"root": "gs://bucket/ratings"},
        "artifacts": "gs://bucket/artifacts",
        "cluster": {"project": "my-project", "region": "europe-west4", "image": "image:1"},
    }
    for block in pages.blocks(page.read_text(encoding="utf-8"), "yaml"):
        PipelineConfig(**merge(given, yaml.safe_load(block)))


def test_flags_set_the_fields_of_the_table() -> None:
    run = cli.cli.get_command(click.Context(cli.cli), "run")
    assert run is not None
    rows = pages.table((ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"), "flag")
    listed = {pages.codes(flag)[0]: pages.codes(field)[0] for flag, field in rows}
    samples = {
        "--preset": "fast",
        "--data": "folder",
        "--output": "folder",
        "--seed": "7",
        "--strategy": "mirrored",
        "--rmse-bound": "0.9",
        "--beam": "flink",
        "--beam-arg": "--flink_version=1.19",
    }
    fields_of = {flag: list(run.make_context("run", [flag, value]).params["values"]) for flag, value in samples.items()}
    assert fields_of == {flag: [field] for flag, field in listed.items() if flag != "--no-cache"}
    assert listed["--no-cache"] == "cache"


def test_exit_codes_are_those_of_the_command() -> None:
    rows = pages.table(pages.section(ROOT / "docs" / "configuration.md", "Exit codes"), "code")
    listed = {int(code): meaning.replace("`", "") for code, meaning in rows}
    assert listed == {int(code): meaning for code, meaning in MEANINGS.items()}


def test_exit_codes_of_clean_are_those_of_the_command() -> None:
    rows = pages.table(pages.section(ROOT / "docs" / "configuration.md", "Cleaning up"), "code")
    assert {int(code): meaning for code, meaning in rows} == {int(code): said for code, said in CLEAN_MEANINGS.items()}


def test_flags_of_clean_are_those_of_the_command() -> None:
    command = cli.cli.get_command(click.Context(cli.cli), "clean")
    assert command is not None
    rows = pages.table(pages.section(ROOT / "docs" / "configuration.md", "Cleaning up"), "flag of `clean`")
    assert {pages.codes(flag)[0].split()[0] for flag, _ in rows} == options_of(command) - {"--help", "-h", "--version"}


def test_components_stand_in_the_order_in_which_they_run() -> None:
    from pipeline.commands import run

    components = list(run.COMPONENTS)
    text = pages.section(ROOT / "docs" / "configuration.md", "Parts of the pipeline")
    listed = text.partition("in the order in which they run: ")[2].partition(".")[0]
    assert [name.strip() for name in listed.split(",")] == components
    rows = pages.table((ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8"), "component")
    assert [row[0] for row in rows] == components
