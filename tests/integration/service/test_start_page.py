"""Starting studies from a form: its fields, its file, what it says, and that it starts once."""

import re
from html import unescape

import pytest
import yaml

from schedsearch.app import draft
from schedsearch.app.config import parse_study
from schedsearch.app.precedent import expected
from schedsearch.errors import InputError
from schedsearch.service.pages.start_page import FIELDS
from schedsearch.store.store import open_store
from tests.integration.service.conftest import STUDY
from tests.integration.service.test_access import logged_in
from tests.integration.service.test_study_page import SEARCHED, searched  # noqa: F401
from tests.integration.test_stored_specs import LATENCY

API = "/api/v1"


@pytest.fixture
def form(service):
    """What a browser of scope launch sends besides; and the service."""
    logged_in(service, service.token("launch"))
    page = service.client.get("/start").text
    return service, {name: hidden(page, name) for name in ("csrf", "key")}


def hidden(page, name):
    return re.search(rf'name="{name}" value="([^"]+)"', page).group(1)


def file_of(page):
    return unescape(page.partition("<textarea")[2].partition(">\n")[2].partition("</textarea>")[0])


def fault(page):
    found = re.search(r'id="fault">([^<]*)<', page)
    return unescape(found.group(1)) if found else ""


def test_form_begins_with_a_study_that_can_be_started(form):
    service, _ = form
    page = service.client.get("/start").text
    assert file_of(page) == draft.TEMPLATE
    assert "This study can be started" in page


@pytest.mark.parametrize(
    "text",
    [
        STUDY.replace("tolerance: 1", "tolerance: many"),
        STUDY.replace("tolerance: 1, ", ""),
        STUDY.replace("model: demo", "model: /etc"),
        STUDY.replace("floor", "flor"),
        STUDY + "run: {executor: ray}",
        "study: [",
        "",
    ],
)
def test_form_says_what_the_command_line_and_the_interface_say(form, text):
    service, hidden_fields = form
    page = service.client.post("/start", data=hidden_fields | {"text": text, "ask": "check"})
    answer = service.client.post(
        f"{API}/studies:validate", content=text, headers=service.by("launch")
    )
    assert (page.status_code, answer.status_code) == (200, 422)
    assert fault(page.text) == answer.json()["detail"]
    with pytest.raises(InputError) as error:
        service.client.app.state.office.launching.validated(parse_study(text, "study"))
    assert fault(page.text) == str(error.value)
    assert service.store.service.launches() == []


def test_fault_is_shown_at_its_field(form):
    service, hidden_fields = form
    text = STUDY.replace("tolerance: 1", "tolerance: -1")
    page = service.client.post("/start", data=hidden_fields | {"text": text}).text
    (wrong,) = re.findall(r'<(?:input|select) id="([^"]+)"[^>]*aria-invalid', page)
    assert wrong == draft.GREATEST_DROP
    assert "`search.tolerance`" in fault(page)


def test_field_writes_into_the_file(form):
    service, hidden_fields = form
    asked = {"text": STUDY, "ask": "fill", "study": "2024", "data.calibration_samples": "7"}
    page = service.client.post("/start", data=hidden_fields | asked).text
    content = yaml.safe_load(file_of(page))
    assert content == yaml.safe_load(STUDY) | {
        "study": "2024",
        "data": {"calibration": "demo:calibration", "calibration_samples": 7},
    }
    asked = {"text": STUDY, "ask": "fill", "data.calibration_samples": "", "metric": "nonsense"}
    page = service.client.post("/start", data=hidden_fields | asked).text
    assert "calibration_samples" not in file_of(page)
    assert fault(page).startswith("study: `metric`")


def test_field_of_a_file_that_is_none_leaves_it_as_it_is(form):
    service, hidden_fields = form
    asked = hidden_fields | {"text": "study: [", "ask": "fill", "study": "other"}
    page = service.client.post("/start", data=asked).text
    assert file_of(page) == "study: ["
    assert "not valid YAML" in fault(page)


def test_other_sampler_takes_over_what_it_has_too():
    text = draft.changed(STUDY, "search.sampler", "frontier")
    assert yaml.safe_load(text)["search"] == {"sampler": "frontier", "first": 7, "max_drop": 1}
    parse_study(text, "study")
    assert draft.GREATEST_DROP in draft.allowed(text, FIELDS)
    assert "search.budget.flops" not in draft.allowed(text, FIELDS)
    text = draft.changed(text, "search.sampler", "bayes")
    assert "search.budget.flops" in draft.allowed(text, FIELDS)
    text = draft.changed(text, "search.budget.flops", 0.5)
    assert parse_study(text, "study").search.budget == {"flops": 0.5}
    assert (
        "budget" not in yaml.safe_load(draft.changed(text, "search.budget.flops", None))["search"]
    )


def test_form_that_is_sent_twice_makes_one_study(form):
    service, hidden_fields = form
    asked = hidden_fields | {"text": STUDY, "ask": "start"}
    for _ in range(2):
        answer = service.client.post("/start", data=asked, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/studies/small")
    (launch,) = service.store.service.launches()
    assert launch.state == "QUEUED"
    assert [one.action for one in service.store.service.audits()] == ["start", "create"]
    other = asked | {"text": STUDY.replace("small", "other"), "ask": "create"}
    answer = service.client.post("/start", data=other, follow_redirects=False)
    assert answer.headers["location"] == "/studies/other"
    assert service.store.service.launch("other").state == "CREATED"


def test_study_that_cannot_be_made_is_given_back_with_the_reason(form):
    service, hidden_fields = form
    service.client.post(f"{API}/studies", content=STUDY, headers=service.by("launch"))
    answer = service.client.post("/start", data=hidden_fields | {"text": STUDY, "ask": "start"})
    assert answer.status_code == 422
    assert "there is a study `small` already" in fault(answer.text)
    assert file_of(answer.text).strip() == STUDY.strip()
    assert service.store.service.launch("small").state == "CREATED"


def test_study_is_cloned_with_its_settings_under_another_name(form):
    service, _ = form
    service.client.post(f"{API}/studies", content=STUDY, headers=service.by("launch"))
    clone = yaml.safe_load(file_of(service.client.get("/start?from=small").text))
    launch = service.store.service.launch("small")
    assert clone == dict(launch.content) | {"study": "small-2"}
    assert service.client.get("/start?from=none").status_code == 404


def test_names_that_look_like_markup_are_text(form):
    service, hidden_fields = form
    text = "study: '</textarea><script>alert(1)</script>'\nmodel: '\"><img src=x>'\n"
    page = service.client.post("/start", data=hidden_fields | {"text": text}).text
    assert "<script>alert" not in page
    assert "<img src=x>" not in page
    assert file_of(page) == text


def test_form_needs_its_token_and_its_scope(form):
    service, hidden_fields = form
    guessed = hidden_fields | {"csrf": "guessed", "text": STUDY, "ask": "start"}
    assert service.client.post("/start", data=guessed).status_code == 403
    service.client.cookies.clear()
    logged_in(service, service.token("read"))
    assert service.client.get("/start").status_code == 403
    page = service.client.get("/studies").text
    assert 'href="/start"' not in page
    own = hidden(page, "csrf")
    refused = service.client.post("/start", data={"csrf": own, "text": STUDY, "ask": "start"})
    assert refused.status_code == 403
    assert service.store.service.launches() == []


def test_cost_is_that_of_the_last_like_study(searched):  # noqa: F811
    config = parse_study(SEARCHED.replace("samples: 30", "samples: 60"), "study")
    with open_store(searched, read_only=True) as store:
        found = expected(config, store)
        attempts = store.last_attempts("small").values()
        assert found.passes == store.effort("small").spent
        work = sum((one.ended - one.started).total_seconds() for one in attempts)
        other = parse_study(draft.changed(SEARCHED, "search.sampler", "auto"), "study")
        unlike = expected(other, store)
        assert (unlike.passes, unlike.same, unlike.can_plan) == (None, False, False)
        planned = expected(config, store, plan=True)
        assert planned.can_plan
        assert 0 < planned.passes <= planned.most
        a_pass = found.seconds / found.passes
        assert planned.seconds == pytest.approx(planned.passes * a_pass)
    assert (found.samples, found.like) == (60, "small")
    assert found.seconds == pytest.approx(2 * work, rel=0.01)  # one at a time, twice the samples


def test_cost_is_by_the_profile_that_the_file_names(searched, tmp_path):  # noqa: F811
    (tmp_path / "profile.json").write_text(LATENCY.to_json())
    search = {"sampler": "bayes", "budget": {"milliseconds": 5}}
    text = yaml.safe_dump(yaml.safe_load(SEARCHED) | {"search": search})
    config = parse_study(draft.changed(text, "search.latency", str(tmp_path / "profile.json")), "s")
    with open_store(searched, read_only=True) as store:
        found = expected(config, store)
    layers = 8 * LATENCY.layer_time(64 + 20)
    assert found.pass_seconds == pytest.approx(30 * (2.0 + layers) / 1e3)
    assert found.passes is None


def test_plan_of_a_form_searches_stand_ins(serve, searched):  # noqa: F811
    service = serve(store=str(searched))
    logged_in(service, service.token("launch"))
    shown = service.client.get("/start").text
    assert "Judged by small, the last study" in shown
    assert 'value="plan"' in shown
    text = SEARCHED.replace("small", "other")
    page = service.client.post(
        "/start", data={"csrf": hidden(shown, "csrf"), "text": text, "ask": "plan"}
    ).text
    assert "Judged by searching stand-ins of the size of the model" in page
    assert "study: other" in file_of(page)
    unlike = draft.changed(text, "search.sampler", "auto")
    page = service.client.post(
        "/start", data={"csrf": hidden(shown, "csrf"), "text": unlike, "ask": "plan"}
    ).text
    assert "It cannot be planned" in page
