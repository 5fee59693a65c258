"""Who may ask a service for what."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from schedsearch.app.tokens import create_token
from schedsearch.service.auth import COOKIE, CSRF_HEADER
from tests.integration.service.conftest import STUDY

API = "/api/v1"


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    return body["detail"]


def test_nobody_is_answered_without_a_token(service):
    answer = service.client.get(f"{API}/studies")
    assert "a token is needed" in problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "text", ["", "x", "schs_1_x", "schs_99_x", "schs__", "schs_1_", "schs_\N{SUPERSCRIPT TWO}_x"]
)
def test_wrong_token_is_good_for_nothing(service, text):
    service.token()
    answer = service.client.get(
        f"{API}/studies", headers={"Authorization": f"Bearer {text}".encode()}
    )
    problem(answer, 401)


def test_secret_of_one_token_does_not_open_another(service):
    first, second = service.token(), service.token()
    mixed = f"schs_1_{second.split('_', 2)[2]}"
    assert mixed.split("_", 2)[:2] == first.split("_", 2)[:2]
    problem(service.client.get(f"{API}/studies", headers={"Authorization": f"Bearer {mixed}"}), 401)


def test_expired_token_is_good_for_nothing(service):
    token = service.token("admin", timedelta(microseconds=1))
    answer = service.client.get(f"{API}/studies", headers={"Authorization": f"Bearer {token}"})
    assert "expired" in problem(answer, 401)


def test_revoked_token_is_good_for_nothing_and_so_are_its_sessions(service):
    token = service.token("admin")
    headers = {"Authorization": f"Bearer {token}"}
    logged_in(service, token)
    assert service.client.get("/").status_code == 200
    number = service.client.get(f"{API}/token", headers=headers).json()["id"]
    admin = service.by("admin")
    assert service.client.delete(f"{API}/tokens/{number}", headers=admin).status_code == 204
    problem(service.client.get(f"{API}/studies", headers=headers), 401)
    answer = service.client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("read", "post", "/studies"),
        ("read", "post", "/studies/small/start"),
        ("read", "delete", "/studies/small"),
        ("read", "get", "/tokens"),
        ("launch", "post", "/tokens"),
        ("launch", "get", "/audits"),
        ("launch", "delete", "/tokens/1"),
    ],
)
def test_token_of_less_scope_is_refused(service, scope, method, path):
    answer = service.client.request(method, f"{API}{path}", headers=service.by(scope))
    assert f"but got one of {scope}" in problem(answer, 403)


def logged_in(service, token):
    """Log in by the form, as a browser does."""
    page = service.client.get("/login").text
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    assert csrf
    answer = service.client.post(
        "/login", data={"token": token, "csrf": csrf}, follow_redirects=False
    )
    assert answer.status_code == 303
    return answer


def test_session_cookie_is_out_of_reach_of_scripts_and_other_sites(service):
    cookie = logged_in(service, service.token())
    attributes = cookie.headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=strict", "Path=/", "expires="):
        assert attribute in attributes
    assert "Secure" not in attributes


def test_session_cookie_travels_by_https_alone_where_there_is_https(serve):
    service = serve(secure=True)
    service.client.base_url = "https://localhost"
    assert "Secure" in logged_in(service, service.token()).headers["set-cookie"]


def test_browser_needs_the_token_of_its_session_to_write(service):
    logged_in(service, service.token("launch"))
    assert service.client.get(f"{API}/studies").status_code == 200
    answer = service.client.post(f"{API}/studies", content=STUDY)
    assert CSRF_HEADER in problem(answer, 403)
    answer = service.client.post(f"{API}/studies", content=STUDY, headers={CSRF_HEADER: "0" * 64})
    problem(answer, 403)
    page = service.client.get("/").text
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    answer = service.client.post(f"{API}/studies", content=STUDY, headers={CSRF_HEADER: csrf})
    assert answer.status_code == 201


def test_form_of_another_visitor_logs_nobody_in(service):
    service.client.get("/login")
    answer = service.client.post("/login", data={"token": service.token(), "csrf": "guessed"})
    assert answer.status_code == 403
    assert COOKIE not in service.client.cookies


def test_logging_out_ends_the_session(service):
    logged_in(service, service.token())
    secret = service.client.cookies[COOKIE]
    page = service.client.get("/").text
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    assert service.client.post("/logout", data={"csrf": "guessed"}).status_code == 403
    service.client.post("/logout", data={"csrf": csrf})
    service.client.cookies.set(COOKIE, secret)
    problem(service.client.get(f"{API}/studies"), 401)


def test_session_ends_with_its_time(service):
    token = create_token(service.store.service, "mine", "admin").token
    late = datetime.now(UTC) - timedelta(seconds=1)
    service.store.service.add_session(token.id, sha256(b"secret").hexdigest(), late)
    service.client.cookies.set(COOKIE, "secret")
    assert "has ended" in problem(service.client.get(f"{API}/studies"), 401)


def test_link_of_the_start_logs_in_once(service):
    code = service.client.app.state.gate.offer(service.token())
    answer = service.client.get(f"/login?code={code}", follow_redirects=False)
    assert answer.status_code == 303
    assert COOKIE in answer.headers["set-cookie"]
    service.client.cookies.clear()
    answer = service.client.get(f"/login?code={code}", follow_redirects=False)
    assert answer.status_code == 200
    assert "The link has been used" in answer.text


def test_a_thousand_logins_a_minute_are_told_to_wait(service):
    statuses = []
    for attempt in range(1000):
        answer = service.client.get(
            f"{API}/studies", headers={"Authorization": f"Bearer schs_1_{attempt}"}
        )
        statuses.append(answer.status_code)
    assert statuses[:10] == [401] * 10
    assert set(statuses[10:]) == {429}
    assert answer.headers["retry-after"] == "60"
    assert service.client.get(f"{API}/studies", headers=service.by("read")).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[::2]", "[evil"])
def test_service_answers_to_its_own_names_alone(service, host):
    answer = service.client.get(f"{API}/studies", headers={"Host": host, **service.by("read")})
    assert "not called so" in problem(answer, 421)


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000"])
def test_service_answers_on_loopback(service, host):
    answer = service.client.get(f"{API}/studies", headers={"Host": host, **service.by("read")})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/login", "/healthz", f"{API}/studies", f"{API}/nothing", "/x"])
def test_every_answer_has_security_headers(service, path):
    headers = service.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]


def test_audits_say_who_did_what_and_only_admins_read_them(service):
    launch = service.by("launch")
    service.client.post(f"{API}/studies", content=STUDY, headers=launch)
    service.client.post(f"{API}/studies/small/start", headers=launch)
    service.client.delete(f"{API}/studies/small", headers=launch)
    found = service.client.get(f"{API}/audits", headers=service.by("admin")).json()
    actions = [(one["action"], one["object"]) for one in reversed(found["audits"])]
    assert actions == [("create", "small"), ("start", "small")]
    assert {one["who"] for one in found["audits"]} == {"launch (token 1)"}
    assert {one["origin"] for one in found["audits"]} == {"testclient"}


def test_audits_come_page_by_page(service):
    admin = service.by("admin")
    for number in range(5):
        body = {"name": f"t{number}", "scope": "read"}
        service.client.post(f"{API}/tokens", json=body, headers=admin)
    first = service.client.get(f"{API}/audits?limit=3", headers=admin).json()
    rest = service.client.get(f"{API}/audits?cursor={first['cursor']}", headers=admin).json()
    numbers = [one["id"] for one in first["audits"] + rest["audits"]]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 5
    assert rest["cursor"] is None


def test_secrets_are_stored_nowhere(service):
    made = service.client.post(
        f"{API}/tokens", json={"name": "mine", "scope": "read"}, headers=service.by("admin")
    ).json()
    secret = made["token"].split("_", 2)[2]  # which may have an underscore of its own
    content = b"".join(
        path.read_bytes() for path in service.settings.folder.parent.glob("store.db*")
    )
    assert b"mine" in content
    assert secret.encode() not in content


def test_method_that_a_path_does_not_have_is_told_those_that_it_has(service):
    answer = service.client.request("PATCH", f"{API}/studies", headers=service.by("read"))
    assert "can be asked" in problem(answer, 405)
    assert answer.headers["allow"] == "GET, POST"
