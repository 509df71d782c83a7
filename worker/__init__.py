"""The worker: arq's process frame around an engine of ours. Started by `python -m worker`."""


def __getattr__(name: str) -> object:
    if name == "WorkerSettings":
        # stock arq would start with no fence, no lease and no heartbeat, on keys that nobody writes
        raise SystemExit(
            "`arq worker.WorkerSettings` would start stock arq and bypass Longhaul's engine. "
            "Run `python -m worker` for one worker, or `python3 manage.py start` for the whole system."
        )
    raise AttributeError(name)
