// Calls a Longhaul gateway from a browser: submit, follow, cancel. It needs nothing else; docs/browser.md explains it.

const PASSING = new Set([429, 503]);
const TRIES = 6;
const LONGEST_PAUSE_S = 15;
const EVENTS = ["status", "step", "token", "gap", "dropped", "result"];

/** What went wrong, in words for the reader. `passing`: the same call may work a little later. */
export class Problem extends Error {
  constructor(detail, { status = 0, code = "unreachable", title = "No answer", retryAfterS = null } = {}) {
    super(detail);
    Object.assign(this, { status, code, title, retryAfterS });
  }

  get passing() {
    return this.status === 0 || PASSING.has(this.status);
  }
}

export class Gateway {
  /** `url`: an origin, perhaps with a path. `key`: an API key, or empty while the gateway needs none. */
  constructor(url, key) {
    this.url = url.replace(/\/+$/, "");
    this.key = key;
  }

  /** The JSON that the call answers. Throws Problem. */
  async call(method, path, body = undefined, headers = {}) {
    const sent = { ...headers };
    if (this.key) sent.Authorization = `Bearer ${this.key}`;
    if (body !== undefined) sent["Content-Type"] = "application/json";
    let answer;
    let read;
    try {
      answer = await fetch(this.url + path, {
        method,
        headers: sent,
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      read = await answer.json();
    } catch (error) {
      if (answer && error instanceof SyntaxError) {
        throw new Problem("The answer is not JSON.", { status: answer.status, code: "not_json", title: "No gateway there" });
      }
      // a browser does not tell a page whether nobody listened or CORS forbade it to look
      throw new Problem(`Does ${this.url} run, and does its CORS_ORIGINS name ${location.origin}?`);
    }
    if (answer.ok) return read;
    const retryAfter = Number.parseFloat(answer.headers.get("Retry-After"));
    throw new Problem(read.detail ?? "", {
      status: answer.status,
      code: read.code ?? "unknown",
      title: read.title ?? `HTTP ${answer.status}`,
      retryAfterS: Number.isNaN(retryAfter) ? null : retryAfter,
    });
  }

  /**
   * Submits a task and answers its id. What fails in passing is tried again with the same idempotency key, so that an
   * answer which was lost on its way makes no second task. `onRetry(problem, seconds)` is told of each pause.
   */
  async submit(body, idempotencyKey, onRetry = () => {}) {
    for (let tried = 1; ; tried += 1) {
      try {
        return (await this.call("POST", "/task", body, { "Idempotency-Key": idempotencyKey })).task_id;
      } catch (problem) {
        if (!(problem instanceof Problem) || !problem.passing || tried === TRIES) throw problem;
        const seconds = pauseS(tried, problem);
        onRetry(problem, seconds);
        await sleep(seconds);
      }
    }
  }

  cancel(taskId) {
    return this.call("POST", `/task/${encodeURIComponent(taskId)}/cancel`);
  }

  follow(taskId, on) {
    return new Follower(this, taskId, on);
  }
}

/**
 * Follows a task's events from the first one on, each exactly once and in order, across lost connections and gateways
 * that are replaced, until its result.
 *
 * `on.event(name, data)`; `on.connection("live" | "reconnecting" | "ended")`; `on.again()`: all comes once more from the
 * first; `on.problem(problem)`: it is over, such as for a wrong key.
 */
export class Follower {
  #gateway;
  #path;
  #on;
  #source = null;
  #lastId = "";
  #refusals = 0;
  #closed = false;

  constructor(gateway, taskId, on) {
    this.#gateway = gateway;
    this.#path = `/task/${encodeURIComponent(taskId)}`;
    this.#on = on;
    this.#connect();
  }

  close() {
    this.#closed = true;
    this.#source?.close();
  }

  async #connect() {
    while (!this.#closed) {
      let problem = null;
      try {
        // an EventSource sends no headers of ours, so it gets a token for this one task in place of the key
        const token = await this.#gateway.call("POST", `${this.#path}/watch-token`);
        if (this.#closed) return;
        await this.#listen(token.path);
      } catch (error) {
        problem = error;
      }
      if (this.#closed) return;
      if (problem && !(problem instanceof Problem && problem.passing)) {
        this.close();
        this.#on.problem(problem);
        return;
      }
      this.#refusals += 1;
      if (!problem && this.#lastId && this.#refusals > 2) {
        // the token is right, so it is the place that is none any more: such as when the store lost its last second
        this.#lastId = "";
        this.#on.again();
      }
      this.#on.connection("reconnecting");
      await sleep(pauseS(this.#refusals, problem));
    }
  }

  /** Returns when the source has given up: EventSource comes back by itself, but not after an answer other than 200. */
  #listen(path) {
    const place = this.#lastId ? `&from=${encodeURIComponent(this.#lastId)}` : "";
    const source = new EventSource(`${this.#gateway.url}${path}&tokens=true${place}`);
    this.#source = source;
    return new Promise((resolve) => {
      source.addEventListener("open", () => {
        this.#refusals = 0;
        this.#on.connection("live");
      });
      source.addEventListener("error", () => {
        if (this.#closed) return;
        this.#on.connection("reconnecting");
        if (source.readyState === EventSource.CLOSED) resolve();
      });
      for (const name of EVENTS) {
        source.addEventListener(name, (event) => {
          if (this.#closed) return;
          this.#lastId = event.lastEventId || this.#lastId; // a gap has none
          const data = JSON.parse(event.data);
          if (name === "result") {
            this.close();
            this.#on.connection("ended");
            resolve();
          }
          this.#on.event(name, data);
        });
      }
    });
  }
}

/** A new idempotency key. crypto.randomUUID would need https. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function pauseS(tried, problem) {
  return problem?.retryAfterS ?? Math.min(LONGEST_PAUSE_S, 2 ** (tried - 1)) * (0.5 + Math.random() / 2);
}

function sleep(seconds) {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
