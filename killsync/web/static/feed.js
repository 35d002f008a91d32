// The list of killmails: new ones arrive on top, older ones below. The server makes each row; here it finds its place.
import { fill } from "./fill.js";
import { subscribe, watch } from "./live.js";

// Rows that stay on the page while new ones arrive; older ones can be loaded again.
const MOST_ROWS = 300;
// Killmails that come within this time are fetched together: at once after a quiet while, else once a second, and not by
// every reader at the same moment, ms.
const GATHER = 120;
const EVERY = 1000;
const MOST_IDS = 100;
const table = document.querySelector("#feed");

if (table) {
  const body = table.tBodies[0];
  const news = document.querySelector("#news");
  const kills = () => [...body.querySelectorAll("tr[data-killmail]")];
  const dayOf = (row) => row.dataset.time.slice(0, 10);
  // The headings of days that the server made, by day.
  const headings = new Map([...body.querySelectorAll("tr[data-day]")].map((row) => [row.dataset.day, row]));

  const fetchRows = async (more) => {
    const response = await fetch("/killmails/rows" + table.dataset.rows + (table.dataset.rows === "?" ? "" : "&") + more);
    if (!response.ok) throw new Error(response.status === 429 ? "too many requests, wait a moment" : "the server does not answer");
    const box = document.createElement("template");
    box.innerHTML = await response.text();
    box.content.querySelectorAll("tr[data-day]").forEach((row) => headings.has(row.dataset.day) || headings.set(row.dataset.day, row));
    return { rows: [...box.content.querySelectorAll("tr[data-killmail]")], hasMore: response.headers.get("Killsync-More") === "1" };
  };

  // Newest first, as the server orders them: by time, then by id.
  const isOlder = (row, than) => row.dataset.time < than.dataset.time
    || (row.dataset.time === than.dataset.time && BigInt(row.dataset.killmail) < BigInt(than.dataset.killmail));

  const place = (row) => {
    const known = body.querySelector(`tr[data-killmail="${CSS.escape(row.dataset.killmail)}"]`);
    if (known) return false;
    row.classList.add("new");
    body.insertBefore(row, kills().find((each) => isOlder(each, row)) || null);
    return true;
  };

  // Each day's heading before the first row of it, and none without rows.
  const head = () => {
    const unused = new Map(headings);
    let day = null;
    for (const row of kills()) {
      if (dayOf(row) === day) continue;
      day = dayOf(row);
      const heading = headings.get(day);
      if (heading && row.previousElementSibling !== heading) body.insertBefore(heading, row);
      unused.delete(day);
    }
    unused.forEach((heading) => heading.remove());
  };

  // How long ago, in the server's words, as time goes by.
  const units = [[365 * 86400, "year"], [86400, "day"], [3600, "hour"], [60, "min"]];
  const ago = (time) => {
    const seconds = (Date.now() - Date.parse(time)) / 1000;
    const [size, word] = units.find((unit) => seconds >= unit[0]) || [1, ""];
    const count = Math.floor(seconds / size);
    return word ? `${count} ${word}${count === 1 || word === "min" ? "" : "s"} ago` : "just now";
  };
  setInterval(() => kills().forEach((row) => { row.querySelector(".ago").textContent = ago(row.dataset.time); }), 60000);

  const settle = () => {
    const isEmpty = kills().length === 0;
    table.hidden = isEmpty;
    document.querySelector("#empty").hidden = !isEmpty;
    head();
    fill();
  };

  const trim = () => {
    const rows = kills();
    if (rows.length <= MOST_ROWS) return;
    rows.slice(MOST_ROWS).forEach((row) => row.remove());
    olderFrom(rows[MOST_ROWS - 1], true);
  };

  // Older killmails, below.

  let more = document.querySelector("#more");
  const moreState = document.querySelector("#more-state");

  const olderFrom = (row, hasMore) => {
    if (!more && hasMore) {
      more = document.createElement("a");
      more.id = "more";
      more.className = "button";
      more.textContent = "Older killmails";
      moreState.before(more);
      more.addEventListener("click", older);
    }
    if (!more) return;
    more.hidden = !hasMore;
    const query = new URLSearchParams(location.search);
    query.set("after", row.dataset.cursor);
    more.href = "?" + query;
  };

  const older = async (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if (more.getAttribute("aria-busy") === "true") return;
    more.setAttribute("aria-busy", "true");
    moreState.textContent = "Loading…";
    try {
      const found = await fetchRows(new URLSearchParams({ after: new URL(more.href).searchParams.get("after") }));
      found.rows.forEach((row) => body.append(row));
      if (found.rows.length) olderFrom(found.rows[found.rows.length - 1], found.hasMore);
      else more.hidden = true;
      moreState.textContent = found.hasMore ? `${found.rows.length} more` : "That was the last one.";
      found.rows[0]?.querySelector("a").focus();
      settle();
    } catch (error) {
      moreState.textContent = `Not loaded: ${error.message}. Try again.`;
    } finally {
      more.removeAttribute("aria-busy");
    }
  };
  more?.addEventListener("click", older);

  // Coming back: from a killmail to the rows that were loaded and the place where the reader was.

  const memory = "feed " + location.pathname + location.search;

  addEventListener("pagehide", () => {
    const rows = kills();
    const first = rows.find((row) => row.getBoundingClientRect().bottom > 0);
    if (!first) return;
    const last = rows[rows.length - 1];
    const kept = { id: first.dataset.killmail, top: first.getBoundingClientRect().top, time: last.dataset.time, last: last.dataset.killmail, scroll: scrollY };
    try {
      sessionStorage.setItem(memory, JSON.stringify(kept));
    } catch {
      // A browser that keeps nothing begins at the top.
    }
  });

  const comeBack = async () => {
    let kept = null;
    try {
      kept = JSON.parse(sessionStorage.getItem(memory));
    } catch {
      return;
    }
    if (!kept || !kept.scroll) return;
    history.scrollRestoration = "manual";
    const isThere = () => {
      const last = kills().pop();
      return !last || last.dataset.time < kept.time || (last.dataset.time === kept.time && BigInt(last.dataset.killmail) <= BigInt(kept.last));
    };
    try {
      while (!isThere() && more && !more.hidden && kills().length < MOST_ROWS) {
        const found = await fetchRows(new URLSearchParams({ after: new URL(more.href).searchParams.get("after") }));
        found.rows.forEach((row) => body.append(row));
        if (!found.rows.length) break;
        olderFrom(found.rows[found.rows.length - 1], found.hasMore);
      }
    } catch {
      // What could not be loaded can be asked for below the list.
    }
    head();
    const row = body.querySelector(`tr[data-killmail="${CSS.escape(kept.id)}"]`);
    scrollTo(0, row ? scrollY + row.getBoundingClientRect().top - kept.top : kept.scroll);
    fill();
  };

  if (performance.getEntriesByType("navigation")[0]?.type === "back_forward") comeBack();

  // New killmails, on top.

  const arrived = new Set();
  let gathering = null;

  let lastBrought = 0;

  const gather = (delay) => {
    if (arrived.size) gathering ??= setTimeout(bring, delay * (1 + Math.random() / 3));
  };

  // Whichever way rows came: by an event, or by a look at the list that was quicker than the event.
  const show = (rows) => {
    const fresh = rows.filter(place).length;
    if (fresh) news.textContent = fresh === 1 ? "1 new killmail" : `${fresh} new killmails`;
    trim();
    settle();
  };

  const bring = async () => {
    const ids = [...arrived].slice(0, MOST_IDS);
    let pause = EVERY;
    lastBrought = Date.now();
    try {
      const found = await fetchRows("ids=" + ids.join(","));
      ids.forEach((id) => arrived.delete(id));
      show(found.rows);
    } catch {
      pause = 3000;
    }
    gathering = null;
    gather(pause);
  };

  // What the log does not go back to any more; the list is read from its newest end.
  const catchUp = async () => {
    try {
      show((await fetchRows("")).rows);
    } catch {
      setTimeout(catchUp, 5000);
    }
  };

  if ("live" in table.dataset) {
    const live = document.querySelector("#live");
    const words = { live: "live", reconnecting: "reconnecting", refused: "not live" };
    live.textContent = "connecting";
    watch((state) => {
      live.textContent = words[state];
      live.dataset.state = state;
    });
    // From the page's own state on; after a broken connection or a laptop's sleep, from the last one that came.
    const variables = { filter: JSON.parse(table.dataset.filter), after: table.dataset.after || null };
    subscribe("subscription ($filter: KillmailFilter, $after: ID) { newKillmail(filter: $filter, after: $after) { id sequence } }",
      variables,
      (data) => {
        variables.after = data.newKillmail.sequence;
        arrived.add(data.newKillmail.id);
        // More than the page shows: the others can be loaded below.
        if (arrived.size > MOST_ROWS) arrived.delete(arrived.values().next().value);
        gather(Date.now() - lastBrought > EVERY ? GATHER : EVERY);
      },
      () => {
        variables.after = null;
        setTimeout(catchUp, 700);
      });
  }
}
