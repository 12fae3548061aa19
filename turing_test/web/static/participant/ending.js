// How a participant leaves: with a code, by the platform's form, or back to the platform's site.

import { part } from "./screens.js";

const REDIRECT_AFTER = 2500; // ms to read the thanks

/** Fill in what a screen of thanks offers. At most one of `form`, `redirect` and `code` is given. */
export function showEnding(screen, { code, redirect, form, give_back: giveBack }) {
  part(screen, "give-back").hidden = !giveBack;
  if (form) showForm(part(screen, "form"), form);
  else if (redirect) showRedirect(part(screen, "redirect"), redirect);
  else if (code) showCode(part(screen, "code"), code);
}

function showForm(form, { action, fields }) {
  form.action = action;
  for (const [name, value] of Object.entries(fields)) {
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
  }
  form.hidden = false;
}

function showRedirect(place, url) {
  place.querySelector("a").href = url;
  place.hidden = false;
  setTimeout(() => location.assign(url), REDIRECT_AFTER);
}

function showCode(place, code) {
  part(place, "code-value").textContent = code;
  const button = place.querySelector('[data-action="copy"]');
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code);
    button.textContent = button.dataset.done;
  });
  place.hidden = false;
}
