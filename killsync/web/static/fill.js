// Names come after killmails: what a page had to leave out is asked for until it is known, ever more rarely.
const MOST = 100;
// Some ids have no name at ESI; after about ten minutes this page stops asking.
const TURNS = 16;
let timer = null;
let pause = 2000;
let turns = 0;

// Looks for names that are missing, now that the page has changed.
export function fill() {
  pause = 2000;
  turns = 0;
  if (!timer) timer = setTimeout(ask, pause);
}

async function ask() {
  timer = null;
  const missing = [...document.querySelectorAll("[data-unnamed]")];
  const wanted = [...new Set(missing.map((place) => place.dataset.unnamed))].slice(0, MOST);
  if (!wanted.length) return;
  try {
    const response = await fetch("/names?of=" + wanted.join(","));
    const names = response.ok ? await response.json() : {};
    for (const place of missing) {
      const name = names[place.dataset.unnamed];
      if (name === undefined) continue;
      place.textContent = name;
      place.removeAttribute("data-unnamed");
    }
  } catch {
    // The server is away: the next turn asks again.
  }
  pause = Math.min(pause * 1.7, 60000);
  turns += 1;
  if (!timer && turns < TURNS && document.querySelector("[data-unnamed]")) timer = setTimeout(ask, pause);
}

fill();
