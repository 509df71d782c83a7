// The page: what its reader does becomes calls, what happens to the task becomes text. The task's id is in the address,
// so a reload, a bookmark or the back button follows that task again.

import { Gateway, Problem, newKey } from "./longhaul.js";
import { TaskView } from "./view.js";

const at = (id) => document.getElementById(id);
const view = new TaskView();
let following = null;
let begun = 0; // so that an answer to what was asked before, such as with another key, is not shown

// The key stays in this tab's memory only, and goes to no address but the one that was typed beside it.
for (const id of ["gateway", "key"]) {
  at(id).value = sessionStorage.getItem(id) ?? at(id).value;
  at(id).addEventListener("change", () => {
    sessionStorage.setItem(id, at(id).value.trim());
    begin();
  });
}

function gateway() {
  return new Gateway(at("gateway").value.trim(), at("key").value.trim());
}

function taskInAddress() {
  return new URLSearchParams(location.hash.slice(1)).get("task");
}

function showProblem(problem, more = "") {
  const known = problem instanceof Problem;
  if (!known) console.error(problem);
  const said = known ? `${problem.title}: ${problem.message}` : "Something went wrong in this page; its console says what.";
  at("problem").textContent = `${said} ${more}`.trim();
  at("problem").hidden = false;
  if (known && (problem.status === 401 || problem.status === 0)) at("connection").open = true;
}

function hideProblem() {
  at("problem").hidden = true;
}

/** Fills a list with what the gateway offers; the first entry, which names nothing, stays. */
function offer(id, first, entries) {
  const chosen = at(id).value;
  at(id).replaceChildren(new Option(first, ""), ...entries.map(({ name, label }) => new Option(label ?? name, name)));
  at(id).value = entries.some(({ name }) => name === chosen) ? chosen : "";
}

function offerAll(models, agents) {
  offer("agent", "default", agents.filter(({ name }) => name !== "default").map(({ name, available }) => (
    { name, label: available === false ? `${name} (not available)` : name }
  )));
  const usable = models.filter((model) => model.has_key !== false);
  offer("model", "the agent's", usable.map(({ name, simulated }) => ({ name, label: simulated ? `${name} (made up)` : name })));
}

function follow(taskId) {
  following?.close();
  view.begin(taskId);
  at("cancel").disabled = false;
  following = gateway().follow(taskId, {
    event(name, data) {
      view.event(name, data);
      if (name === "result") at("cancel").disabled = true;
    },
    connection: (state) => view.connection(state),
    again: () => view.begin(taskId),
    problem(problem) {
      at("cancel").disabled = true;
      view.connection("lost");
      showProblem(problem);
    },
  });
}

/** With this gateway, key and address: as after a reload. */
async function begin() {
  const mine = (begun += 1);
  hideProblem();
  following?.close();
  following = null;
  const taskId = taskInAddress();
  if (taskId) follow(taskId);
  else {
    view.hide();
    at("cancel").disabled = true;
  }
  try {
    const [{ models }, { agents }] = await Promise.all([gateway().call("GET", "/models"), gateway().call("GET", "/agents")]);
    if (mine === begun) offerAll(models, agents);
  } catch (problem) {
    if (mine === begun) showProblem(problem);
  }
}

/** The key of a submit whose answer has not come yet: the same task sent again, also after a reload, keeps it. */
function keyFor(body) {
  const text = JSON.stringify([at("gateway").value, body]);
  const kept = JSON.parse(sessionStorage.getItem("unanswered") ?? "null");
  if (kept?.text === text) return kept.key;
  const key = newKey();
  sessionStorage.setItem("unanswered", JSON.stringify({ text, key }));
  return key;
}

at("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (at("send").disabled) return;
  hideProblem();
  at("send").disabled = true;
  const body = { message: at("message").value, stream: true };
  if (at("agent").value) body.agent = at("agent").value;
  if (at("model").value) body.model = at("model").value;
  try {
    const taskId = await gateway().submit(body, keyFor(body), (problem, seconds) => {
      showProblem(problem, `Trying again in ${Math.ceil(seconds)} s.`);
    });
    sessionStorage.removeItem("unanswered");
    hideProblem();
    history.pushState(null, "", `#task=${taskId}`);
    follow(taskId);
  } catch (problem) {
    // what was refused for good made no task: the next try is another
    if (problem instanceof Problem && !problem.passing) sessionStorage.removeItem("unanswered");
    showProblem(problem);
  } finally {
    at("send").disabled = false;
  }
});

at("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("ask").requestSubmit();
});

at("cancel").addEventListener("click", async () => {
  at("cancel").disabled = true;
  try {
    await gateway().cancel(taskInAddress());
    view.stopping();
  } catch (problem) {
    if (problem.code === "wrong_status") return; // it ended in the same moment; its result is on the way
    at("cancel").disabled = false;
    showProblem(problem);
  }
});

window.addEventListener("popstate", begin); // the back button, and a link to another task
begin();
