"""The load test of the tutorial that Longhaul grew from, with its one repair: an HttpUser has no `user_id`."""

import random
import time
import uuid

from locust import HttpUser, between, task

MESSAGES = ("What is 6 * 7?", "What time is it?", "Search for the history of tea", "Hello")
POLL_SECONDS = 3
MOST_POLLS = 20


class AgentUser(HttpUser):
    wait_time = between(1, 3)

    def on_start(self):
        self.user_id = f"user_{uuid.uuid4().hex[:8]}"
        self.session_id = f"session_{uuid.uuid4().hex[:8]}"

    def _asked(self):
        return {"message": random.choice(MESSAGES), "session_id": self.session_id, "user_id": self.user_id}

    @task(3)
    def chat(self):
        with self.client.post("/chat", json=self._asked(), catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"HTTP {response.status_code}: {response.text[:200]}")
            elif "output" not in response.json():
                response.failure("no output")

    @task(1)
    def submit_task(self):
        with self.client.post("/task", json=self._asked(), catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"HTTP {response.status_code}: {response.text[:200]}")
                return
            task_id = response.json()["task_id"]
        for _ in range(MOST_POLLS):
            time.sleep(POLL_SECONDS)
            with self.client.get(f"/task/{task_id}", name="/task/[id]", catch_response=True) as response:
                if response.status_code != 200:
                    response.failure(f"HTTP {response.status_code}: {response.text[:200]}")
                    return
                status = response.json()["status"]
                if status == "failed":
                    response.failure(f"task failed: {response.json()['error']}")
                if status in ("success", "failed"):
                    return
