"""Users for Locust: they submit and poll, wait, follow events, stream and chat. `manage.py load` runs it: docs/load.md.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8000 --weight-chat 0

All polls are one row of the statistics, whatever their ids, and so are all waits. Beside the requests stand timers of
the kind `task`: from a submit to the final answer, by the way it was waited for, and to the first token of a stream.
"""

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from math import ceil
from typing import Any

import gevent
from locust import FastHttpUser, HttpUser, events, task
from locust.runners import WorkerRunner
from locust.user.users import User

from loadtest.load import figures
from loadtest.load.events import read_events
from loadtest.load.options import WAYS, add_options
from loadtest.load.outcomes import FINAL, Failure, refusal, verdict

WAIT_SECONDS = 20
_NETWORK_SECONDS = 150.0  # longer than a gateway lets anything wait
_numbers = count(1)


class Asking(User):
    """What all kinds of users do alike. `client` is one of Locust's two: their answers are read the same way."""

    abstract = True
    client: Any
    way: str

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self.options = options
        self.headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
        self.user_id = f"load-{next(_numbers)}"

    def wait_time(self) -> float:
        return random.uniform(0, 2 * self.options.pause)  # noqa: S311 no secret

    def body(self) -> dict[str, Any]:
        named = {name: getattr(self.options, name) for name in ("model", "agent")}
        return {"message": self.options.message, "user_id": self.user_id, **{k: v for k, v in named.items() if v}}

    @contextmanager
    def answered(self, method: str, path: str, name: str, **more: Any) -> Iterator[Any]:
        """The answer of a request; one that is no 200 is a failure with its problem's code."""
        with self.client.request(
            method, path, name=name, headers=self.headers, catch_response=True, **more
        ) as response:
            if wrong := refusal(response):
                response.failure(wrong)
            yield response

    def submit(self) -> str | None:
        """The task's id; None when it was refused."""
        with self.answered("POST", "/task", "/task", json=self.body()) as response:
            return None if response.status_code != 200 else json.loads(response.text)["task_id"]

    def time_task(self, name: str, began: float, failure: Failure | None = None) -> None:
        took = (time.perf_counter() - began) * 1000
        self.environment.events.request.fire(
            request_type=figures.TASK, name=name, response_time=took, response_length=0, exception=failure, context={}
        )

    def ended(self, began: float, view: dict[str, Any]) -> None:
        self.time_task(f"{figures.FINAL_NAME} ({self.way})", began, verdict(view))

    def lost(self, began: float, why: str) -> None:
        self.time_task(f"{figures.FINAL_NAME} ({self.way})", began, Failure(why))

    def ask_until_final(self, began: float, task_id: str, *, pause: float, wait: bool = False) -> None:
        name, query = ("/task/{id}?wait", "?wait={}") if wait else ("/task/{id}", "")
        while (left := began + self.options.task_timeout - time.perf_counter()) > 0:
            gevent.sleep(pause)
            with self.answered(
                "GET", f"/task/{task_id}{query.format(min(WAIT_SECONDS, ceil(left)))}", name
            ) as response:
                status = response.status_code
                view = json.loads(response.text) if status == 200 else {}
            if view.get("status") in FINAL:
                return self.ended(began, view)
            if 400 <= status < 500 and status != 429:
                return self.lost(began, f"no final answer: {status}")
            if status != 200:
                gevent.sleep(max(pause, 1.0))  # whoever is away is not asked as fast as it can refuse
        return self.lost(began, f"no final status after {self.options.task_timeout:g} s")


class PollingUser(Asking, FastHttpUser):
    way = "poll"
    network_timeout = _NETWORK_SECONDS

    @task
    def ask(self) -> None:
        began = time.perf_counter()
        if task_id := self.submit():
            self.ask_until_final(began, task_id, pause=self.options.poll_every)


class WaitingUser(Asking, FastHttpUser):
    way = "wait"
    network_timeout = _NETWORK_SECONDS

    @task
    def ask(self) -> None:
        began = time.perf_counter()
        if task_id := self.submit():
            self.ask_until_final(began, task_id, pause=0.0, wait=True)


class ChattingUser(Asking, FastHttpUser):
    way = "chat"
    network_timeout = _NETWORK_SECONDS

    @task
    def ask(self) -> None:
        began = time.perf_counter()
        with self.answered("POST", "/chat", "/chat", json=self.body()) as response:
            failure = refusal(response)
        self.time_task(f"{figures.FINAL_NAME} ({self.way})", began, failure)


class Streaming(Asking, HttpUser):
    """Reads server-sent events: Locust's slower client gives them as they come."""

    abstract = True

    def follow(self, began: float, method: str, path: str, name: str, **more: Any) -> None:
        heard = False
        with self.answered(method, path, name, stream=True, timeout=_NETWORK_SECONDS, **more) as response:
            if failure := refusal(response):
                return self.lost(began, str(failure))
            try:
                for event, data in read_events(response.iter_lines(chunk_size=None)):
                    if event == "token" and not heard:
                        heard = True
                        self.time_task(figures.FIRST_TOKEN, began)
                    if event == "result":
                        return self.ended(began, json.loads(data))
                    if time.perf_counter() - began > self.options.task_timeout:
                        return self.lost(began, f"no final status after {self.options.task_timeout:g} s")
            except OSError as error:  # what requests raises for a stream that breaks off, too
                return self.lost(began, f"stream broke off: {type(error).__name__}")
        return self.lost(began, "stream ended without a result")


class StreamingUser(Streaming):
    way = "stream"

    @task
    def ask(self) -> None:
        self.follow(time.perf_counter(), "POST", "/chat/stream", "/chat/stream", json=self.body())


class FollowingUser(Streaming):
    way = "events"

    @task
    def ask(self) -> None:
        began = time.perf_counter()
        if task_id := self.submit():
            self.follow(began, "GET", f"/task/{task_id}/events", "/task/{id}/events")


def _begin(environment: Any, **_: Any) -> None:
    """Gives the kinds of users their weights, and says now and then how it goes."""
    options = environment.parsed_options
    weights = {way: getattr(options, f"weight_{way}") for way in WAYS}
    if not any(weights.values()):
        raise SystemExit("Every weight is 0, so there is nobody to ask: give one --weight-... above 0.")
    for user in environment.user_classes:
        user.weight = weights[user.way]
    environment.user_classes = [user for user in environment.user_classes if user.weight]
    if isinstance(environment.runner, WorkerRunner):
        return
    began = time.monotonic()
    if options.progress_every:
        gevent.spawn(_say, figures.Progress(environment.runner), options.progress_every)
    if options.summary_file:
        environment.events.quitting.add_listener(
            lambda environment, **_: figures.write_summary(options.summary_file, figures.summary(environment, began))
        )


def _say(progress: figures.Progress, every: float) -> None:
    while True:
        gevent.sleep(every)
        progress.say()


events.init_command_line_parser.add_listener(add_options)  # type: ignore[no-untyped-call]  # Locust's own lack
events.init.add_listener(_begin)  # type: ignore[no-untyped-call]  # as above
