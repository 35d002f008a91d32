// The operator's dashboard reads itself anew every few seconds while somebody looks at it.
const EVERY = 5000;
const updated = document.querySelector("#updated");

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok) throw new Error(`answer ${response.status}`);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const open = document.querySelector("#ops details")?.open;
    const focused = document.activeElement?.getAttribute("href");
    document.querySelector("#ops").replaceWith(fresh.querySelector("#ops"));
    if (open) document.querySelector("#ops details").open = true;
    if (focused) document.querySelector(`#ops a[href="${CSS.escape(focused)}"]`)?.focus();
    document.title = fresh.title;
    updated.replaceChildren(...fresh.querySelector("#updated").childNodes);
    updated.classList.remove("stale");
  } catch (error) {
    updated.classList.add("stale");
    if (!updated.textContent.includes("not answering")) updated.append(", not answering now");
  }
}

setInterval(refresh, EVERY);
document.addEventListener("visibilitychange", refresh);
