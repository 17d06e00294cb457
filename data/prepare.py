"""Turns a MovieLens release, or ratings of one's own, into the tables of a data folder and their record."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data import feedback, pairs, scales
from data.choices import Choices, Transform
from data.errors import ChecksumError, DataError
from data.feedback import looks_like_counts
from data.folder import check_destination, publish, workspace
from data.forms import separator_name
from data.oddities import oddest
from data.opening import Origin, opened
from data.progress import Progress, silent
from data.reader import RatingColumns, read
from data.rejects import REJECTED_FILE, Rejects, shown
from data.releases import Release, files_of
from data.scales import Scale
from data.sidecar import EXPLICIT, Sidecar
from data.splits import PUBLISHED_SPLITS
from data.summary import Summary, histogram, reasons_of
from data.uninterrupted import load_pandas
from data.writer import SortedRatings, merge, rated_keys, write_tables
from modules.features import FLOAT32_MAX, SIDE_TABLES, TITLES, USERS


def prepare(
    origin: Origin,
    destination: str | os.PathLike[str],
    *,
    checksums: Mapping[str, str] | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
    **chosen: Any,
) -> Summary:
    """Writes `ratings.csv`, `titles.csv`, `users.csv` and `ratings.json` to the destination.

    Ratings have one row for each user and title. Items that share a title are one title (MovieLens 100K lists some
    films under two ids), unless they are kept apart. `titles.csv` and `users.csv` have all titles and users that the
    source lists, rated or not; where the ratings themselves describe titles or users, as those of one's own may, all
    that are rated. Where the source says more than one thing of a title or a user, the first that is not empty counts.
    A side table of which the source says nothing is not written.

    Bad rows that were put up with go to `rejected/rejected.csv`. Everything is written beside its place and moved there
    when it is complete, the record last.

    With a split, `train/ratings.csv` and `test/ratings.csv` hold its rows, repeated ratings made one inside each part
    alone. In a published split of MovieLens 100K, a film with two ids can leave the same user and title in both parts;
    such pairs are kept, so that results compare with published ones, and counted. In a split of one's own such pairs
    are refused, or dropped from training where that is chosen.

    Memory: about 200 MB and 50 bytes a rating at the peak (sorting: the pair of user and title and its sorted copy, the
    order, the columns), and a few Python strings for each distinct user, item and title. What is packed is unpacked to
    disk, in the destination, or for a dry run where temporary files are.

    Args:
      origin: folder or zip of a release, or one file of ratings of one's own, or a folder with such a `ratings.csv` and
        side tables; or the files of a split of one's own, by part.
      destination: the data folder, made where there is none.
      checksums: the SHA-256 that each table must have, by the name of its file.
      dry_run: read and judge everything, and leave no file.
      progress: told how far it is.
      chosen: fields of `data.choices.Choices`.

    Raises:
      LayoutError: the origin is none of what is accepted, or a column is missing.
      RowError: there are more bad rows than `max_rejected`.
      ChecksumError: the result is not the expected one.
      DataError: there are no ratings, they have no scale, or files of others stand where the result belongs.
    """
    choices = _checked(Choices(**chosen))
    folder = pathlib.Path(destination)
    rejects = Rejects(choices.max_rejected)
    load_pandas()
    with _scratch() if dry_run else workspace(folder) as work:
        with opened(origin, work, rejects, choices) as (release, files):
            if not dry_run:
                sources = [file.path for file in files.values()]
                check_destination(folder, files_of(release.ratings, release.columns), sources)
            rejected_elsewhere = len(rejects.rows)
            listed = {side.name: np.arange(len(release.keys_of(side))) for side in SIDE_TABLES}
            ratings = {
                part: read(table, release, rejects, progress, strict=choices.strict)
                for part, table in release.ratings.items()
            }
            for part, table in release.ratings.items():
                if not len(ratings[part]):
                    raise DataError(f"expected ratings in {table.shown}; got none that is good; give another file")
            scale = _scale(release, ratings, rejects, choices)
        read_as = tuple(
            dataclasses.replace(each, decimal_mark=separator_name(",")) if each.file in release.decimal_commas else each
            for each in files.read_as.values()
        )
        rated = rated_keys(ratings.values(), release)
        for side in SIDE_TABLES:
            if any(column.name in table.fields for column in side.columns[1:] for table in release.ratings.values()):
                listed[side.name] = np.union1d(listed[side.name], rated[side.name])
        rejected = len(rejects.rows) - rejected_elsewhere
        rows_read = rejected + sum(map(len, ratings.values()))
        repeated = choices.repeated or ("sum" if choices.implicit else "mean")
        parts = {}
        for part, each in ratings.items():
            rows, ordering = len(each), f"putting {os.path.basename(release.ratings[part].shown)} in order"
            progress(ordering, 0, rows, "rows")
            parts[part] = merge(each, release.users, release.titles, repeated)
            progress(ordering, rows, rows, "rows")
        kept = sum(map(len, parts.values()))
        shared = pairs.in_both(parts)
        if isinstance(origin, Mapping) and shared:
            parts |= _apart(parts, shared, release, choices)
        if choices.implicit:
            parts = _preferences(parts, choices.transform)
        rows = sum(map(len, parts.values()))
        sidecar = Sidecar(
            rating_scale=(scale.low, scale.high),
            users=len(rated[USERS.name]),
            titles=len(rated[TITLES.name]),
            rows_read=rows_read,
            rejected=rejected,
            source=release.name,
            files=() if dry_run else write_tables(work, release, parts, listed, progress),
            shared_titles=release.shared_titles,
            dropped=kept - rows,
            feedback=choices.transform if choices.implicit else EXPLICIT,
            read_as={each.file: each.form for each in read_as},
        )
        if checksums is not None and sidecar.checksums != checksums:
            raise ChecksumError(
                f"expected tables with the SHA-256 {_listed(checksums)} from {origin}; got "
                f"{_listed(sidecar.checksums)}; see that the release is complete and unchanged"
            )
        if rejects.rows:
            (work / REJECTED_FILE).parent.mkdir()
            rejects.write(work / REJECTED_FILE)
        if not dry_run:
            publish(work, folder, sidecar)
    users, titles = pairs.in_test_alone(parts, len(release.titles))
    stars = [part.rating for part in parts.values()]
    explicit = not choices.implicit
    return Summary(
        folder=folder,
        sidecar=sidecar,
        rows=rows,
        written=not dry_run,
        rejected_elsewhere=rejected_elsewhere,
        reasons=reasons_of(rejects.rows),
        pairs_in_both=sum(int(mask.sum()) for mask in shared.values()),
        users_in_test_alone=users,
        titles_in_test_alone=titles,
        contradictions={name: len(numbers) for name, numbers in sorted(release.contradicted.items())},
        unread={name: str(each) for name, each in release.unread.items()},
        scale_is="that of preferences"
        if choices.implicit
        else "given"
        if choices.scale
        else "the release's"
        if release.scale
        else "found in the ratings",
        histogram=histogram(stars, sidecar.rating_scale),
        counts=(looks_like_counts(stars) or "") if explicit and not (choices.scale or release.scale) else "",
        read_as=read_as,
        oddities=oddest(
            parts,
            users=sorted(release.users.values),
            titles=sorted(release.titles.values),
            merged=rows_read - rejected - kept,
            explicit=explicit,
        ),
    )


def _scale(release: Release, ratings: Mapping[str, RatingColumns], rejects: Rejects, choices: Choices) -> Scale:
    """The scale of the ratings, or of what is made of counts.

    Raises:
      DataError: it rests on a handful of rows, which are named; or the ratings are all the same, or counts below 0.
    """
    values = [each.rating for each in ratings.values()]
    if choices.implicit:
        for each in values:
            feedback.check(each)
        return Scale(0.0, 1.0)
    if release.scale is not None:
        return Scale(*release.scale)
    scale = scales.settle(values, release.scales)
    if scale.core is None:
        return scale
    # Read once more, the rows off the core are bad rows, with file and line.
    known = {(row.file, row.line) for row in rejects.rows}
    release.scale = scale.core
    off = Rejects(max_rejected=sum(map(len, values)))
    for table in release.ratings.values():
        read(table, release, off, strict=False)
    rows = [
        f"{row.file}, {row.unit} {row.line}: {shown(row.raw)}" for row in off.rows if (row.file, row.line) not in known
    ]
    low, high = scale.core
    counts = looks_like_counts([each[(low <= each) & (each <= high)] for each in values])
    raise DataError(scales.refusal(scale, rows, counts))


def _preferences(parts: Mapping[str, SortedRatings], how: Transform) -> dict[str, SortedRatings]:
    """What is made of counts, pairs without any left out: a count of 0 says as little as no row.

    Raises:
      DataError: all counts of a part are 0.
    """
    counted = {name: pairs.without(part, part.rating == 0) for name, part in parts.items()}
    empty = [name or "the ratings" for name, part in counted.items() if not len(part)]
    if empty:
        raise DataError(f"expected counts above 0 in {empty[0]}; got none; give another file")
    preferences = feedback.transform(np.concatenate([part.rating for part in counted.values()]), how)
    ends = np.cumsum([len(part) for part in counted.values()])[:-1]
    return {
        name: dataclasses.replace(part, rating=rating)
        for (name, part), rating in zip(counted.items(), np.split(preferences, ends), strict=True)
    }


def _checked(choices: Choices) -> Choices:
    """The choices, none of which contradicts itself.

    Raises:
      DataError: a scale is none, ratings are to be added up, or a split is not a published one.
    """
    scale, split = choices.scale, choices.split
    if scale is not None and not -FLOAT32_MAX <= scale[0] < scale[1] <= FLOAT32_MAX:
        raise DataError(
            f"expected a rating scale of two numbers within ±{FLOAT32_MAX:g}, the lowest rating below the highest; "
            f"got {scale[0]:g} {scale[1]:g}; correct --scale"
        )
    if choices.repeated == "sum" and not choices.implicit:
        raise DataError(
            "expected --repeated mean or latest of ratings, whose sum would be off the scale; got sum; add --implicit "
            "where these are counts"
        )
    if split is not None and split not in PUBLISHED_SPLITS:
        raise DataError(f"expected a published split, one of {', '.join(PUBLISHED_SPLITS)}; got {split!r}")
    return choices


@contextlib.contextmanager
def _scratch() -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(prefix="movie-ranking-") as folder:
        yield pathlib.Path(folder)


def _apart(
    parts: Mapping[str, SortedRatings], shared: Mapping[str, np.ndarray], release: Release, choices: Choices
) -> dict[str, SortedRatings]:
    """The parts of a split of one's own that lose the pairs which a later part has, too.

    Raises:
      DataError: there are such pairs, and they are not to be dropped, or are all that a part has.
    """
    if choices.drop_pairs_in_both:
        emptied = [part for part, mask in shared.items() if mask.all()]
        if emptied:
            raise DataError(
                f"expected ratings in the part {emptied[0]} that no later part has, too; got none; give another split"
            )
        return {part: pairs.without(parts[part], mask) for part, mask in shared.items()}
    part, mask = next(iter(shared.items()))
    user, title = divmod(int(parts[part].pair[mask.argmax()]), len(release.titles))
    names = [sorted(each.values)[rank] for each, rank in ((release.users, user), (release.titles, title))]
    raise DataError(
        f"expected each pair of user and title in one part of the split; got {int(mask.sum()):,} of {part} in a later "
        f"part, too, such as user {names[0]!r} and title {names[1]!r}: what is tested would have been trained on; "
        "--drop-pairs-in-both drops them from training"
    )


def _listed(checksums: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {sha256}" for name, sha256 in checksums.items())
