"""The control: what a careful reader of arq's documentation writes, on stock arq 0.28. The kit must see it fail.

A harness that finds nothing wrong with Longhaul has shown something only if it finds a lot wrong with this, under the
same faults, the same agent and the same checker. Nothing here is made worse than it need be:

- the task's own record (`running`, then `success` or `failed`) is written by the job, in `except Exception`, as every
  tutorial of FastAPI and arq has it, with arq's `Retry` for what may pass, as arq's own page on retries has it;
- a submit is made once by arq's own means, a job id (`_job_id`) that the idempotency key names;
- Redis is reached with the retries that `RedisSettings` offers, and a stopping worker lets its jobs finish
  (`job_completion_wait`);
- `max_tries` is as high as Longhaul's number of crashes in the same run, and `job_timeout` is short. A killed worker's
  job cannot run again before arq's key for it expires, `job_timeout` + 10 s after it began: 310 s by default, in which
  the control would only look slow. So it is given the best that arq has.

Without faults it does all that is asked of it, which tests/long/test_control.py holds.
"""
