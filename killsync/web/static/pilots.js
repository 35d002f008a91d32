// The reader's characters: each sync shows how far it is, and what is asked for happens without leaving the page.
import { subscribe, watch } from "./live.js";

const pilots = document.querySelector("#pilots");
const number = new Intl.NumberFormat("en");
// A running sync of which nothing was heard for this long is looked up: what happened before the socket was open, or
// while it was away, is told to nobody, ms.
const SILENCE = 3000;
let silence = null;

function words(run) {
  const figures = `${number.format(run.saved)} new, ${number.format(run.skipped)} known`
    + (run.errors ? `, ${number.format(run.errors)} failed` : "");
  if (run.status === "QUEUED") return "Waiting for a worker";
  if (run.status === "FAILED") return `Sync failed: ${run.error || "no reason is known"}`;
  if (run.finishedAt) return `Synced: ${figures}`;
  const reason = run.status === "WAITING" && run.error ? ` (${run.error})` : "";
  return run.found ? `Syncing ${number.format(run.found)} killmails: ${figures}${reason}` : `Reading the list${reason}`;
}

function paint(run) {
  const pilot = pilots.querySelector(`[data-character="${CSS.escape(run.characterId)}"]`);
  if (!pilot) return;
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
  clearTimeout(silence);
  if (pilots.querySelector(".sync button:disabled")) silence = setTimeout(refresh, SILENCE);
}

// Reads the page again for its figures: runs, last and next sync, counts.
async function refresh() {
  let fresh;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok) throw new Error(response.status);
    fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    clearTimeout(silence);
    silence = setTimeout(refresh, 2 * SILENCE);
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

if (pilots) {
  for (const pilot of pilots.querySelectorAll("[data-run]")) paint(JSON.parse(pilot.dataset.run));
  let wasLive = false;
  watch((state) => {
    if (state !== "live") return;
    if (wasLive || pilots.querySelector(".sync button:disabled")) refresh();
    wasLive = true;
  });
  subscribe("subscription { syncProgress { characterId status found saved skipped errors finishedAt error } }", {}, (data) => {
    paint(data.syncProgress);
    if (data.syncProgress.finishedAt) refresh();
  });
}
