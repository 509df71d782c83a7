"""One route a file. `add_routes` is the list, in the order in which the router tries them: the busiest first."""

from fastapi import FastAPI

from . import (
    cancel_task,
    chat,
    chat_stream,
    delete_session,
    health,
    list_agents,
    list_models,
    list_sessions,
    list_tasks,
    metrics_page,
    read_session,
    read_task,
    ready,
    replay_task,
    submit_task,
    task_events,
    watch_token,
)

ROUTES = (
    submit_task,
    read_task,
    task_events,
    chat,
    chat_stream,
    cancel_task,
    replay_task,
    watch_token,
    list_tasks,
    read_session,
    list_sessions,
    delete_session,
    list_models,
    list_agents,
    health,
    ready,
    metrics_page,
)


def add_routes(app: FastAPI) -> None:
    for route in ROUTES:
        # added directly: an included router would match each request twice more
        route.add(app)
