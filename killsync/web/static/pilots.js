// The reader's characters: each sync shows how far it is, and what is asked for happens without leaving the page.
import { subscribe, watch } from "./live.js";

const pilots = document.querySelector("#pilots");
const number = new Intl.NumberFormat("en");
// A sync under way of which nothing was heard is looked up: what happened before the socket was open, or while it was away, is
// told to nobody. First after SILENCE, then ever more rarely, since whoever waits for ESI may wait for long, ms.
const SILENCE = 3000;
const MOST_SILENCE = 60000;
let pause = SILENCE;
let silence = null;
let soon = null;
const shown = new Map();

// How long until a sync goes on that waits, as its reason says; none when it does not wait.
function secondsLeft(run) {
  const found = run.status === "WAITING" && / EVE time$/.test(run.error || "") && /goes on at (\S+) (\S+) EVE time$/.exec(run.error);
  return found ? Math.max(0, Math.round((Date.parse(`${found[1]}T${found[2]}Z`) - Date.now()) / 1000)) : null;
}

function span(seconds) {
  if (seconds < 60) return `${seconds} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
}

function reasonOf(run) {
  if (run.status !== "WAITING" || !run.error) return "";
  const left = secondsLeft(run);
  if (left === null) return `: ${run.error}`;
  return `: ${run.error.replace(/; it goes on at .*$/, "")}. Goes on ${left ? `in ${span(left)}` : "any moment"}`;
}

function words(run) {
  const figures = `${number.format(run.saved)} new, ${number.format(run.skipped)} known`
    + (run.errors ? `, ${number.format(run.errors)} failed` : "");
  if (run.status === "QUEUED") return "Waiting for a worker";
  if (run.status === "FAILED") return `Sync failed: ${run.error || "no reason is known"}`;
  if (run.finishedAt) return run.found && (run.saved || run.errors) ? `Synced: ${figures}` : "Synced: nothing new";
  if (run.status === "WAITING") return (run.found ? `${number.format(run.found)} killmails listed so far, ${figures}. The rest waits` : "The list waits") + reasonOf(run);
  return run.found ? `Syncing ${number.format(run.found)} killmails: ${figures}` : "Reading the list";
}

function paint(run) {
  const pilot = pilots.querySelector(`[data-character="${CSS.escape(run.characterId)}"]`);
  if (!pilot) return;
  shown.set(run.characterId, run);
  const bar = pilot.querySelector("progress");
  // A sync that had ended before the page was opened needs no bar.
  bar.hidden = bar.hidden && Boolean(run.finishedAt);
  bar.max = Math.max(run.found, 1);
  if (run.finishedAt) bar.value = bar.max;
  else if (run.found) bar.value = run.saved + run.skipped + run.errors;
  else bar.removeAttribute("value");
  bar.classList.toggle("done", Boolean(run.finishedAt));
  const state = pilot.querySelector(".state");
  // Who hears the page is told of the end alone, not of every step.
  if (run.finishedAt && state.textContent && state.textContent !== words(run)) {
    document.querySelector("#sync-news").textContent = `${pilot.dataset.name}: ${words(run)}`;
  }
  state.textContent = words(run);
  const button = pilot.querySelector(".sync button");
  if (button) button.disabled = !run.finishedAt;
  listen();
}

// Looks again after a while if a sync is under way: when the first one that waits goes on, where all of them wait.
function listen() {
  clearTimeout(silence);
  silence = null;
  const open = [...shown.values()].filter((run) => !run.finishedAt);
  if (!open.length) return;
  const waits = open.map(secondsLeft);
  const wait = waits.includes(null) ? pause : Math.min(MOST_SILENCE, Math.max(pause, 1000 * Math.min(...waits) + 2000));
  silence = setTimeout(refresh, wait * (1 + Math.random() / 4));
}

// What waits is counted down where it stands.
setInterval(() => {
  for (const run of shown.values()) {
    if (secondsLeft(run) === null || document.hidden) continue;
    const state = pilots.querySelector(`[data-character="${CSS.escape(run.characterId)}"] .state`);
    if (state) state.textContent = words(run);
  }
}, 1000);

// Reads the figures of the characters again: runs, last and next sync, counts.
async function refresh() {
  clearTimeout(silence);
  silence = null;
  clearTimeout(soon);
  soon = null;
  pause = Math.min(pause * 1.6, MOST_SILENCE);
  if (document.hidden) {
    listen();
    return;
  }
  let fresh;
  try {
    const response = await fetch("/me/syncs" + ("whole" in pilots.dataset ? "?whole=1" : ""), { headers: { Accept: "application/xhtml+xml" } });
    if (!response.ok) throw new Error(response.status);
    fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    listen();
    return;
  }
  for (const pilot of pilots.children) {
    const now = fresh.querySelector(`#pilots [data-character="${CSS.escape(pilot.dataset.character)}"]`);
    if (!now) continue;
    pilot.querySelector(".facts").replaceWith(now.querySelector(".facts"));
    if (now.dataset.run) paint(JSON.parse(now.dataset.run));
  }
  const runs = fresh.querySelector("#runs");
  if (runs) document.querySelector("#runs")?.replaceWith(runs);
  listen();
}

pilots?.addEventListener("submit", async (event) => {
  if (!event.target.matches(".sync")) return;
  event.preventDefault();
  const pilot = event.target.closest("[data-character]");
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    const response = await fetch(event.target.action, { method: "POST", body: new URLSearchParams(new FormData(event.target)), headers: { Accept: "text/plain" }, redirect: "manual" });
    if (!response.ok && response.type !== "opaqueredirect") throw new Error(await response.text());
  } catch (error) {
    pilot.querySelector(".state").textContent = `Not started: ${error.message}`;
    button.disabled = false;
  }
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && silence) refresh();
});

if (pilots) {
  for (const pilot of pilots.querySelectorAll("[data-run]")) paint(JSON.parse(pilot.dataset.run));
  let wasLive = false;
  watch((state) => {
    if (state !== "live") return;
    if (wasLive || pilots.querySelector(".sync button:disabled")) refresh();
    wasLive = true;
  });
  subscribe("subscription { syncProgress { id characterId status found saved skipped errors finishedAt error } }", {}, (data) => {
    const run = data.syncProgress;
    pause = SILENCE;
    // Another run than the one that is shown may be that of a corporation's list, which is no sync of the pilot's own.
    if (shown.get(run.characterId)?.id === run.id) paint(run);
    else if (!run.finishedAt) soon ??= setTimeout(refresh, 300);
    if (run.finishedAt) refresh();
  });
}
