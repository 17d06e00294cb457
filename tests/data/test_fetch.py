from __future__ import annotations

import functools
import hashlib
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import venv
import zipfile
from collections.abc import Iterator

import pytest

from data import fetch as fetching
from data.errors import ChecksumError, DataError, FetchError
from data.fetch import UnreachableError, fetch, mirror_wheel, official_archive
from data.progress import silent
from tests.data.small_releases import HUNDRED_K, HUNDRED_K_TABLES, ONE_M, RECBOLE, tables_in

CHECKSUMS = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in HUNDRED_K_TABLES.items()}
CLOSED = "http://127.0.0.1:1/ml-100k.zip"


@pytest.fixture
def served(tmp_path) -> Iterator[tuple[pathlib.Path, str]]:
    """A folder, and the address of a server that serves it."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *arguments):
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def unreachable(folder, progress):
    raise UnreachableError("out of order")


def never(folder, progress):
    raise AssertionError("this source must not be tried")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("files", [HUNDRED_K, RECBOLE], ids=["GroupLens", "RecBole"])
def test_given_source_is_the_only_one(files, packed, make_folder, make_zip, said, tmp_path):
    source = (make_zip if packed else make_folder)(files)
    summary = fetch(tmp_path / "out", source=source, checksums=CHECKSUMS, origins=[("never", never)], say=said.append)
    assert tables_in(tmp_path / "out") == HUNDRED_K_TABLES
    assert (summary.sidecar.rows_read, summary.sidecar.merged, summary.reused) == (4, 1, False)
    assert said == [fetching.LICENCE]


@pytest.mark.parametrize("files", [{"notes.txt": b""}, ONE_M, HUNDRED_K | {"u.data": b"1\t1\t9\t1\n"}])
def test_given_source_that_is_wrong_is_an_error_and_no_other_is_tried(files, make_folder, tmp_path):
    with pytest.raises(DataError):
        fetch(tmp_path / "out", source=make_folder(files), checksums=CHECKSUMS, origins=[("never", never)])
    assert not (tmp_path / "out").exists()


def test_what_is_complete_is_reused_in_silence(make_folder, said, tmp_path):
    first = fetch(tmp_path / "out", source=make_folder(HUNDRED_K), checksums=CHECKSUMS, say=said.append)
    said.clear()
    second = fetch(tmp_path / "out", checksums=CHECKSUMS, origins=[("never", never)], say=said.append)
    assert second.reused
    assert said == []
    assert second.sidecar == first.sidecar


@pytest.mark.parametrize("how", ["cut", "gone"])
@pytest.mark.parametrize("name", ["ratings.csv", "titles.csv", "users.csv", "ratings.json"])
def test_what_is_damaged_is_fetched_again(name, how, make_folder, make_zip, tmp_path):
    fetch(tmp_path / "out", source=make_folder(HUNDRED_K), checksums=CHECKSUMS)
    path = tmp_path / "out" / name
    path.unlink() if how == "gone" else path.write_bytes(path.read_bytes()[:-9])
    summary = fetch(tmp_path / "out", source=make_zip(HUNDRED_K), checksums=CHECKSUMS)
    assert not summary.reused
    assert tables_in(tmp_path / "out") == HUNDRED_K_TABLES
    assert summary.sidecar.matches(tmp_path / "out")


def test_a_folder_of_an_earlier_version_is_made_anew(make_folder, tmp_path):
    """Its ratings had the columns of all tables, and its record other fields."""
    text = "user_id,movie_title,user_rating,genres\n1,A,4,Drama\n"
    (tmp_path / "out").mkdir()
    (tmp_path / "out/ratings.csv").write_text(text)
    record = {
        "rating_scale": [1, 5],
        "rows": 1,
        "users": 1,
        "titles": 1,
        "columns": ["user_id", "movie_title", "user_rating", "genres"],
        "rows_read": 1,
        "rejected": 0,
        "source": "MovieLens 100K",
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "files": ["ratings.csv"],
        "noise_floor": None,
    }
    (tmp_path / "out/ratings.json").write_text(json.dumps(record))
    summary = fetch(tmp_path / "out", source=make_folder(HUNDRED_K), checksums=CHECKSUMS)
    assert not summary.reused
    assert tables_in(tmp_path / "out") == HUNDRED_K_TABLES
    assert fetch(tmp_path / "out", checksums=CHECKSUMS, origins=[("never", never)]).reused


def test_sources_are_tried_in_turn_and_skipped_with_one_line(make_zip, said, tmp_path):
    archive = make_zip(HUNDRED_K)
    origins = [("first", unreachable), ("second", lambda folder, progress: archive), ("third", never)]
    fetch(tmp_path / "out", checksums=CHECKSUMS, origins=origins, say=said.append)
    assert said == [fetching.LICENCE, "skipped first: out of order", "got MovieLens 100K from second"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "ratings.csv",
        "ratings.json",
        "titles.csv",
        "users.csv",
    ]


def test_no_source_at_all_names_each_and_the_remedy(tmp_path):
    with pytest.raises(FetchError, match=r"one: out of order; two: out of order; download .*ml-100k\.zip.*--source"):
        fetch(tmp_path / "out", origins=[("one", unreachable), ("two", unreachable)])
    assert not (tmp_path / "out").exists()


def test_tables_with_another_checksum_are_an_error(make_folder, tmp_path):
    expected, got = (checksums["titles.csv"] for checksums in (fetching.CHECKSUMS, CHECKSUMS))
    with pytest.raises(ChecksumError, match=rf"expected tables .*titles\.csv {expected}.*got .*titles\.csv {got}"):
        fetch(tmp_path / "out", source=make_folder(HUNDRED_K))
    assert not (tmp_path / "out").exists()


def test_official_archive_over_http(served, make_zip, tmp_path):
    folder, address = served
    content = make_zip(HUNDRED_K).read_bytes()
    (folder / "ml-100k.zip").write_bytes(content)
    reports = []
    origin = functools.partial(
        official_archive, url=f"{address}/ml-100k.zip", md5=hashlib.md5(content, usedforsecurity=False).hexdigest()
    )
    fetch(
        tmp_path / "out",
        checksums=CHECKSUMS,
        origins=[("server", origin), ("never", never)],
        progress=lambda *report: reports.append(report),
    )
    assert tables_in(tmp_path / "out") == HUNDRED_K_TABLES
    assert reports[0][0] == "downloading ml-100k.zip"
    assert ("downloading ml-100k.zip", len(content), len(content), "bytes") in reports


def test_official_archive_that_is_another_is_an_error_and_no_other_source_is_tried(served, tmp_path):
    folder, address = served
    (folder / "ml-100k.zip").write_bytes(b"<html>Please log in</html>")
    received = hashlib.md5(b"<html>Please log in</html>", usedforsecurity=False).hexdigest()
    origin = functools.partial(official_archive, url=f"{address}/ml-100k.zip")
    with pytest.raises(ChecksumError, match=f"MD5 {fetching.OFFICIAL_MD5} from {address}.*got {received}.*--source"):
        fetch(tmp_path / "out", origins=[("server", origin), ("never", never)])
    assert not (tmp_path / "out").exists()


class _Breaking(http.server.BaseHTTPRequestHandler):
    """Sends half of the content, the whole after as many requests as are said, and its length only if asked to."""

    content = b""
    broken = 0
    says_length = True

    def do_GET(self) -> None:
        whole = type(self).broken <= 0
        type(self).broken -= 1
        self.send_response(200)
        if self.says_length:
            self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content if whole else self.content[: len(self.content) // 2])

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def breaking(make_zip) -> Iterator[tuple[type[_Breaking], functools.partial]]:
    content = make_zip(HUNDRED_K).read_bytes()
    handler = type("Handler", (_Breaking,), {"content": content})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/ml-100k.zip"
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        yield handler, functools.partial(official_archive, url=url, md5=md5)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("says_length", [True, False])
def test_a_download_that_breaks_off_is_tried_again(breaking, says_length, tmp_path):
    handler, origin = breaking
    handler.broken, handler.says_length = 2, says_length
    fetch(tmp_path / "out", checksums=CHECKSUMS, origins=[("server", origin), ("never", never)])
    assert tables_in(tmp_path / "out") == HUNDRED_K_TABLES


@pytest.mark.parametrize("says_length", [True, False])
def test_one_that_breaks_off_again_and_again_leaves_it_to_the_next_source(
    breaking, says_length, make_zip, said, tmp_path
):
    handler, origin = breaking
    handler.broken, handler.says_length = 99, says_length
    archive = make_zip(HUNDRED_K, "other")
    origins = [("server", origin), ("other", lambda *_: archive)]
    fetch(tmp_path / "out", checksums=CHECKSUMS, origins=origins, say=said.append)
    assert said[1].startswith("skipped server: the download broke off 3 times, the last after ")
    assert tables_in(tmp_path / "out") == HUNDRED_K_TABLES


@pytest.mark.parametrize(("path", "reason"), [("/missing.zip", "404"), (None, "refused")])
def test_official_archive_that_cannot_be_reached_is_skipped(path, reason, served, make_zip, said, tmp_path):
    url = CLOSED if path is None else served[1] + path
    archive = make_zip(HUNDRED_K)
    origins = [("server", functools.partial(official_archive, url=url)), ("other", lambda *_: archive)]
    fetch(tmp_path / "out", checksums=CHECKSUMS, origins=origins, say=said.append)
    assert said[1].startswith("skipped server: ")
    assert reason in said[1]
    assert "\n" not in said[1]


@pytest.fixture
def wheelhouse(tmp_path, monkeypatch) -> pathlib.Path:
    """A folder of wheels that stands in the package index's place."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_mirror_takes_the_release_out_of_a_wheel_that_pip_finds(wheelhouse, said, tmp_path):
    info = "recbole-1.2.1.dist-info/"
    with zipfile.ZipFile(wheelhouse / "recbole-1.2.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "")
        for name, content in RECBOLE.items():
            wheel.writestr(f"recbole/dataset_example/ml-100k/{name}", content)
    fetch(tmp_path / "out", checksums=CHECKSUMS, origins=[("mirror", mirror_wheel)], say=said.append)
    assert tables_in(tmp_path / "out") == HUNDRED_K_TABLES
    assert said[1:] == ["got MovieLens 100K from mirror"]


def test_mirror_without_the_wheel_is_skipped(wheelhouse, tmp_path):
    with pytest.raises(UnreachableError, match=r"No matching distribution found for recbole==1\.2\.1"):
        mirror_wheel(tmp_path, silent)


def test_mirror_without_pip_says_how_to_get_it(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    with pytest.raises(UnreachableError, match=r"has no pip; .*ensurepip"):
        mirror_wheel(tmp_path, silent, python=str(tmp_path / "bare/bin/python"))


def test_default_folder_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetching.default_folder() == tmp_path / "movie-ranking" / "ml-100k"


def test_movielens_100k_from_its_folder(movielens_100k, tmp_path):
    summary = fetch(tmp_path / "out", source=movielens_100k, say=lambda line: None)
    assert (summary.sidecar.rows, summary.sidecar.users, summary.sidecar.titles) == (99_693, 943, 1_664)
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in tables_in(tmp_path / "out").items()}
    assert digests == fetching.CHECKSUMS


@pytest.mark.slow
def test_movielens_100k_from_the_real_mirror(tmp_path):
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--timeout=10", "--retries=0"]
    probe = subprocess.run([*command, "--dest", str(tmp_path), "recbole==1.2.1"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("pip reaches no index with recbole==1.2.1")
    summary = fetch(tmp_path / "out", origins=[("mirror", mirror_wheel)], say=lambda line: None)
    assert summary.sidecar.checksums == fetching.CHECKSUMS
    assert summary.sidecar.matches(tmp_path / "out")
