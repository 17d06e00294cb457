from __future__ import annotations

import json

import numpy as np

from data import summary
from data.prepare import prepare
from data.rejects import Rejected
from tests.data.small_releases import HUNDRED_K


def test_few_values_are_counted_each_and_many_in_equal_parts_of_the_scale():
    few = [np.array([1, 2, 2], np.float32), np.array([3.5], np.float32)]
    assert summary.histogram(few, (1, 5)) == {"1": 1, "2": 2, "3.5": 1}
    assert summary.histogram([np.array([3, 3], np.float32)], (1, 5)) == {"3": 2}
    many = np.random.default_rng(0).uniform(0, 100, 1000).astype(np.float32)
    counted = summary.histogram([many[:300], many[300:]], (0, 100))
    assert list(counted)[:2] == ["0 to 10", "10 to 20"]
    assert list(counted.values()) == [int(((many >= low) & (many < low + 10)).sum()) for low in range(0, 100, 10)]


def test_rare_ratings_are_told_together():
    """Such as the means of repeated ones; where they are many, or the common ones are, ranges tell more."""
    stars = np.repeat(np.arange(1, 11, dtype=np.float32), 100)
    told = {str(star): 100 for star in range(1, 11)}
    odd = np.linspace(1.25, 9.25, 10, dtype=np.float32)
    assert summary.histogram([stars, odd[:1]], (1, 10)) == told | {"other": 1}
    assert summary.histogram([stars, odd[1:]], (1, 10)) == told | {"other": 9}
    assert len(summary.histogram([np.tile(stars, 2), np.tile(odd, 3)], (1, 10))) == 10
    assert next(iter(summary.histogram([stars, stars[:5] - 1], (0, 10)))) == "0"
    assert next(iter(summary.histogram([np.arange(12, dtype=np.float32)], (0, 11)))) == "0 to 1.1"


def test_every_rating_is_in_a_bar():
    """The lowest and the highest, too, which float32 may put a little outside of what the scale says."""
    ratings = (0.7 + np.arange(25) / 97).round(6).astype(np.float32)
    scale = (0.7, float(str(ratings.max())))
    assert (float(ratings[0]) < scale[0], sum(summary.histogram([ratings], scale).values())) == (True, 25)


def test_reasons_are_counted_whatever_came():
    rows = [Rejected(file="a", line=line, reason=f"expected x; got {line}", raw="") for line in range(3)]
    rows.append(Rejected(file="a", line=9, reason="expected y; got z", raw=""))
    rows.insert(0, rows.pop())
    assert summary.reasons_of(rows) == {
        "expected x": summary.Reason(rows=3, file="a", line=0),
        "expected y": summary.Reason(rows=1, file="a", line=9),
    }
    assert list(summary.reasons_of(rows)) == ["expected x", "expected y"]


def test_all_of_a_summary_is_plain_data(make_folder, tmp_path):
    files = HUNDRED_K | {"u.data": HUNDRED_K["u.data"] + b"1\t2\tx\t1\n1\t2\t3\tnever\n"}
    folder = make_folder(files)
    written = prepare(folder, tmp_path / "out", max_rejected=1)
    told = json.loads(json.dumps(written.as_json()))
    assert (told["rows"], told["sidecar"]["rows_read"], told["sidecar"]["rejected"]) == (4, 6, 1)
    first = {"rows": 1, "file": f"{folder}/u.data", "line": 5, "unit": "line"}
    assert told["reasons"] == {"expected a user_rating that is a number": first}
    assert told["unread"]["timestamp"].startswith(f"1 rows, the first {folder}/u.data, line 6")
    assert told["density"] == 4 / (told["sidecar"]["users"] * told["sidecar"]["titles"])
    forms = {each["file"].rpartition("/")[2]: (each["separator"], each["encoding"]) for each in told["read_as"]}
    assert forms["u.data"] == ("tab", "utf-8")
    assert forms["u.item"] == ("bar", "latin-1")
    assert written.sidecar.read_as[f"{folder}/u.item"] == {"kind": "text", "encoding": "latin-1", "separator": "bar"}


def test_a_dry_run_tells_the_same_and_leaves_nothing(make_folder, tmp_path):
    folder = make_folder(HUNDRED_K)
    told = prepare(folder, tmp_path / "dry", dry_run=True)
    assert not (tmp_path / "dry").exists()
    written = prepare(folder, tmp_path / "out")
    assert (told.written, written.written) == (False, True)
    assert (told.rows, told.histogram, told.oddities) == (written.rows, written.histogram, written.oddities)
