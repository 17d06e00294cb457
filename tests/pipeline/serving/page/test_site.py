"""The pages over HTTP: what they say beside the signatures, what they escape, and what they say when they cannot."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import re
import threading

import numpy as np
import pytest

from pipeline.serving.answering import Answering
from pipeline.serving.keys import ApiKey
from pipeline.serving.limits import Limits
from tests import support
from tests.pipeline.serving import pushing, servers
from tests.pipeline.serving.page.conftest import LONG, RENAMED, SCRIPT, TURNED
from tests.pipeline.serving.page.pages import Page, ask, page
from tests.pipeline.serving.servers import Running

ROWS = [{**row, "movie_title": RENAMED.get(row["movie_title"], row["movie_title"])} for row in support.camps()[0]]
STARS = {(row["user_id"], row["movie_title"]): row["user_rating"] for row in ROWS}
EVERY = [
    ("/", {}),
    ("/user", {}),
    ("/user", {"id": "u1", "seen": "1", "stages": "1", "n": "30"}),
    ("/user", {"id": "nobody"}),
    ("/new", {}),
    ("/new", {"like": [f"{SCRIPT}=5", "unheard of=2"], "q": "film"}),
    ("/title", {}),
    ("/title", {"name": SCRIPT}),
    ("/title", {"name": "<img src=x onerror=alert(1)>"}),
    ("/model", {}),
    ("/nowhere", {}),
    ("/user", {"from": "<b>"}),
]
EACH = pytest.mark.parametrize(("path", "parameters"), EVERY)


def signature(site: Running, name: str, **inputs: object) -> dict:
    return site.predict({"signature_name": name, "inputs": inputs}).json["outputs"]


@EACH
def test_pages_hold_nothing_of_others_and_run_nothing_of_theirs(site: Running, path: str, parameters: dict) -> None:
    answer = ask(site, path, **parameters)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    found = Page(answer.body)
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], (tag, attributes)
        for name in ("href", "src", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#")), (tag, attributes)
            assert not (attributes.get(name) or "/").startswith("//")
        if tag == "form":
            assert attributes["method"] == "get"
    scripts = [attributes for tag, attributes in found.elements if tag == "script"]
    assert len(scripts) == 1
    assert scripts[0]["src"].startswith("/static/page.js?v=")
    assert [tag for tag, _ in found.elements if tag in ("style", "iframe", "img")] == []


@EACH
def test_pages_are_outlined_and_labelled(site: Running, path: str, parameters: dict) -> None:
    found = Page(ask(site, path, **parameters).body)
    levels = [int(tag[1]) for tag, _ in found.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in found.elements:
        assert attributes.get("aria-labelledby", ids[0]) in ids
    fors = [attributes["for"] for tag, attributes in found.elements if tag == "label" and "for" in attributes]
    assert set(fors) <= set(ids)


def test_a_user_gets_what_the_signature_recommends(site: Running) -> None:
    expected = signature(site, "recommend", user_id=["u1"], k=10, exclude=[], only=[])
    found = page(site, "/user", id="u1")
    assert found.films == expected["movie_title"]
    predicted = signature(site, "predict", user_id=["u1"] * 10, movie_title=expected["movie_title"])
    for stars, deviation, chance in zip(
        *(np.ravel(predicted[name]) for name in ("predicted_rating", "rating_stddev", "prob_at_least")), strict=True
    ):
        assert f"{stars:.2f} ± {deviation:.2f} stars" in found.text
        assert f"{100 * chance:.0f} % for" in found.text


def test_reasons_are_those_of_the_signature(site: Running) -> None:
    found = page(site, "/user", id="u1")
    told = signature(site, "explain", user_id=["u1"], asked_title=[found.films[0]])
    best = int(np.argmax(told["shares"][0]))
    title, share = told["rated_title"][best], told["shares"][0][best]
    assert share > 0
    assert f"for it {title} {share:+.2f}" in found.text
    for name, rest in zip(told["features"], told["feature_shares"][0], strict=True):
        assert f"{name} {rest:+.2f}".replace("-", "−") in found.text


def test_what_a_user_rated_is_told_with_its_stars(site: Running) -> None:
    mine = {title: stars for (user, title), stars in STARS.items() if user == "u1"}
    text = page(site, "/user", id="u1").text
    assert f"Rated {len(mine)}" in text
    for title, stars in mine.items():
        assert f"{title} {stars:g} stars" in text


def test_seen_titles_are_shown_when_asked_for_and_marked(site: Running) -> None:
    mine = {title for user, title in STARS if user == "u1"}
    assert not mine & set(page(site, "/user", id="u1", n="100").films)
    with_seen = page(site, "/user", id="u1", n="100", seen="1")
    assert set(with_seen.films) == {title for _, title in STARS}
    told = signature(site, "explain", user_id=["u1"], asked_title=with_seen.films)
    assert told["score"] == sorted(told["score"], reverse=True)
    marked = [
        attributes for tag, attributes in with_seen.elements if tag == "li" and attributes.get("class") == "film seen"
    ]
    assert len(marked) == len(mine)


@pytest.mark.parametrize("path", ["/user", "/new"])
def test_filters_leave_titles_out(site: Running, path: str) -> None:
    who = {"id": "u1"} if path == "/user" else {}
    old = page(site, path, genre="Old", n="100", seen="1", **who).films
    assert len(old) == 6
    both = page(site, path, genre=["Old"], **{"from": "1982", "to": "1983"}, n="100", seen="1", **who).films
    assert set(both) == {"Film 02 (1982)", "Film 03 (1983)"}
    assert "No title is left" in page(site, path, genre="no such genre", **who).text
    assert page(site, path, **{"from": "2000"}, **who).films[:10] == page(site, path, **{"from": "2000"}, **who).films
    assert "No title is left" in page(site, path, **{"from": "2100"}, **who).text


def test_each_stage_has_its_own_order(site: Running) -> None:
    found = page(site, "/user", id="u1", stages="1")
    assert found.films[-3:] == ["Retrieval", "Ranking", "Final order"]
    assert "Stage by stage" not in page(site, "/user", id="u1").text
    assert "Stage by stage" not in page(site, "/user", id="nobody", stages="1").text


def test_an_unknown_user_gets_what_most_choose_and_a_word(site: Running) -> None:
    found = page(site, "/user", id="nobody\u202e")
    assert "no ratings of such a user" in found.text
    expected = signature(site, "recommend", user_id=["nobody"], k=10, exclude=[], only=[])
    assert found.films == expected["movie_title"]


def test_somebody_new_gets_what_the_signature_recommends(site: Running) -> None:
    likes = {"Film 02 (1982)": 5.0, "Film 08 (1988)": 2.0}
    expected = signature(
        site, "recommend_for", movie_title=list(likes), user_rating=list(likes.values()), k=10, exclude=[], only=[]
    )
    found = page(site, "/new", like=[f"{title}={stars:g}" for title, stars in likes.items()])
    listed = [film for film in found.films if film in expected["movie_title"]]
    assert listed == expected["movie_title"]
    assert not set(likes) & set(listed)


def test_titles_are_found_by_what_is_typed(site: Running) -> None:
    assert "Film 02 (1982)" in page(site, "/new", q="02 fil").text
    titles = site.ask("GET", "/suggest?q=film+2").json["titles"]
    assert set(titles) == {f"Film {place} ({1980 + place})" for place in range(20, 24)}
    # The most rated first.
    counts = [sum(1 for _, rated in STARS if rated == title) for title in titles]
    assert counts == sorted(counts, reverse=True)
    assert site.ask("GET", "/suggest?q=script").json == {"titles": [SCRIPT]}
    assert site.ask("GET", "/suggest?q=").json == {"titles": []}
    assert site.ask("GET", "/suggest").json == {"titles": []}
    assert "No title is like" in page(site, "/new", q="qqqqqqqq").text


def test_a_title_tells_its_ratings_and_by_whom(site: Running) -> None:
    title = "Film 02 (1982)"
    stars = [each for (_, name), each in STARS.items() if name == title]
    found = page(site, "/title", name=title)
    assert f"{len(stars)} ratings" in found.text
    assert f"{np.mean(stars):.2f} stars on average" in found.text
    activity = {user: sum(1 for other, _ in STARS if other == user) for user, _ in STARS}
    few = [each for (user, name), each in STARS.items() if name == title and 3 <= activity[user] < 10]
    many = [each for (user, name), each in STARS.items() if name == title and 10 <= activity[user] < 50]
    for name, group in (("3 to 9", few), ("10 to 49", many)):
        if group:
            high = np.mean([each >= 4 for each in group])
            assert f"{name} {len(group)} {np.mean(group):.2f} {100 * high:.0f} %" in found.text
    alike = signature(site, "similar", movie_title=[title], k=12, exclude=[], only=[])
    for other, cosine in zip(alike["movie_title"], alike["score"], strict=True):
        assert f"{other} {cosine:.2f}".replace("-", "−") in found.text


def test_a_title_is_found_without_its_year(site: Running) -> None:
    assert ("h1", "Film 02 (1982)") in page(site, "/title", name="film 02").headings


def test_an_unknown_title_is_not_found_and_others_are_named(site: Running) -> None:
    answer = ask(site, "/title", name="Film 2")
    assert answer.status == 404
    assert "Film 20 (2000)" in Page(answer.body).text


def test_the_model_is_told_as_far_as_it_is_recorded(site: Running) -> None:
    text = page(site, "/model").text
    version = site.ask("GET", "/v1/models/movie_ranking").json["model_version_status"][0]["version"]
    assert f"Version {version}, pushed on" in text
    assert site.ask("GET", "/model").headers["x-model-digest"] in text
    assert "not on record here" in text
    assert "available" in text


@pytest.mark.parametrize("title", [SCRIPT, LONG, TURNED])
def test_titles_are_text(site: Running, title: str) -> None:
    content = ask(site, "/user", id="u1", seen="1", n="100").body.decode()
    found = Page(content.encode())
    assert title in found.films
    assert "<script>alert" not in content
    if title is not LONG:
        assert ("h1", title) in page(site, "/title", name=title).headings
        assert title in page(site, "/new", like=f"{title}=5").text


@pytest.mark.parametrize(
    "path",
    [
        "/user?id=%ED%A0%80",
        "/new?q=%ED%A0%80&like=%ED%A0%80=5",
        "/title?name=%FF%FE",
        "/suggest?q=%ED%BF%BF",
        "/user?id=%00%0A%0D",
        "/user?id=" + "x" * 7000,
        "/new?like=" + "y" * 5000 + "=5",
        "/title?name=" + "%F0%9F%8E%AC" * 500,
        "/static/..%2f..%2fsite.py",
        "/static/page.css/x",
    ],
)
def test_hostile_requests_are_answered(site: Running, path: str) -> None:
    assert site.ask("GET", path, headers={"Accept": "text/html"}).status in (200, 404)


@pytest.mark.parametrize("query", ["like=x", "like=x%3D9", "from=abc", "n=0", "n=1000000000000"])
def test_what_is_wrong_is_said_on_a_page(site: Running, query: str) -> None:
    answer = site.ask("GET", f"/new?{query}", headers={"Accept": "text/html"})
    assert answer.status == 400
    found = Page(answer.body)
    assert ("h1", "This cannot be shown") in found.headings
    assert "expected" in found.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/user", "/new", "/title", "/model"])
def test_pages_are_only_read(site: Running, method: str, path: str) -> None:
    answer = site.ask(method, path, "id=u1", {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]


def test_programs_are_refused_in_json(site: Running) -> None:
    assert site.ask("GET", "/nowhere").json == {"error": "Not Found: GET /nowhere"}
    assert site.ask("GET", "/v1/models/none").status == 404
    assert site.ask("GET", "/suggest?q=" + "x" * 10).headers["content-type"].startswith("application/json")


def test_static_files_are_kept_by_browsers(site: Running) -> None:
    content = ask(site, "/").body.decode()
    for address in re.findall(r'"(/static/[^"]+)"', content):
        answer = site.ask("GET", address)
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert site.ask("GET", "/static/none.css").status == 404


def test_requests_are_counted_as_those_of_the_page(site: Running) -> None:
    page(site, "/user", id="u3")
    text = site.ask("GET", "/monitoring/prometheus/metrics").body.decode()
    assert re.search(r'movie_ranking_requests_total\{code="OK",protocol="page",signature="recommend"', text)


def test_users_are_not_shown_where_they_must_not_be(page_output: pathlib.Path) -> None:
    with servers.running(page_output, shows_users=False) as hidden:
        assert ask(hidden, "/user", id="u1").status == 404
        for path in ("/", "/new", "/title", "/model"):
            found = page(hidden, path)
            assert not [each for each in found.elements if (each[1].get("href") or "").startswith("/user")]
            assert "/user" not in [each[1].get("action") for each in found.elements]
        assert "Its ratings" in page(hidden, "/title", name="Film 02 (1982)").text


def test_there_is_a_page_before_there_is_a_model(tmp_path: pathlib.Path) -> None:
    (tmp_path / "serving_model").mkdir()
    with servers.running(tmp_path, ready=False) as waiting:
        for path in ("/", "/user?id=u1", "/new", "/title?name=x", "/model"):
            answer = waiting.ask("GET", path, headers={"Accept": "text/html"})
            assert answer.status == 503
            assert ("h1", "No model is in service yet") in Page(answer.body).headings


def test_a_busy_server_says_so_on_a_page(page_output: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(under_way=1)
    entered, go_on = threading.Event(), threading.Event()
    work = Answering._lease

    @contextlib.contextmanager
    def slow(self: Answering, *arguments: object):
        entered.set()
        assert go_on.wait(60)
        with work(self, *arguments) as model:
            yield model

    with servers.running(page_output, limits=limits) as busy:
        monkeypatch.setattr(Answering, "_lease", slow)
        first = threading.Thread(target=ask, args=(busy, "/"))
        first.start()
        assert entered.wait(60)
        answer = ask(busy, "/user", id="u1")
        go_on.set()
        first.join()
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert ("h1", "Too many people ask at once") in Page(answer.body).headings
        assert ask(busy, "/user", id="u1").status == 200


def test_a_model_that_does_not_recommend_says_so(tmp_path: pathlib.Path) -> None:
    pushing.push(support.export_rating(tmp_path / "model"), tmp_path / "output")
    with servers.running(tmp_path / "output") as rating:
        answer = ask(rating, "/user", id="u1")
        assert answer.status == 501
        assert ("h1", "This model does not recommend") in Page(answer.body).headings


def test_a_key_opens_the_pages_as_a_password(page_output: pathlib.Path) -> None:
    import base64

    with servers.running(page_output, api_key=ApiKey("a key of sixteen or more")) as locked:
        refused = ask(locked, "/")
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        assert ("h1", "This server asks for a key") in Page(refused.body).headings
        for key, status in (("a key of sixteen or more", 200), ("another", 401)):
            given = base64.b64encode(f"anybody:{key}".encode()).decode()
            assert locked.ask("GET", "/", headers={"Authorization": f"Basic {given}"}).status == status
