// Draws the preview anew while somebody types.

const form = document.querySelector("[data-preview]");
const views = document.querySelector("#views");
const PAUSE = 180;
let timer = 0;
let asking = null;

async function draw() {
  asking?.abort();
  const own = new AbortController();
  asking = own;
  views.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch("/preview/views", {
      method: "POST", body: new URLSearchParams(new FormData(form)), signal: own.signal,
    });
    const html = await answer.text();
    if (own.signal.aborted) return;
    const opened = new Set([...views.querySelectorAll("details[open]")].map(name));
    views.innerHTML = answer.ok ? html : "";
    if (!answer.ok) {
      const said = document.createElement("p");
      said.className = "problem";
      said.textContent = "This could not be drawn.";
      views.append(said);
    }
    for (const one of views.querySelectorAll("details")) one.open ||= opened.has(name(one));
    views.setAttribute("aria-busy", "false");
  } catch (error) {
    if (error.name !== "AbortError") views.setAttribute("aria-busy", "false");
  }
}

function name(details) {
  return `${details.closest("[data-service]")?.dataset.service}/${details.querySelector("summary")?.textContent}`;
}

form.addEventListener("input", (event) => {
  if (event.target.matches("[data-template]")) {
    const chosen = new URLSearchParams({ template: event.target.value, object: form.elements.object.value });
    location.assign(`/preview?${chosen}`);
    return;
  }
  if (event.target.matches("#pasted")) form.elements.object.value = "paste";
  if (event.target.matches("[data-object]") && event.target.value === "paste") {
    const pasted = form.querySelector(".pasted");
    pasted.open = true;
    form.elements.pasted.focus();
  }
  clearTimeout(timer);
  timer = setTimeout(draw, PAUSE);
});
form.addEventListener("submit", (event) => { event.preventDefault(); draw(); });

// Tab indents; Escape first lets it leave the field.
let leaving = false;
form.elements.source.addEventListener("keydown", (event) => {
  if (event.key === "Escape") { leaving = true; return; }
  if (event.key === "Tab" && !event.shiftKey && !leaving) {
    event.preventDefault();
    event.target.setRangeText("  ", event.target.selectionStart, event.target.selectionEnd, "end");
    event.target.dispatchEvent(new Event("input", { bubbles: true }));
  }
  leaving = false;
});
