// Search boxes suggest while one types: an ARIA combobox over what GET /search answers. Without this they are plain forms.
const PAUSE = 120;
let boxes = 0;

for (const form of document.querySelectorAll("form.search")) suggest(form);

function suggest(form) {
  const input = form.querySelector("input[type=search]");
  const list = document.createElement("ul");
  list.id = `suggestions-${++boxes}`;
  list.className = "suggestions";
  list.hidden = true;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Suggestions");
  form.append(list);
  for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-controls", list.id], ["aria-expanded", "false"]]) {
    input.setAttribute(name, value);
  }
  let timer = null;
  let turn = 0;
  let chosen = -1;

  const close = () => {
    list.hidden = true;
    chosen = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const open = () => {
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  };
  const options = () => [...list.querySelectorAll("[role=option][data-href]")];
  const choose = (position) => {
    const all = options();
    chosen = all.length ? (position + all.length) % all.length : -1;
    all.forEach((each, index) => each.setAttribute("aria-selected", String(index === chosen)));
    if (chosen < 0) return;
    input.setAttribute("aria-activedescendant", all[chosen].id);
    all[chosen].scrollIntoView({ block: "nearest" });
  };

  const option = (result, index) => {
    const line = document.createElement("li");
    line.id = `${list.id}-${index}`;
    line.setAttribute("role", "option");
    line.setAttribute("aria-selected", "false");
    line.dataset.href = result.href;
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = result.name;
    const noun = document.createElement("span");
    noun.className = "dim";
    noun.textContent = result.ticker ? `${result.noun} [${result.ticker}]` : result.noun;
    line.append(name, " ", noun);
    return line;
  };
  const note = (text) => {
    const line = document.createElement("li");
    line.setAttribute("role", "option");
    line.setAttribute("aria-disabled", "true");
    line.className = "dim";
    line.textContent = text;
    list.replaceChildren(line);
    chosen = -1;
    open();
  };

  const look = async () => {
    const text = input.value.trim();
    const mine = ++turn;
    if (!text) return close();
    if (list.hidden) note("Searching…");
    try {
      const query = new URLSearchParams(new FormData(form));
      const response = await fetch("/search?" + query, { headers: { Accept: "application/json" } });
      if (mine !== turn) return;
      if (!response.ok) return note(response.status === 429 ? "Too many searches: wait a moment" : "The search does not answer");
      const { results } = await response.json();
      if (mine !== turn) return;
      if (!results.length) return note("Nothing found");
      list.replaceChildren(...results.map(option));
      chosen = -1;
      open();
    } catch {
      if (mine === turn) note("The search does not answer");
    }
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      turn++;
      close();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && options().length) {
      event.preventDefault();
      open();
      choose(event.key === "ArrowDown" ? chosen + 1 : Math.max(chosen, 0) - 1);
    } else if (event.key === "Enter" && chosen >= 0 && !list.hidden) {
      event.preventDefault();
      location.assign(options()[chosen].dataset.href);
    }
  });
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const line = event.target.closest("[data-href]");
    if (line) location.assign(line.dataset.href);
  });
  input.addEventListener("blur", () => {
    turn++;
    close();
  });
}
