"""What Google Cloud calls projects and regions: names that no shell reads as anything else."""

from __future__ import annotations

import dataclasses
import re

from modules.errors import UserError


@dataclasses.dataclass(frozen=True)
class Kind:
    """Names of one kind.

    Attributes:
      pattern: what they look like, as a regular expression.
      what: what they are, for people.
    """

    pattern: str
    what: str

    def check(self, name: str) -> str:
        """The name.

        Raises:
          UserError: it is none of the kind.
        """
        if not re.fullmatch(self.pattern, name):
            raise UserError(f"expected {self.what}; got {name!r}")
        return name


# The id of a project, perhaps within a domain, or its number.
PROJECT = Kind(r"([a-z0-9][a-z0-9.-]*:)?[a-z0-9][a-z0-9-]*", "the id of a project, such as films-123456")
REGION = Kind(r"[a-z][a-z0-9-]*", "a region, such as europe-west4")
