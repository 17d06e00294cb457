"""The kinds of cases: what is disturbed, how, and how the same command must end when it is given again."""

from __future__ import annotations

import hashlib
import os
import pathlib
import random
import re
import shutil
import signal
from collections.abc import Callable

from data.sidecar import SIDECAR_FILE, Sidecar
from pipeline.cli import COMMANDS
from pipeline.exit_codes import ExitCode
from tests.faults import cutting_server, damage, full_disk, judged
from tests.faults.commands import Command, Ended
from tests.faults.verdicts import Failure, Result, Verdict
from tests.faults.workshop import Workshop, checked

_SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
# The less a run costs, the more often it is drawn.
_PRESET_WEIGHTS = {"notebook": 3, "fast": 1, "default": 1}
_ASKS_PREDICT = 0.2
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
_FULL = re.compile(r"No space left on device|disk is full|make room|out of space|smaller than", re.IGNORECASE)

# A path that is longer than a line is broken.
_TAKEN = re.compile(r"(has changed|is gone) since .{1,300}? recorded it")


def kill_run(workshop: Workshop, rng: random.Random) -> Result:
    """A run is ended by a signal, within a random component."""
    preset = _preset(workshop, rng)
    stage = rng.choices(("nothing", "transformed", "judged"), (2, 2, 1))[0]
    seconds = workshop.reference(preset).seconds
    workshop.restore(preset, stage)
    names = list(seconds)
    weights = [seconds[name] for name in names]
    component, share = rng.choices(names, weights)[0], rng.random()
    number, to_group = _signal(rng)
    command = workshop.start(*workshop.run_arguments(preset))
    if component != "start":
        log = workshop.output / "logs" / f"{component}.log"
        size = _size(log)
        command.wait_for(lambda: _size(log) != size)
    _let_pass(command, share * seconds[component])
    struck = _strike(command, number, to_group)
    judged.check_versions_are_whole(workshop.output)
    return _run_again(workshop, preset, rng, f"{struck} within {component} of a run of {preset} from {stage}")


def kill_push(workshop: Workshop, rng: random.Random) -> Result:
    """A push is ended by a signal while it copies."""
    preset = _preset(workshop, rng)
    workshop.reference(preset)
    workshop.restore(preset, "probed")
    serving = workshop.output / "serving_model"
    files, number, to_group = rng.randint(0, 8), *_signal(rng)
    arguments = (*workshop.run_arguments(preset), "--from", "Pusher")
    command = workshop.start(*arguments)
    command.wait_for(lambda: _partial_files(serving) >= files or _has_version(serving))
    struck = _strike(command, number, to_group)
    judged.check_versions_are_whole(workshop.output)
    left = [path.name for path in serving.glob("*")] if serving.exists() else []
    words = f"{struck} at {files} files of a push of {preset}, which left {left or 'nothing'}"
    result = _run_again(workshop, preset, rng, words, arguments)
    if odd := [path.name for path in serving.iterdir() if not path.name.isdigit()]:
        raise Failure(f"{words}; then {odd} beside versions")
    return result


def kill_prepare(workshop: Workshop, rng: random.Random) -> Result:
    """`data prepare` is ended by a signal."""
    return _kill_preparing(workshop, rng, *_prepare(workshop, rng))


def kill_fetch(workshop: Workshop, rng: random.Random) -> Result:
    """`data fetch` is ended by a signal."""
    source = rng.choice((workshop.release, workshop.release_zip))
    return _kill_preparing(workshop, rng, f"fetch-{source.name}", _fetch(workshop, source), _expecting(workshop))


def kill_clean(workshop: Workshop, rng: random.Random) -> Result:
    """`clean` is ended by a signal."""
    if "clean" not in COMMANDS:
        return Result(Verdict.SKIPPED, "there is no command clean")
    workshop.reference("notebook")
    workshop.restore("notebook", "done twice")
    arguments = ("clean", "--output", str(workshop.output), "--keep", "1")
    number, to_group = _signal(rng)
    command = workshop.start(*arguments)
    below = _count_below(workshop.output) - rng.randint(0, 40)
    command.wait_for(lambda: _count_below(workshop.output) < below)
    struck = _strike(command, number, to_group)
    judged.check_versions_are_whole(workshop.output)
    words = f"{struck} within a clean"
    again = workshop.command(*arguments)
    if again.code:
        raise Failure(f"{words}; then clean ended with {again.code}: {again.last_lines}")
    return _run_again(workshop, "notebook", rng, words)


def full_run(workshop: Workshop, rng: random.Random) -> Result:
    """The output folder of a run is on a file system that fills up."""
    stage = rng.choices(("nothing", "transformed", "judged"), (2, 1, 1))[0]
    return _fill_output(workshop, rng, stage, ())


def full_push(workshop: Workshop, rng: random.Random) -> Result:
    """The folder of pushed models is on a file system that fills up."""
    return _fill_output(workshop, rng, "probed", ("--from", "Pusher"))


def full_prepare(workshop: Workshop, rng: random.Random) -> Result:
    """`data prepare` writes to a file system that fills up."""
    return _fill_prepared(workshop, rng, *_prepare(workshop, rng))


def full_fetch(workshop: Workshop, rng: random.Random) -> Result:
    """`data fetch` writes to a file system that fills up."""
    source = rng.choice((workshop.release, workshop.release_zip))
    return _fill_prepared(workshop, rng, f"fetch-{source.name}", _fetch(workshop, source), _expecting(workshop))


def damage_output(workshop: Workshop, rng: random.Random) -> Result:
    """A file or a folder in the output folder of a finished run is damaged."""
    preset = _preset(workshop, rng)
    workshop.reference(preset)
    workshop.restore(preset, "done")
    database = workshop.output / "metadata.sqlite"
    others = [path for path in sorted(workshop.output.iterdir()) if path != database and path.name != "artifacts"]
    components = sorted((workshop.output / "artifacts").iterdir())
    group = rng.choices((components, others, [database], [workshop.output / "artifacts"]), (10, 5, 3, 1))[0]
    words = damage.damage_below(group, rng)
    ended = workshop.command(*workshop.run_arguments(preset))
    if ended.code == ExitCode.PUSHED:
        return _pushed(workshop, preset, rng, words)
    if ended.code != ExitCode.BAD_INPUT or "--rebuild" not in ended.output:
        raise Failure(f"{words}; then a run ended with {ended.code}: {ended.last_lines}")
    said = ended.output.splitlines()[-1]
    ended = workshop.command(*workshop.run_arguments(preset), "--rebuild")
    if ended.code:
        raise Failure(f"{words}; then a run with --rebuild ended with {ended.code}: {ended.last_lines}")
    _pushed(workshop, preset, rng, words)
    return Result(Verdict.REFUSED, f"{words}; {said}")


def damage_data(workshop: Workshop, rng: random.Random) -> Result:
    """A file of the data folder is damaged between two runs, and put back before a third."""
    preset = _preset(workshop, rng)
    workshop.reference(preset)
    workshop.restore(preset, "done")
    words = damage.damage_below([*sorted(workshop.data.iterdir()), workshop.data], rng)
    ended = workshop.command(*workshop.run_arguments(preset))
    result = Result(Verdict.WHOLE, f"{words}; it was told")
    if ended.code == ExitCode.BAD_INPUT:
        result = Result(Verdict.REFUSED, f"{words}; {ended.last_lines}")
        if "ratings.csv has changed" in ended.output and len(_SHA256.findall(" ".join(ended.output.split()))) < 2:
            raise Failure(f"{words}; it was refused without both checksums: {ended.last_lines}")
    elif ended.code:
        raise Failure(f"{words}; then a run ended with {ended.code}: {ended.last_lines}")
    elif not _TAKEN.search(" ".join(ended.output.split())):
        # What was damaged says nothing, such as white space in a record.
        result = _pushed(workshop, preset, rng, f"{words}; without a word")
    workshop.restore_data()
    _run_again(workshop, preset, rng, f"{words}, and put back")
    return result


def damage_prepared(workshop: Workshop, rng: random.Random) -> Result:
    """What `data prepare` or `data fetch` made is damaged, and the command given again."""
    name, arguments, changes = _prepare(workshop, rng)
    if rng.random() < 0.5:
        source = rng.choice((workshop.release, workshop.release_zip))
        name, arguments, changes = f"fetch-{source.name}", _fetch(workshop, source), _expecting(workshop)
    tree = workshop.undisturbed(name, arguments, changes)
    shutil.copytree(tree.folder, workshop.prepared)
    words = damage.damage_below([*sorted(workshop.prepared.iterdir()), workshop.prepared], rng)
    return _prepare_again(workshop, name, arguments, changes, f"{words}, made by {name}")


def damage_source(workshop: Workshop, rng: random.Random) -> Result:
    """The source of `data fetch` is damaged, and put back before the command is given again."""
    whole = rng.choice((workshop.release, workshop.release_zip))
    expecting, name = _expecting(workshop), f"fetch-{whole.name}"
    tree = workshop.undisturbed(name, _fetch(workshop, whole), expecting)
    source = workshop.folder / "work" / whole.name
    shutil.copytree(whole, source) if whole.is_dir() else shutil.copy(whole, source)
    words = damage.damage_below([source], rng)
    ended = workshop.command(*_fetch(workshop, source), changes=expecting)
    verdict = Verdict.REFUSED
    if not ended.code:
        # What is not read may be damaged.
        verdict = Verdict.WHOLE
        if difference := _difference_of_tables(tree.folder, workshop.prepared):
            raise Failure(f"{words}; then a fetch took it: {difference}")
    elif ended.code != ExitCode.BAD_INPUT:
        raise Failure(f"{words}; then a fetch ended with {ended.code}: {ended.last_lines}")
    elif workshop.prepared.exists():
        raise Failure(f"{words}; then a refused fetch left {sorted(workshop.prepared.rglob('*'))}")
    _prepare_again(workshop, name, _fetch(workshop, whole), expecting, words)
    return Result(verdict, f"{words}; {ended.last_lines}")


def cut_download(workshop: Workshop, rng: random.Random) -> Result:
    """The server of `data fetch` breaks off, once or again and again."""
    content = workshop.release_zip.read_bytes()
    cuts = [rng.randrange(len(content)) for _ in range(rng.randint(1, 4))]
    arguments = ("data", "fetch", "--destination", str(workshop.prepared))
    with cutting_server.serving(content, cuts, says_length=rng.random() < 0.5) as url:
        changes = _expecting(workshop, url)
        words = f"a download that breaks off after {', '.join(map(str, cuts))} of {len(content)} bytes"
        ended = workshop.command(*arguments, changes=changes)
        if ended.code:
            if ended.code != ExitCode.BAD_INPUT or "broke off" not in ended.output:
                raise Failure(f"{words}; a fetch ended with {ended.code}: {ended.last_lines}")
            if workshop.prepared.exists():
                raise Failure(f"{words}; then a refused fetch left {sorted(workshop.prepared.rglob('*'))}")
        again = workshop.command(*arguments, changes=changes)
    if again.code:
        raise Failure(f"{words}; then a fetch ended with {again.code}: {again.last_lines}")
    name, of_zip = f"fetch-{workshop.release_zip.name}", _fetch(workshop, workshop.release_zip)
    shutil.move(workshop.prepared, fetched := workshop.folder / "work" / "fetched")
    tree = workshop.undisturbed(name, of_zip, _expecting(workshop))
    if difference := _difference_of_tables(tree.folder, fetched):
        raise Failure(f"{words}; {difference}")
    return Result(Verdict.REFUSED if ended.code else Verdict.WHOLE, words)


# Each kind, and how often it is drawn.
KINDS: dict[str, tuple[Callable[[Workshop, random.Random], Result], int]] = {
    "kill-run": (kill_run, 6),
    "kill-push": (kill_push, 4),
    "kill-prepare": (kill_prepare, 4),
    "kill-fetch": (kill_fetch, 4),
    "kill-clean": (kill_clean, 2),
    "full-run": (full_run, 4),
    "full-push": (full_push, 3),
    "full-prepare": (full_prepare, 3),
    "full-fetch": (full_fetch, 3),
    "damage-output": (damage_output, 8),
    "damage-data": (damage_data, 5),
    "damage-prepared": (damage_prepared, 4),
    "damage-source": (damage_source, 4),
    "cut-download": (cut_download, 3),
}


# Runs.


def _preset(workshop: Workshop, rng: random.Random) -> str:
    return rng.choices(workshop.presets, [_PRESET_WEIGHTS[preset] for preset in workshop.presets])[0]


def _run_again(
    workshop: Workshop, preset: str, rng: random.Random, words: str, arguments: tuple[str, ...] = ()
) -> Result:
    """Gives the command of a run again, and checks that it ends as an undisturbed one does."""
    ended = workshop.command(*(arguments or workshop.run_arguments(preset)))
    if ended.code != ExitCode.PUSHED:
        raise Failure(f"{words}; then a run ended with {ended.code}: {ended.last_lines}")
    return _pushed(workshop, preset, rng, words)


def _pushed(workshop: Workshop, preset: str, rng: random.Random, words: str) -> Result:
    try:
        workshop.check_pushed(preset)
        if rng.random() < _ASKS_PREDICT:
            workshop.check_predict()
    except Failure as failure:
        raise Failure(f"{words}; then {failure}") from failure
    return Result(Verdict.WHOLE, words)


def _fill_output(workshop: Workshop, rng: random.Random, stage: str, more: tuple[str, ...]) -> Result:
    if not full_disk.may_mount():
        return Result(Verdict.SKIPPED, "this process may not mount a file system")
    preset = _preset(workshop, rng)
    workshop.reference(preset)
    ends = [full_disk.pages(path) if (path := workshop.template(preset, each)) else 0 for each in (stage, "done")]
    size = rng.randint(ends[0], ends[1])
    arguments = (*workshop.run_arguments(preset), *more)
    with full_disk.mounted(workshop.output) as disk:
        workshop.restore(preset, stage)
        disk.resize(size)
        words = f"{preset} from {stage} on a disk of {size} bytes"
        ended = workshop.command(*arguments)
        _check_full(ended, words)
        disk.make_room()
        result = _run_again(workshop, preset, rng, f"{words}, which ended with {ended.code}", arguments)
    return Result(Verdict.REFUSED, f"{words}; {ended.last_lines}") if ended.code else result


def _check_full(ended: Ended, words: str) -> None:
    """Checks that a command either came through, or said that the disk is full."""
    if not ended.code:
        return
    if ended.code not in (ExitCode.FAILED, ExitCode.BAD_INPUT) or not _FULL.search(" ".join(ended.output.split())):
        raise Failure(f"{words}; it ended with {ended.code}: {ended.last_lines}")


# Data.


def _prepare(workshop: Workshop, rng: random.Random) -> tuple[str, tuple[str, ...], str]:
    """A name, the arguments and the changes of a command that prepares data."""
    source = rng.choice((workshop.release, workshop.release_zip))
    return f"prepare-{source.name}", ("data", "prepare", str(source), "--destination", str(workshop.prepared)), ""


def _fetch(workshop: Workshop, source: pathlib.Path) -> tuple[str, ...]:
    return ("data", "fetch", "--source", str(source), "--destination", str(workshop.prepared))


def _expecting(workshop: Workshop, url: str | None = None) -> str:
    """Changes by which `data fetch` takes made-up ratings for the right ones, from one address and no other."""
    name, arguments, changes = (
        f"prepare-{workshop.release_zip.name}",
        ("data", "prepare", str(workshop.release_zip), "--destination", str(workshop.prepared)),
        "",
    )
    checksums = Sidecar.read(workshop.undisturbed(name, arguments, changes).folder).checksums
    md5 = hashlib.md5(workshop.release_zip.read_bytes(), usedforsecurity=False).hexdigest()
    origin = f"functools.partial(fetch.official_archive, url={url!r}, md5={md5!r})"
    return (
        "import functools; from data import fetch; "
        f"fetch.fetch = functools.partial(fetch.fetch, checksums={checksums!r}, origins=[('server', {origin})])"
    )


def _kill_preparing(
    workshop: Workshop, rng: random.Random, name: str, arguments: tuple[str, ...], changes: str
) -> Result:
    tree = workshop.undisturbed(name, arguments, changes)
    number, to_group = _signal(rng)
    if is_again := rng.random() < 0.5:
        # A folder that was made before is made anew.
        shutil.copytree(tree.folder, workshop.prepared)
        (workshop.prepared / "titles.csv").unlink()
    command = workshop.start(*arguments, changes=changes)
    place = rng.choice(("start", "work", "move"))
    if place == "work":
        command.wait_for(lambda: any(workshop.prepared.glob(".partial-*")))
    elif place == "move":
        record = workshop.prepared / SIDECAR_FILE
        command.wait_for(lambda: not record.exists() if is_again else any(workshop.prepared.glob("*.csv")))
    if place != "move":
        _let_pass(command, rng.random() * tree.seconds / (1 if place == "start" else 2))
    struck = _strike(command, number, to_group)
    words = f"{struck} at the {place} of {name}"
    is_complete = Sidecar.of_complete(workshop.prepared) is not None
    if is_complete and (difference := _difference_of_tables(tree.folder, workshop.prepared)):
        raise Failure(f"{words}; what it left is taken for complete: {difference}")
    return _prepare_again(workshop, name, arguments, changes, words)


def _fill_prepared(
    workshop: Workshop, rng: random.Random, name: str, arguments: tuple[str, ...], changes: str
) -> Result:
    if not full_disk.may_mount():
        return Result(Verdict.SKIPPED, "this process may not mount a file system")
    tree = workshop.undisturbed(name, arguments, changes)
    size = rng.randint(4096, 2 * full_disk.pages(tree.folder))
    with full_disk.mounted(workshop.prepared, size) as disk:
        words = f"{name} on a disk of {size} bytes"
        ended = workshop.command(*arguments, changes=changes)
        _check_full(ended, words)
        if ended.code and Sidecar.of_complete(workshop.prepared):
            raise Failure(f"{words}; it ended with {ended.code}, and what it left is taken for complete")
        if ended.code and (left := sorted(workshop.prepared.iterdir())):
            raise Failure(f"{words}; it ended with {ended.code}, and left {left}")
        disk.make_room()
        result = _prepare_again(workshop, name, arguments, changes, words)
    return Result(Verdict.REFUSED, f"{words}; {ended.last_lines}") if ended.code else result


def _prepare_again(workshop: Workshop, name: str, arguments: tuple[str, ...], changes: str, words: str) -> Result:
    """Gives a command that prepares data again, and checks that it makes what an undisturbed one does."""
    ended = workshop.command(*arguments, changes=changes)
    if ended.code:
        raise Failure(f"{words}; then it ended with {ended.code}: {ended.last_lines}")
    if difference := workshop.undisturbed(name, arguments, changes).differs_from(workshop.prepared):
        raise Failure(f"{words}; then {difference}")
    return Result(Verdict.WHOLE, words)


def _difference_of_tables(whole: pathlib.Path, other: pathlib.Path) -> str:
    """Which tables of a folder are not those of another; records may name another source."""
    ours, theirs = ({path.name: path.read_bytes() for path in folder.glob("*.csv")} for folder in (whole, other))
    return ", ".join(name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name))


# Signals.


def _signal(rng: random.Random) -> tuple[signal.Signals, bool]:
    """A signal, and whether what the command has started gets it, too."""
    return rng.choice(_SIGNALS), rng.random() < 0.7


def _strike(command: Command, number: signal.Signals, to_group: bool) -> str:
    """Sends a signal, waits for the end, and checks that it is one of those that are documented.

    Returns:
      in words, what struck the command, and how it ended.
    """
    words = f"{number.name} to {'all processes' if to_group else 'the command alone'}"
    in_time = command.send(number, to_group=to_group)
    ended = checked(command.wait())
    if not in_time:
        return f"{words} that came too late"
    expected = (ExitCode.PUSHED, ExitCode.INTERRUPTED if number == signal.SIGINT else -number)
    if ended.code not in expected:
        raise Failure(f"{words}; it ended with {ended.code}: {ended.last_lines}")
    return f"{words}, which ended it with {ended.code},"


def _let_pass(command: Command, seconds: float) -> None:
    command.wait_for(lambda: False, seconds)


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else -1


def _count_below(folder: pathlib.Path) -> int:
    """How many files and folders there are; what is removed meanwhile does not count."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(folder))


def _has_version(serving: pathlib.Path) -> bool:
    return serving.exists() and any(path.name.isdigit() for path in serving.iterdir())


def _partial_files(serving: pathlib.Path) -> int:
    """How many files of a version that is being pushed are there; -1 before there is such a folder."""
    found = list(serving.glob(".pushing-*")) if serving.exists() else []
    return sum(len(files) for folder in found for _, _, files in os.walk(folder)) if found else -1
