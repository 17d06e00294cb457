"""The columns of the three tables and the features made of them: every name is spelled here and nowhere else."""

from __future__ import annotations

import dataclasses
from typing import Literal

# The highest rating there can be: they are kept as float32.
FLOAT32_MAX = 3.4e38


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table, and the tf.Example feature of the same name.

    Attributes:
      name: column and feature name.
      dtype: "string" (bytes_list, UTF-8), "int" (int64_list) or "float" (float_list).
      describes: what the value is a property of: the rating, its user or its title.
      meaning: one line for documentation and error messages.
      required: a table without the column, or a row without the value, is refused.
      multivalent: the CSV cell holds values joined by `|`; the tf.Example holds them as a list.
      oov_buckets: ids kept behind the vocabulary for values that training never saw.
      low: the lowest value there can be, where there is one.
      high: the highest value there can be, where there is one. A rating's bounds are the data's own.
    """

    name: str
    dtype: Literal["string", "int", "float"]
    describes: Literal["rating", "user", "title"]
    meaning: str
    required: bool = False
    multivalent: bool = False
    oov_buckets: int = 0
    low: int | None = None
    high: int | None = None


USER_ID = Column(
    name="user_id",
    dtype="string",
    describes="user",
    required=True,
    oov_buckets=1,
    meaning="who rated; a string even where it looks like a number",
)
MOVIE_TITLE = Column(
    name="movie_title",
    dtype="string",
    describes="title",
    required=True,
    oov_buckets=1,
    meaning="what was rated, stripped of blanks at both ends",
)
USER_RATING = Column(
    name="user_rating",
    dtype="float",
    describes="rating",
    required=True,
    meaning="stars; one for each user and title",
)
TIMESTAMP = Column(
    name="timestamp",
    dtype="int",
    describes="rating",
    low=0,
    meaning="when it was rated, seconds since 1970-01-01 UTC; no model uses it",
)
GENRES = Column(name="genres", dtype="string", describes="title", multivalent=True, meaning="genres, joined by |")
RELEASE_YEAR = Column(
    name="release_year", dtype="int", describes="title", low=1870, high=2100, meaning="year of release"
)
USER_AGE = Column(name="user_age", dtype="int", describes="user", low=0, high=120, meaning="age in years")
USER_GENDER = Column(name="user_gender", dtype="string", describes="user", meaning="gender, as the source spells it")
USER_OCCUPATION = Column(name="user_occupation", dtype="string", describes="user", meaning="occupation")
USER_ZIP_CODE = Column(name="user_zip_code", dtype="string", describes="user", meaning="postal code")

# All of them, as a CSV that has them side by side may hold them.
COLUMNS = (
    USER_ID,
    MOVIE_TITLE,
    USER_RATING,
    TIMESTAMP,
    GENRES,
    RELEASE_YEAR,
    USER_AGE,
    USER_GENDER,
    USER_OCCUPATION,
    USER_ZIP_CODE,
)
REQUIRED_COLUMNS = tuple(column for column in COLUMNS if column.required)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """One table of a data folder, a CSV file.

    Attributes:
      name: of the table, and of its split of examples.
      columns: in the order in which they stand in the file; the required ones are what a row is found by.
    """

    name: str
    columns: tuple[Column, ...]

    @property
    def file(self) -> str:
        """Name of the file."""
        return f"{self.name}.csv"

    @property
    def key(self) -> Column:
        """What a row of a side table is found by."""
        return self.columns[0]


RATINGS = Table(name="ratings", columns=(USER_ID, MOVIE_TITLE, USER_RATING, TIMESTAMP))
TITLES = Table(name="titles", columns=(MOVIE_TITLE, GENRES, RELEASE_YEAR))
USERS = Table(name="users", columns=(USER_ID, USER_AGE, USER_GENDER, USER_OCCUPATION, USER_ZIP_CODE))
# What is known of titles and users, rated or not.
SIDE_TABLES = (TITLES, USERS)

# Model inputs that are made of the side tables: one float vector each for the user and the title, all zeros where
# nothing is known.
USER_FEATURES = "user_features"
TITLE_FEATURES = "title_features"

# Upper edges are exclusive: an age of 18 falls into the second bin.
AGE_BOUNDARIES = (18.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 56.0)
# Few old films are rated, so five years share a bin until 1990.
YEAR_BOUNDARIES = tuple(float(year) for year in (*range(1925, 1990, 5), *range(1990, 2031)))

# All categorical side features share one vocabulary, in which each value carries the name of its column. Its values
# beyond this many, the rarest, count as unknown.
CATEGORIES_LIMIT = 128
USER_CATEGORIES = (USER_GENDER, USER_OCCUPATION, USER_ZIP_CODE)
TITLE_CATEGORIES = (GENRES,)

# The last two say whether anything is known, and whether there is a row in the side table.
FLAGS = 2
USER_FEATURES_SIZE = len(AGE_BOUNDARIES) + 1 + CATEGORIES_LIMIT + FLAGS
TITLE_FEATURES_SIZE = len(YEAR_BOUNDARIES) + 1 + CATEGORIES_LIMIT + FLAGS
