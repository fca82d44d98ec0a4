// The fleet: tiles that follow what the server says of them, and more of them as one scrolls.
import { fetchPage, later, listen, replace } from "./page.js";

let source;

function tileOf(path) {
  return document.querySelector(`#tiles a[href="${CSS.escape(path)}"]`);
}

function mark(tile, word, words) {
  tile.querySelector("i")?.remove();
  tile.className = word === "online" ? "" : word;
  if (word !== "online") {
    const said = document.createElement("i");
    said.textContent = words;
    tile.append(said);
  }
}

/** All tiles anew: panels came or went, or are looked for by a state that has changed. */
async function renew() {
  const page = await fetchPage(location.href);
  if (!page?.getElementById("fleet")) return;
  for (const part of ["counts", "tiles"]) replace(document.getElementById(part), page.getElementById(part));
  document.getElementById("fleet").dataset.live = page.getElementById("fleet").dataset.live;
  scrollOn();
}

const again = later(200, renew);

function apply({ first, counts, panels, groups }) {
  const fleet = document.getElementById("fleet");
  if (!first && "filtered" in fleet.dataset) return again();
  if (first) document.querySelectorAll("#tiles a[class]:not(.more)").forEach((tile) => tile.closest(".tiles") && mark(tile, "online"));
  for (const [path, word, words] of panels) {
    const tile = tileOf(path);
    if (tile) mark(tile, word, words);
  }
  for (const [name, n] of Object.entries(counts)) {
    const count = document.querySelector(`[data-count="${name}"]`);
    if (!count) continue;
    count.textContent = n;
    if (n > 0) count.closest("li").hidden = false;
  }
  for (const [name, words] of groups) {
    const said = document.querySelector(`[data-group="${CSS.escape(name)}"] h2 small`);
    if (said) said.textContent = words;
  }
}

function watch() {
  source = listen(document.getElementById("fleet").dataset.live);
  source.addEventListener("fleet", (event) => apply(JSON.parse(event.data)));
  source.addEventListener("reload", () => {
    source.close();
    setTimeout(() => renew().finally(watch), 500);
  });
}

async function more(link) {
  if (link.dataset.under) return;
  link.dataset.under = "way";
  const page = await fetchPage(link.dataset.more);
  if (!page) return delete link.dataset.under;
  for (const group of page.querySelectorAll(".group")) {
    const last = document.querySelector("#tiles > .group:last-of-type");
    if (last?.dataset.group === group.dataset.group) last.querySelector(".tiles").append(...group.querySelectorAll(".tiles > a"));
    else link.before(document.adoptNode(group));
  }
  const next = page.querySelector(".more");
  if (next) link.replaceWith(document.adoptNode(next));
  else link.remove();
  scrollOn();
}

const near = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => more(entry.target)),
  { rootMargin: "1200px" },
);

function scrollOn() {
  near.disconnect();
  const link = document.querySelector("#tiles .more");
  if (link) near.observe(link);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-more]");
  if (!link) return;
  event.preventDefault();
  more(link);
});

watch();
scrollOn();
