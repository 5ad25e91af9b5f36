// What pages do beyond being read: live changes, times that pass, keys, changes without a new page.

const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];

// Times.
function ago(seconds) {
  if (seconds < 5) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}
function passTime() {
  for (const time of $$("time[datetime]")) {
    const at = Date.parse(time.dateTime);
    if (!Number.isNaN(at)) {
      const text = ago((Date.now() - at) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  }
}
setInterval(passTime, 1000);

// Regions: parts of the page that are drawn anew by the server.
function replace(region, fresh) {
  // What a reader opened stays open, and what has the focus keeps it.
  if (region.contains(document.activeElement) && document.activeElement !== document.body) {
    const link = document.activeElement.getAttribute("href");
    region.replaceChildren(...fresh.childNodes);
    if (link) $$("a[href]", region).find((one) => one.getAttribute("href") === link)?.focus();
    return;
  }
  const opened = $$("details", region).map((one) => one.open);
  region.replaceChildren(...fresh.childNodes);
  $$("details", region).forEach((one, index) => { if (opened[index]) one.open = true; });
}
let refreshing = null;
let again = null;
async function refresh(only) {
  // What is fetched just now may be older than what this wish is about.
  if (refreshing) { again = { only: again && again.only !== only ? undefined : only }; return; }
  refreshing = new AbortController();
  try {
    const answer = await fetch(location.href, { signal: refreshing.signal });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const region of $$("[data-region]")) {
      const fresh = page.getElementById(region.id);
      const wanted = !only || region.dataset.refresh === only;
      if (fresh && wanted && region.innerHTML !== fresh.innerHTML) replace(region, fresh);
    }
    empty();
  } catch { /* The next happening tries again. */ } finally {
    refreshing = null;
    if (again) {
      const { only: next } = again;
      again = null;
      refresh(next);
    }
  }
}

// Rows.
const MOST = 200;
function matches(delivery) {
  const wanted = new URLSearchParams(location.search);
  const same = (field) => !wanted.get(field) || wanted.get(field) === delivery[field];
  const rollout = wanted.get("rollout");
  const full = `${delivery.namespace}/${delivery.name}`;
  return ["outcome", "trigger", "service", "recipient"].every(same)
    && (!rollout || rollout === delivery.name || rollout === full);
}
function rowOf(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.content.firstElementChild;
}
function empty() {
  const rows = $("#deliveries");
  const note = $("[data-empty]");
  if (note && rows) note.hidden = rows.children.length > 0;
}
function delivered({ delivery, row, new: isNew }) {
  const rows = $("#deliveries");
  const about = $("[data-refresh]")?.dataset.refresh;
  if (about === delivery.id) refresh(about);
  if (!rows) return;
  const old = $$("tr", rows).find((one) => one.dataset.id === delivery.id);
  const fits = location.pathname === "/"
    ? matches(delivery)
    : decodeURIComponent(location.pathname) === `/rollouts/${delivery.namespace}/${delivery.name}`;
  if (!fits) { old?.remove(); empty(); return; }
  const fresh = rowOf(row);
  if (old) {
    const focused = old.contains(document.activeElement);
    old.replaceWith(fresh);
    if (focused) $("[data-open]", fresh)?.focus();
    fresh.classList.add("changed");
  } else if (isNew || location.search) {
    rows.prepend(fresh);
    fresh.classList.add("fresh");
    while (rows.children.length > MOST) rows.lastElementChild.remove();
  }
  empty();
}

// The line to the server.
function listen() {
  const live = $("[data-live]");
  if (!live || !$("[data-region]")) return;
  const source = new EventSource("/api/v1/events");
  const say = (word, title) => { live.textContent = word; live.title = title; live.dataset.state = word; };
  source.addEventListener("open", () => { say("Live", "What happens appears here as it happens"); refresh(); });
  source.addEventListener("error", () => say("Offline", "Herald does not answer; trying again"));
  const on = (kind, what) => source.addEventListener(kind, (event) => what(JSON.parse(event.data)));
  const put = (id) => ({ html }) => {
    const region = document.getElementById(id);
    const holder = document.createElement("div");
    holder.innerHTML = html;
    if (region && region.innerHTML !== holder.innerHTML) replace(region, holder);
  };
  on("delivery", delivered);
  on("queue", put("queue"));
  on("services", put("services"));
  on("rollouts", () => { if ($('[data-refresh="rollouts"]')) refresh("rollouts"); });
  on("reload", () => refresh());
}

// Resending and dropping.
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-change]");
  if (!form) return;
  event.preventDefault();
  const said = $("[data-problem]");
  const answer = await fetch(`/api/v1/${form.dataset.change}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": $('meta[name="csrf"]')?.content ?? "" },
    body: JSON.stringify({ ids: form.dataset.ids?.split(" ") ?? [form.dataset.id] }),
  }).catch(() => null);
  if (answer?.ok) { if (said) said.hidden = true; refresh(); return; }
  const body = answer ? await answer.json().catch(() => null) : null;
  if (said) { said.textContent = body?.error ?? "Herald does not answer."; said.hidden = false; }
});

// Filters.
const filters = $("[data-filters]");
filters?.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = [...new FormData(filters)].filter(([, value]) => value !== "");
  const query = new URLSearchParams(given).toString();
  location.assign(query ? `/?${query}` : "/");
});
$("select", filters ?? document.createElement("i"))?.addEventListener("change", () => filters.requestSubmit());

// Keys.
let going = false;
function move(step) {
  const rows = $$("[data-rows] [data-open], [data-row] h2 a, summary");
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement.closest("[data-open], summary, h2 a") ?? document.activeElement);
  rows[Math.min(Math.max(at + step, 0), rows.length - 1)].focus();
}
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key === "Escape" && typing) { event.target.blur(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (going) {
    going = false;
    $(`nav a[data-key="${CSS.escape(event.key)}"]`)?.click();
    return;
  }
  const what = {
    g: () => { going = true; setTimeout(() => { going = false; }, 1500); },
    j: () => move(1),
    k: () => move(-1),
    "/": () => $("[data-filters] input, #source")?.focus(),
    "?": () => $("#keys")?.showModal(),
  }[event.key];
  if (what) { event.preventDefault(); what(); }
});

listen();
