// The profile's form: what it comes to, computed by the server while one types, and each error at its field.
import { later, localise } from "./page.js";

const form = document.getElementById("profile");
const touched = new Set();
const untouchedToBegin = !form.querySelector("[data-place]:not(:empty)");
let asked = 0;

function show({ html, errors }) {
  const preview = document.getElementById("preview");
  preview.innerHTML = html;
  localise(preview);
  document.getElementById("said").textContent = preview.querySelector(".sentence, .empty").textContent;
  for (const [place, text] of Object.entries(errors)) {
    const said = form.querySelector(`[data-place="${place}"]`);
    const fields = [...form.querySelectorAll(`[aria-describedby~="${said.id}"]`)];
    // Nobody is told off for a field that was not reached yet.
    const quiet = untouchedToBegin && fields.length > 0 && !fields.some((field) => touched.has(field.name));
    said.textContent = quiet ? "" : text;
    for (const field of fields) field.toggleAttribute("aria-invalid", false);
    if (said.textContent) fields.forEach((field) => field.setAttribute("aria-invalid", "true"));
  }
}

const preview = later(150, async () => {
  const mine = ++asked;
  const body = new URLSearchParams(new FormData(form));
  const response = await fetch(form.dataset.preview, { method: "POST", body }).catch(() => null);
  if (response?.redirected) location.reload();
  if (response?.ok && mine === asked) show(await response.json());
});

form.addEventListener("input", (event) => {
  touched.add(event.target.name);
  form.elements.week.value = "";
  preview();
});

form.addEventListener("click", (event) => {
  const week = event.target.closest("[data-week]");
  if (!week) return;
  form.elements.week.value = week.dataset.week;
  preview();
});
