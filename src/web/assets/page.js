// On every page: moments in the reader's own way of writing them, and parts that are fetched again when the server
// says that something has changed. Everything here only helps: the page works without.

/** Writes moments and days as the reader does; moments with a zone of their own stay in it. */
export function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const options = { dateStyle: "medium", timeStyle: "short" };
    if (time.dataset.zone) options.timeZone = time.dataset.zone;
    time.textContent = new Intl.DateTimeFormat(undefined, options).format(new Date(time.dateTime));
    time.title = time.dateTime;
  }
  const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
  for (const at of root.querySelectorAll("[data-day]")) at.textContent = day.format(new Date(at.dataset.day));
  const week = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
  for (const at of root.querySelectorAll("[data-days]")) {
    const [from, to] = at.dataset.days.split("/").map((date) => new Date(date));
    at.textContent = week.formatRange(from, to);
  }
}

/** The page as it is now; nothing when it cannot be had. A session that is over leads to the login. */
export async function fetchPage(url) {
  const response = await fetch(url).catch(() => null);
  if (response?.redirected) location.reload();
  if (!response?.ok) return null;
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

/** Puts a fresh part in the place of an old one; what was open stays open, and the focus stays where it was. */
export function replace(old, fresh) {
  const opened = [...old.querySelectorAll("details")].map((details) => details.open);
  fresh.querySelectorAll("details").forEach((details, n) => (details.open ||= opened[n] ?? false));
  const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  localise(fresh);
  old.replaceWith(document.adoptNode(fresh));
  if (focused) document.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

async function refresh() {
  const page = await fetchPage(location.href);
  for (const part of document.querySelectorAll("[data-refresh]")) {
    const fresh = page?.getElementById(part.id);
    if (fresh) replace(part, fresh);
  }
}

/** Gathers calls for some time and then calls `then` once: one at a time, and not while nobody looks. */
export function later(ms, then) {
  let due = false;
  let running = false;
  let missed = false;
  const call = () => {
    missed = running;
    if (!due) setTimeout(run, ms);
    due = true;
  };
  const run = async () => {
    if (document.hidden) return document.addEventListener("visibilitychange", run, { once: true });
    running = true;
    try {
      await then();
    } finally {
      due = running = false;
      if (missed) call();
    }
  };
  return call;
}

/** The stream of events at a URL. Where it is refused, the session is over or the thing is gone: the page says which. */
export function listen(url) {
  const source = new EventSource(url);
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) fetchPage(location.href);
  });
  return source;
}

function watch(url) {
  const source = listen(url);
  const soon = later(300, async () => {
    await refresh();
    if (!document.querySelector(`[data-live="${CSS.escape(url)}"]`)) source.close();
  });
  // What happened before the stream was open, or while it was not, is in the page as it is then.
  for (const name of ["open", "changed", "panel", "progress", "done", "connection", "lagged"]) {
    source.addEventListener(name, soon);
  }
}

localise(document);
document.querySelectorAll("[data-refresh][data-live]").forEach((part) => watch(part.dataset.live));

document.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-fill]");
  if (!chip) return;
  const field = document.getElementById(chip.dataset.fill);
  field.value = chip.dataset.value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
});

document.addEventListener("input", (event) => {
  const all = event.target.name === "selector" && event.target.form.elements.target;
  if (all) all.checked = false;
});

document.addEventListener("change", async (event) => {
  const { name, checked, form } = event.target;
  if (name === "target" && checked) form.elements.selector.value = "";
  const { into } = event.target.dataset;
  const [file] = into ? event.target.files : [];
  if (file) document.getElementById(into).value = await file.text();
});
