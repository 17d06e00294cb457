"""Projects and regions, wherever they are given."""

from __future__ import annotations

import re

import pydantic
import pytest

from pipeline import cli
from pipeline.config.beam_config import BeamConfig
from pipeline.config.cluster_config import ClusterConfig
from pipeline.config.pipeline_config import DataConfig, PipelineConfig
from pipeline.exit_codes import ExitCode

NO_NAMES = ["$(id)", "films;id", "films id", "`id`", "films\n", "-films", "films/../x", "", "Films&", "'films'"]

# The same words wherever such a name is given.
SAID = {
    "project": "expected the id of a project, such as films-123456; got {!r}",
    "region": "expected a region, such as europe-west4; got {!r}",
}


@pytest.mark.parametrize("name", ["films-123456", "films", "123456789", "example.com:films-1"])
def test_projects_are_taken(name: str) -> None:
    assert ClusterConfig(project=name).project == BeamConfig(runner="dataflow", project=name).project == name


@pytest.mark.parametrize("field", SAID)
@pytest.mark.parametrize("config", [ClusterConfig, BeamConfig])
@pytest.mark.parametrize("name", NO_NAMES)
def test_what_a_shell_would_read_is_refused(config: type[pydantic.BaseModel], field: str, name: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=f"{field}\\n.*{re.escape(SAID[field].format(name))}"):
        config(**{field: name})


@pytest.mark.parametrize("name", NO_NAMES)
def test_so_is_such_a_name_of_a_pipeline(name: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=r"name\n.*should match pattern"):
        PipelineConfig(name=name, data=DataConfig(root="ratings"))


@pytest.mark.parametrize("option", ["--project", "--region"])
@pytest.mark.parametrize("name", NO_NAMES)
def test_a_submission_is_refused_before_anything_is_read(capsys, option: str, name: str) -> None:
    given = {"--project": "films", "--region": "europe-west4"} | {option: name}
    with pytest.raises(SystemExit) as done:
        cli.main(["submit", "vertex", "nowhere.json", *(word for pair in given.items() for word in pair)])
    assert done.value.code == ExitCode.BAD_INPUT
    shown = capsys.readouterr().err
    assert f"Invalid value for '{option}'" in shown
    assert SAID[option.removeprefix("--")].format(name) in shown
