// What is shown of a task. Everything that comes from outside is set as text, never as markup: a model may say anything.

const at = (id) => document.getElementById(id);

const LINKS = {
  live: "live",
  reconnecting: "connection lost, reconnecting…",
  ended: "",
  lost: "not followed",
};

export class TaskView {
  #steps = new Map(); // by attempt and number: its list item
  #speaking = null; // the model call whose words stand in the answer
  #final = false;

  hide() {
    at("task").hidden = true;
  }

  /** Empties it for a task whose events come from the first one on. */
  begin(taskId) {
    this.#steps.clear();
    this.#speaking = null;
    this.#final = false;
    at("task-heading").textContent = `Task ${taskId.slice(0, 8)}`;
    at("task-heading").title = taskId;
    at("steps").replaceChildren();
    at("answer").textContent = "";
    at("answer").className = "";
    at("answer").setAttribute("aria-busy", "true"); // a screen reader reads it whole, not word by word
    for (const id of ["duration", "queued", "tokens", "cost", "attempt"]) at(id).textContent = "–";
    this.#status("", "connecting…");
    this.connection("ended");
    at("task").hidden = false;
  }

  connection(state) {
    at("link").textContent = LINKS[state];
    at("link").className = state;
  }

  stopping() {
    if (!this.#final) this.#status("cancelled", "stopping…");
  }

  event(name, data) {
    if (name === "status") this.#statusEvent(data);
    else if (name === "step") this.#step(data);
    else if (name === "token") this.#token(data);
    else if (name === "gap") this.#note("Earlier events are no longer kept.");
    else if (name === "result") this.#result(data);
  }

  #status(kind, words) {
    at("status").textContent = words;
    at("status").className = kind;
  }

  #statusEvent({ status, phase, attempt, cause, error_code: code }) {
    const words = cause === "cancel_requested" ? "stopping…" : (phase ?? status);
    this.#status(status, words);
    if (attempt) at("attempt").textContent = attempt;
    const why = (code ?? cause)?.replaceAll("_", " ");
    if (why && why !== words && cause !== "cancel_requested") this.#note(`${words}: ${why}`);
  }

  #note(words) {
    const item = document.createElement("li");
    item.className = "note";
    item.textContent = words;
    at("steps").append(item);
  }

  #step(step) {
    const id = `${step.attempt}.${step.number}`;
    const item = this.#steps.get(id) ?? document.createElement("li");
    if (!this.#steps.has(id)) at("steps").append(item);
    this.#steps.set(id, item);
    const over = step.phase === "end";
    item.className = `${step.kind} ${over ? (step.error ? "failed" : "done") : "running"}`;
    const about = over ? [seconds(step.duration_ms), tokens(step.token_usage), dollars(step.cost_usd)] : ["running…"];
    const line = part("p", "line", "");
    line.append(part("b", "", step.name), ` ${step.kind} `, part("small", "", about.filter(Boolean).join(" · ")));
    const parts = [line];
    if (step.arguments) parts.push(part("pre", "arguments", step.arguments));
    if (step.error) parts.push(part("pre", "error", step.error));
    else if (step.result && step.kind !== "model") parts.push(part("pre", "result", step.result));
    const thoughts = item.querySelector(".thoughts");
    if (thoughts) parts.push(thoughts);
    item.replaceChildren(...parts);
  }

  #token({ attempt, number, kind, text, lost }) {
    const words = lost ? `[… ${lost} characters …]${text}` : text;
    const speaker = `${attempt}.${number}`;
    if (kind === "reasoning") {
      this.#think(this.#steps.get(speaker), words);
      return;
    }
    if (this.#speaking !== speaker) {
      this.#speaking = speaker; // another call, or another attempt: what the one before it said is no part of this answer
      at("answer").textContent = "";
    }
    at("answer").append(words);
  }

  #think(item, words) {
    if (!item) return;
    if (!item.querySelector(".thoughts")) {
      const details = part("details", "thoughts", "");
      details.append(part("summary", "", "reasoning"), part("pre", "", ""));
      item.append(details);
    }
    item.querySelector(".thoughts pre").append(words);
  }

  #result(task) {
    this.#final = true;
    this.#status(task.status, task.simulated ? `${task.status} (simulated)` : task.status);
    at("attempt").textContent = task.attempt;
    at("duration").textContent = seconds(task.duration_ms) || "–";
    at("queued").textContent = seconds(task.queued_ms) || "–";
    at("tokens").textContent = task.token_usage?.total_tokens ?? "–";
    at("cost").textContent = task.cost_usd === null ? "unknown" : dollars(task.cost_usd);
    const failed = task.status === "failed" ? `${task.error_code}: ${task.error}` : null;
    const answer = failed ?? (task.result_json === null ? task.result : JSON.stringify(task.result_json, null, 2));
    // of a cancelled task, what it had said stays
    if (answer !== null) at("answer").textContent = answer;
    at("answer").className = task.status;
    at("answer").setAttribute("aria-busy", "false");
  }
}

function part(tag, kind, words) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.textContent = words;
  return element;
}

function seconds(milliseconds) {
  if (milliseconds === null) return "";
  return milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

function tokens(usage) {
  return usage ? `${usage.total_tokens} tokens` : "";
}

function dollars(cost) {
  if (cost === null) return "";
  return cost === 0 ? "$0" : `$${cost < 0.01 ? cost.toPrecision(2) : cost.toFixed(2)}`;
}
