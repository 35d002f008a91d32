// The front page: new killmails arrive on top, names fill in, syncs show their progress.
import { ask, listen } from "./graphql.js";

const FIELDS = `id killmailTime attackerCount solo npc solarSystem { id name }
  victim { character { id name } corporation { id name } shipType { id name } }
  finalBlow { character { id name } corporation { id name } }`;
const MOST_ROWS = 200;
const body = document.querySelector("#feed tbody");
const live = document.querySelector("#live");

function named(thing, kind) {
  const span = document.createElement("span");
  if (!thing) return span;
  span.dataset.kind = kind;
  span.dataset.id = thing.id;
  span.textContent = thing.name || `${kind} ${thing.id}`;
  return span;
}

function badge(text) {
  const mark = document.createElement("span");
  mark.className = "badge";
  mark.textContent = text;
  return mark;
}

function row(kill) {
  const line = document.createElement("tr");
  line.dataset.killmail = kill.id;
  const cell = (...content) => {
    const box = line.insertCell();
    content.forEach((part, index) => box.append(...(index ? [" ", part] : [part])));
    return box;
  };
  const time = document.createElement("time");
  time.dateTime = kill.killmailTime;
  time.textContent = kill.killmailTime.replace("T", " ").replace("Z", "");
  const dim = (thing) => {
    const span = named(thing, "Corporation");
    span.className = "dim";
    return span;
  };
  cell(time);
  cell(named(kill.victim.shipType, "Type"), ...(kill.solo ? [badge("solo")] : []), ...(kill.npc ? [badge("NPC")] : []));
  cell(named(kill.solarSystem, "System"));
  cell(named(kill.victim.character, "Character"), dim(kill.victim.corporation));
  cell(...(kill.finalBlow ? [named(kill.finalBlow.character, "Character"), dim(kill.finalBlow.corporation)] : [""]));
  cell(String(kill.attackerCount)).className = "number";
  return line;
}

function place(kill, isNew) {
  const known = body.querySelector(`tr[data-killmail="${CSS.escape(kill.id)}"]`);
  const made = row(kill);
  if (known) {
    known.replaceWith(made);
    return;
  }
  document.querySelector("#empty").hidden = true;
  document.querySelector("#feed").hidden = false;
  if (isNew) made.className = "new";
  const later = [...body.rows].find((each) => each.querySelector("time").dateTime <= kill.killmailTime);
  body.insertBefore(made, later || null);
  while (body.rows.length > MOST_ROWS) body.deleteRow(-1);
}

// Names come after a killmail, and a socket may have been away for a while: the newest page is read again soon after.
let refresh = null;
function refreshSoon(delay) {
  if (refresh) return;
  refresh = setTimeout(async () => {
    refresh = null;
    try {
      const data = await ask(`query { killmails(first: 50) { edges { node { ${FIELDS} } } } }`);
      data.killmails.edges.slice().reverse().forEach(({ node }) => place(node, false));
      if (body.querySelector("span[data-kind]") && hasUnnamed()) refreshSoon(5000);
    } catch (error) {
      refreshSoon(10000);
    }
  }, delay);
}

function hasUnnamed() {
  return [...body.querySelectorAll("tr:nth-child(-n+50) span[data-id]")].some(
    (span) => span.textContent === `${span.dataset.kind} ${span.dataset.id}`);
}

function progress(run) {
  const pilot = document.querySelector(`[data-character="${CSS.escape(run.characterId)}"]`);
  if (!pilot) return;
  const box = pilot.querySelector(".progress");
  const done = run.saved + run.skipped + run.errors;
  const bar = document.createElement("progress");
  bar.max = Math.max(run.found, 1);
  bar.value = run.finishedAt ? bar.max : done;
  const words = { QUEUED: "waiting for a worker", RUNNING: "syncing", WAITING: run.error || "waiting", SUCCEEDED: "synced", FAILED: run.error || "failed" };
  box.replaceChildren(bar, ` ${words[run.status]}: ${run.saved} saved, ${run.skipped} known, ${run.errors} errors of ${run.found}`);
}

document.querySelectorAll("#pilots .sync").forEach((button) => button.addEventListener("click", async () => {
  const pilot = button.closest("li");
  button.disabled = true;
  try {
    const data = await ask(
      "mutation Sync($id: ID) { syncMyKillmails(characterId: $id) { characterId status found saved skipped errors finishedAt error } }",
      { id: pilot.dataset.character });
    progress(data.syncMyKillmails);
  } catch (error) {
    pilot.querySelector(".progress").textContent = error.message;
  } finally {
    setTimeout(() => { button.disabled = false; }, 2000);
  }
}));

const subscriptions = {
  kills: {
    query: `subscription { newKillmail { ${FIELDS} } }`,
    onData: (data) => {
      place(data.newKillmail, true);
      refreshSoon(3000);
    },
  },
};
if (document.querySelector("#pilots")) {
  subscriptions.syncs = {
    query: "subscription { syncProgress { characterId status found saved skipped errors finishedAt error } }",
    onData: (data) => progress(data.syncProgress),
  };
}
listen(subscriptions, (state) => {
  live.textContent = state;
  live.classList.toggle("good", state === "live");
  if (state === "live") refreshSoon(0);
});
