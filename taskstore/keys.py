"""Every Redis key: one function each, with its type, its content and its time to live.

The scripts build the same names from the prefix (one primary, no Cluster); a test compares them with this list.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    prefix: str

    def task(self, task_id: str) -> str:
        """Hash: the record. None while live; final: retention + 60 s; a dead letter: DEAD_TTL_SECONDS + 60 s."""
        return f"{self.prefix}task:{task_id}"

    def events(self, task_id: str) -> str:
        """Stream of what happened to the task, also the channel that announces each entry. Lives as the record."""
        return f"{self.prefix}events:{task_id}"

    def steps(self, task_id: str) -> str:
        """Hash: what the task's runs have got done (progress.Progress), for the next attempt. None while live; gone
        when it succeeds or is cancelled; of a failed task as the record, since it may be replayed.
        """
        return f"{self.prefix}steps:{task_id}"

    def ready(self, lane: str) -> str:
        """Sorted set by fair order (`vscore`). Lane: `{model}:{i or b}` (interactive, batch), `quarantine` (by crashes
        first), or with `:{agent}` behind it, where a paused agent's tasks stand.
        """
        return f"{self.prefix}ready:{lane}"

    def leases(self, lane: str) -> str:
        """Sorted set by the lease's end, ms. Its size is how many run in the lane."""
        return f"{self.prefix}leases:{lane}"

    def scheduled(self) -> str:
        """Sorted set by due time, ms: `run_at` or a retry's backoff."""
        return f"{self.prefix}scheduled"

    def blocked(self, caller: str, session: str) -> str:
        """Sorted set by the session's own order: tasks behind another one of their session."""
        return f"{self.prefix}blocked:{caller}:{session}"

    def waiting(self) -> str:
        """Sorted set by decide-by time, ms, or +inf: tasks that wait for a person."""
        return f"{self.prefix}waiting"

    def live(self) -> str:
        """Sorted set of EVERY task that is not final, by deadline, ms, or +inf."""
        return f"{self.prefix}live"

    def gone(self) -> str:
        """Sorted set of `{task id} {caller}` of final tasks by the time to forget them, ms."""
        return f"{self.prefix}gone"

    def dead(self) -> str:
        """Sorted set of dead letters by the time they were buried, ms."""
        return f"{self.prefix}dead"

    def caller(self, caller: str) -> str:
        """Sorted set of a caller's task ids by creation, ms."""
        return f"{self.prefix}caller:{caller}"

    def callers(self) -> str:
        """Set of the callers who have tasks or sessions. A name goes with the last of them."""
        return f"{self.prefix}callers"

    def idempotency(self, caller: str, key: str) -> str:
        """String `{task id} {sha256 of the body}`. Lives as the record."""
        return f"{self.prefix}idem:{caller}:{key}"

    def session(self, caller: str, session: str) -> str:
        """Hash: `holder` (task id), `seq` (tasks so far), `live` (of them not final); and while there is something to
        remember: `memory` (id of the task that began it), `user_id`, `session_id`, `turns`, `bytes` of the log,
        `created_at`, `updated_at`. None while a task of it is live, then SESSION_TTL_SECONDS.
        """
        return f"{self.prefix}session:{caller}:{session}"

    def session_log(self, caller: str, session: str) -> str:
        """List of turns, appended by a successful final only. Lives as the session."""
        return f"{self.prefix}session:{caller}:{session}:log"

    def sessions(self, caller: str) -> str:
        """Sorted set of the keys of a caller's sessions, by the time when something happened in them, ms."""
        return f"{self.prefix}sessions:{caller}"

    def idle(self) -> str:
        """Sorted set of `{session's key} {caller}` of sessions without a live task, by the time to forget them, ms."""
        return f"{self.prefix}idle"

    def fair(self) -> str:
        """Hash: `*` is the virtual clock, `{flow}` that flow's last finish. Passed flows are pruned by the sweep."""
        return f"{self.prefix}fair"

    def lanes(self) -> str:
        """Set of the lanes that were ever used."""
        return f"{self.prefix}lanes"

    def aside(self) -> str:
        """Set of `{kind}, {agent}, {model}` (joined by 0x1f) of the lanes where paused agents' tasks stand."""
        return f"{self.prefix}aside"

    def gates(self) -> str:
        """Hash: of each model its cooldown, its failures in a row and its requests left (scripts/_gates.lua)."""
        return f"{self.prefix}gates"

    def paused(self) -> str:
        """Hash: `model {key}` or `agent {name}` by the time of its pause, ms."""
        return f"{self.prefix}paused"

    def holds(self) -> str:
        """Hash: why tasks of a model or an agent are not started now, and for how long in all each reason has kept
        them from it, ms. For `why`.
        """
        return f"{self.prefix}holds"

    def bell(self, kind: str) -> str:
        """List with at most one token: wakes one worker that listens for `i` or `b` tasks."""
        return f"{self.prefix}bell:{kind}"

    def cancel(self) -> str:
        """Channel: the id of a running task whose cancel was just requested."""
        return f"{self.prefix}cancel"

    def watch(self) -> str:
        """Channel that nobody publishes to: it keeps a process's subscription open while it follows no task."""
        return f"{self.prefix}watch"

    def probe(self) -> str:
        """List that is never there: a write to it that does nothing shows whether Redis takes writes."""
        return f"{self.prefix}probe"

    def watch_key(self) -> str:
        """String: what watch tokens are signed with, hex. Made by the first gateway that needs it; stays."""
        return f"{self.prefix}watch-key"

    def workers(self) -> str:
        """Sorted set: worker id by when it was last seen, ms. Swept after an hour."""
        return f"{self.prefix}workers"

    def worker(self, worker_id: str) -> str:
        """Hash: host, pid, version, slots, `quarantine` of a quarantine worker, and the last claim's number and answer.
        1 hour, refreshed by renew.
        """
        return f"{self.prefix}worker:{worker_id}"

    def attending(self) -> str:
        """Sorted set: worker id by when to forget it, ms: its quarantine worker stands by or is being started. 60 s."""
        return f"{self.prefix}attending"

    def agents(self) -> str:
        """Hash: agent's name -> JSON `{problem, worker, at}`, the last started worker's word. 1 hour, as `worker`."""
        return f"{self.prefix}agents"

    def pace(self, model: str, agent: str) -> str:
        """List of how long the last 50 runs of the model and agent that succeeded took, ms, newest first: what
        estimates go by. A day after the last.
        """
        return f"{self.prefix}pace:{model}:{agent}"

    def counts(self) -> str:
        """Hash: what operators count, by metric and label values (joined by 0x1f); money in billionths of a USD. Never
        expires: its fields are bounded by configuration. `tally` in scripts/_prelude.lua.
        """
        return f"{self.prefix}counts"

    def behind(self) -> str:
        """Hash: how many of a caller's tasks stand behind another one of their session, by caller; none without any."""
        return f"{self.prefix}behind"

    def swept(self) -> str:
        """Hash: `at` (ms) of the last sweep, which finds gaps and clock jumps; `cursor` of the orphan scan."""
        return f"{self.prefix}swept"

    def usage(self, day: int) -> str:
        """Hash of one UTC day (days since 1970): totals by caller, user_id, agent and model. USAGE_TTL_DAYS."""
        return f"{self.prefix}usage:{day}"
