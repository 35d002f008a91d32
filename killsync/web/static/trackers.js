// The form of a tracker: names are suggested while one types, and the sentence and what it would have told follow. Without this
// the page does the same with its buttons.
const PAUSE = 400;
const TYPING = 150;
const form = document.getElementById("tracker");
const preview = document.getElementById("preview");

if (form) {
  for (const input of form.querySelectorAll("input[data-names]")) suggest(input);
  if (preview && form.method === "post") follow();
}

function follow() {
  let timer = null;
  let turn = 0;
  const look = async () => {
    const mine = ++turn;
    const data = new URLSearchParams(new FormData(form));
    try {
      const response = await fetch("/trackers/preview", { method: "POST", body: data });
      if (mine !== turn || !response.ok) return;
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (mine === turn) preview.replaceChildren(...page.body.childNodes);
    } catch {
      // The button shows it as well.
    }
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE);
  };
  form.addEventListener("input", later);
  form.addEventListener("change", later);
}

// An ARIA combobox over what GET /filter/names answers, for the last of the names in the field.
function suggest(input) {
  const list = document.createElement("ul");
  list.id = `names-${input.name}`;
  list.className = "suggestions";
  list.hidden = true;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Suggestions");
  input.after(list);
  for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-controls", list.id], ["aria-expanded", "false"]]) {
    input.setAttribute(name, value);
  }
  let timer = null;
  let turn = 0;
  let chosen = -1;
  const options = () => [...list.children];
  const close = () => {
    list.hidden = true;
    chosen = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const choose = (position) => {
    const all = options();
    chosen = all.length ? (position + all.length) % all.length : -1;
    all.forEach((each, index) => each.setAttribute("aria-selected", String(index === chosen)));
    if (chosen >= 0) input.setAttribute("aria-activedescendant", all[chosen].id);
  };
  const take = (line) => {
    const before = input.value.split(",").slice(0, -1).map((each) => each.trim());
    const name = line.dataset.name.includes(",") ? line.dataset.id : line.dataset.name;
    input.value = [...before, name].join(", ");
    close();
    input.dispatchEvent(new Event("input", { bubbles: true }));
    turn++;
    clearTimeout(timer);
  };
  const look = async () => {
    const text = input.value.split(",").at(-1).trim();
    const mine = ++turn;
    if (text.length < 2) return close();
    try {
      const query = new URLSearchParams({ of: input.dataset.names, q: text });
      const response = await fetch("/filter/names?" + query, { headers: { Accept: "application/json" } });
      if (mine !== turn || !response.ok) return;
      const { results } = await response.json();
      if (mine !== turn) return;
      list.replaceChildren(...results.map((result, index) => {
        const line = document.createElement("li");
        line.id = `${list.id}-${index}`;
        line.setAttribute("role", "option");
        line.setAttribute("aria-selected", "false");
        line.dataset.name = result.name;
        line.dataset.id = result.id;
        line.textContent = result.name;
        return line;
      }));
      chosen = -1;
      list.hidden = !results.length;
      input.setAttribute("aria-expanded", String(!!results.length));
    } catch {
      close();
    }
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, TYPING);
  });
  input.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "Escape") {
      event.preventDefault();
      turn++;
      close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      choose(event.key === "ArrowDown" ? chosen + 1 : Math.max(chosen, 0) - 1);
    } else if (event.key === "Enter" && chosen >= 0) {
      event.preventDefault();
      take(options()[chosen]);
    }
  });
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const line = event.target.closest("[data-name]");
    if (line) take(line);
  });
  input.addEventListener("blur", () => {
    turn++;
    close();
  });
}
