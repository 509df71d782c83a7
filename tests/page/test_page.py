"""examples/page in a real Chromium, on Longhaul as shipped. The model holds its words back until a test lets it go on,
so each test knows where in the middle it is.
"""

import itertools
import json
import time
import uuid

import pytest

from .chromium import PATIENCE_S, Page
from .site import KEY, Site

WORDS = 12
ENTER = ("Enter", 13, 0, "\r")


def connect(page: Page, site: Site, key: str = KEY, url: str | None = None) -> None:
    """Opens the page and tells it where the gateway is, as its reader does."""
    page.open(url or site.url)
    page.run("document.getElementById('connection').open = true")
    page.type("gateway", site.system.url)
    page.type("key", key)
    page.press("Tab", 9)


def ask(page: Page, message: str) -> str:
    """The task's id, which is in the address."""
    page.type("message", message)
    page.click("send")
    return str(page.until("new URLSearchParams(location.hash.slice(1)).get('task')"))


def held(page: Page, site: Site) -> tuple[str, str, str]:
    """A task whose model has said the first half of WORDS and holds the rest back: its id, its word, what is shown."""
    word = uuid.uuid4().hex[:8]
    task_id = ask(page, f"[[hold_token={WORDS // 2 + 1} tokens={WORDS}]] hello {word}")
    return task_id, word, page.until_text("answer", "[simulated]")


def note_changes(page: Page) -> None:
    """From now on: all that the answer and the state of the connection ever show, by what the browser says of them."""
    page.run(
        "window.shown = {answer: [], link: []};"
        "for (const id of ['answer', 'link']) {"
        "  const element = document.getElementById(id);"
        "  new MutationObserver(() => shown[id].push(element.textContent))"
        "    .observe(element, {childList: true, characterData: true, subtree: true}); } 1"
    )


def grew_to(page: Page, answer: str) -> list[str]:
    """What the answer showed in between: each a beginning of the whole, so nothing came twice or in another order."""
    shown: list[str] = [text for text in page.run("shown.answer") if text]
    assert shown[-1] == answer
    assert all(answer.startswith(text) for text in shown), shown
    assert all(len(earlier) <= len(later) for earlier, later in itertools.pairwise(shown)), shown
    return shown


def release(site: Site, word: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not site.release(word):
        assert time.monotonic() < until, "the model does not wait"
        time.sleep(0.03)


def ended(page: Page, status: str) -> str:
    """The answer that is shown when the task has that status."""
    page.until(f"document.getElementById('status').className === '{status}'")
    page.until("document.getElementById('answer').getAttribute('aria-busy') === 'false'")
    return page.text("answer")


def test_a_task_is_sent_and_followed_to_its_result(page: Page, site: Site):
    connect(page, site)
    page.until("document.getElementById('model').options.length > 1")
    unconnected = len(page.complaints())
    task_id = ask(page, "Compute (123 * 456 + 789) / 3")
    answer = ended(page, "success")
    task = site.system.final(task_id)
    assert answer == task["result"]
    assert "18959" in answer
    assert page.text("status") == "success (simulated)"
    steps = page.run("[...document.querySelectorAll('#steps li')].map(step => step.innerText)")
    assert len(steps) == 3, steps
    assert "calculator" in steps[1]
    assert "(123 * 456 + 789) / 3" in steps[1], "its arguments"
    assert "18959" in steps[1], "its result"
    assert page.text("tokens") == str(task["token_usage"]["total_tokens"])
    assert page.text("cost") == "$0"
    assert page.text("duration").endswith("s")
    assert page.text("link") == ""
    assert page.run("document.getElementById('cancel').disabled")
    assert page.complaints()[unconnected:] == []


def test_words_come_while_the_model_still_speaks_and_a_reload_shows_each_once(page: Page, site: Site):
    connect(page, site)
    task_id, word, begun = held(page, site)
    assert page.text("status") == "running"
    assert page.text("link") == "live"
    page.reload()
    assert page.run("location.hash") == f"#task={task_id}"
    page.until_text("answer", begun)
    note_changes(page)
    release(site, word)
    answer = ended(page, "success")
    assert answer == site.system.final(task_id)["result"]
    assert answer != begun
    grew_to(page, answer)
    assert len(page.run("[...document.querySelectorAll('#steps li')]")) == 1


def test_each_word_comes_while_the_next_is_held_back(page: Page, site: Site):
    connect(page, site)
    note_changes(page)
    word = uuid.uuid4().hex[:8]
    task_id = ask(page, f"[[hold_each tokens={WORDS}]] hello {word}")
    page.until_text("answer", "[")
    while page.run("document.getElementById('answer').getAttribute('aria-busy')") == "true":
        said = len(page.text("answer"))
        site.release(word)
        page.until(
            f"document.getElementById('answer').textContent.length > {said}"
            " || document.getElementById('answer').getAttribute('aria-busy') === 'false'"
        )
    answer = ended(page, "success")
    assert answer == site.system.final(task_id)["result"]
    assert len(set(grew_to(page, answer))) == WORDS


def test_it_goes_on_when_the_gateway_is_killed_and_comes_back(page: Page, site: Site):
    connect(page, site)
    task_id, word, begun = held(page, site)
    note_changes(page)
    before = site.system.pid("gateway-1")
    site.system.kill("gateway-1")
    page.until("shown.link.some(link => link.includes('reconnecting'))")
    page.until("shown.link.at(-1) === 'live'")
    assert site.system.pid("gateway-1") != before
    assert page.text("answer").startswith(begun)
    release(site, word)
    answer = ended(page, "success")
    assert answer == site.system.final(task_id)["result"]
    grew_to(page, answer)
    assert len(page.run("[...document.querySelectorAll('#steps li')]")) == 1


def test_it_goes_on_when_the_browser_has_given_up(page: Page, site: Site):
    """An EventSource does so at any answer but 200, as when its token has expired: here at a real 401."""
    connect(page, site)
    page.run(
        "window.urls = []; const Real = EventSource;"
        "window.EventSource = class extends Real {"
        "  constructor(url) {"
        "    super(urls.length === 1 ? url.replace(/watch_token=[^&]*/, 'watch_token=expired') : url);"
        "    urls.push(url); window.source = this; } }; 1"
    )
    task_id, word, begun = held(page, site)
    page.until("document.getElementById('link').textContent === 'live'")
    note_changes(page)
    page.run("source.close(); source.dispatchEvent(new Event('error')); 1")
    page.until("urls.length === 3 && shown.link.at(-1) === 'live'")
    assert "from" not in page.run("urls[0]")
    assert all("&from=" in url for url in page.run("urls.slice(1)"))
    release(site, word)
    answer = ended(page, "success")
    assert answer == site.system.final(task_id)["result"]
    assert answer.startswith(begun)
    grew_to(page, answer)


def test_cancel_stops_it(page: Page, site: Site):
    connect(page, site)
    task_id, word, begun = held(page, site)
    page.click("cancel")
    assert ended(page, "cancelled").startswith(begun), "what it had said stays"
    assert site.system.final(task_id)["status"] == "cancelled"
    until = time.monotonic() + PATIENCE_S
    while (calls := site.calls(word)) == ["running"]:
        assert time.monotonic() < until, "the model's call was not closed"
        time.sleep(0.03)
    assert calls == ["disconnected"]
    assert page.run("document.getElementById('cancel').disabled")
    assert page.run("document.getElementById('problem').hidden")


def test_markup_in_what_a_model_says_stays_text(page: Page, site: Site):
    connect(page, site)
    planted = "<img src=x onerror=window.broken=1><script>window.broken=1</script><b id=planted>bold</b>"
    word = uuid.uuid4().hex
    site.script(
        {"match": word, "calls": [{"name": "calculator", "arguments": {"expression": planted}}]},
        {"match": word, "text": planted},
    )
    ask(page, f"{planted} {word}")
    assert ended(page, "success") == planted
    assert json.dumps(planted) in page.text("steps"), "the tool's arguments"
    assert page.run("document.querySelectorAll('#planted, img, main script').length") == 0
    assert page.run("window.broken === undefined")


def test_a_wrong_key_is_told(page: Page, site: Site):
    connect(page, site, key="ak_mallory")
    assert "No valid API key" in page.until_text("problem", "API key")
    page.type("message", "hello")
    page.click("send")
    page.until("!document.getElementById('send').disabled")
    page.until_text("problem", "This call needs a valid API key")
    assert page.run("location.hash") == ""
    # the right one mends it, without a reload
    page.type("key", KEY)
    page.press("Tab", 9)
    page.until("document.getElementById('problem').hidden")
    ask(page, "hello")
    assert ended(page, "success")


def test_a_task_that_is_none_is_told(page: Page, site: Site):
    connect(page, site)
    page.run(f"location.hash = '#task={'f' * 32}'")
    assert "No such task" in page.until_text("problem", "No task has this id")
    assert page.text("link") == "not followed"


def test_a_page_of_another_origin_is_refused(page: Page, site: Site):
    tasks = site.tasks()
    connect(page, site, url=site.unlisted_url)
    said = page.until_text("problem", "CORS_ORIGINS")
    assert f"does its CORS_ORIGINS name {site.unlisted_url.rstrip('/')}?" in said
    page.type("message", "hello")
    page.click("send")
    page.until_text("problem", "Trying again")
    assert any("blocked by CORS policy" in one for one in page.complaints())
    assert site.tasks() == tasks


def test_a_lost_answer_makes_no_second_task(page: Page, site: Site):
    """The submit arrives, its answer does not: the page asks again with the same key."""
    connect(page, site)
    page.until("document.getElementById('model').options.length > 1")
    before = site.tasks()
    page.run(
        "window.sent = []; const real = window.fetch;"
        "window.fetch = async (url, options) => {"
        "  const answer = await real(url, options);"
        "  if (options.method !== 'POST' || !url.endsWith('/task')) return answer;"
        "  sent.push(options.headers['Idempotency-Key']);"
        "  if (sent.length < 3) throw new TypeError('lost'); return answer; }; 1"
    )
    task_id = ask(page, f"hello {uuid.uuid4().hex}")
    assert page.run("sent.length") == 3
    assert page.run("new Set(sent).size") == 1
    assert sorted(site.tasks()) == sorted([*before, task_id])
    assert page.run("sessionStorage.getItem('unanswered')") is None
    ended(page, "success")
    ask(page, f"hello {uuid.uuid4().hex}")
    page.until("sent.length === 4")
    assert page.run("new Set(sent).size") == 2, "another task has another key"


def test_it_works_by_keyboard_alone_and_everything_has_a_name(page: Page, site: Site):
    connect(page, site)
    page.type("message", "hello")
    passed = []
    while page.run("document.activeElement.id") != "send":
        page.press("Tab", 9)
        passed.append(page.run("document.activeElement.id"))
        assert len(passed) < 10, passed
    assert passed == ["agent", "model", "send"], "what is disabled is passed over"
    page.press(*ENTER)
    ended(page, "success")
    page.type("message", "hello again")
    first = page.run("location.hash")
    page.press("Enter", 13, modifiers=2)
    page.until(f"location.hash !== '{first}'")
    ended(page, "success")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    names = {
        node["role"]["value"]: node.get("name", {}).get("value")
        for node in nodes
        if not node["ignored"]
        and any(one["name"] == "focusable" and one["value"]["value"] for one in node.get("properties", []))
        and node["role"]["value"] != "RootWebArea"
    }
    assert {"textbox", "combobox", "button"} <= set(names)
    assert all(names.values()), f"nameless: {names}"
    live = [node["role"]["value"] for node in nodes if node["role"]["value"] in {"status", "alert"}]
    assert "status" in live
    # back, as in any browser, to the task before
    page.run("history.back()")
    page.until(f"location.hash === '{first}'")
    assert ended(page, "success")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(page: Page, site: Site, scheme: str):
    page.call("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=1, mobile=True)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    connect(page, site)
    ask(page, f"Compute 6 * 7 {'x' * 300}")
    ended(page, "success")
    assert page.run("document.documentElement.scrollWidth") <= 320, "nothing has to be scrolled to sideways"
    back = page.run("getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(246, 247, 249)", "dark": "rgb(20, 23, 28)"}[scheme]
