// The dashboard, kept up to date: the page asks whether anything has changed, and what has takes the place of the old.

const EVERY = 5000; // ms

const live = document.querySelector('[data-part="live"]');
let tag = ""; // of what is shown

const shown = (date) => `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`; // as the server writes it

async function refresh() {
  if (document.hidden) return;
  const headers = tag ? { "If-None-Match": tag } : {};
  const response = await fetch(location.href, { cache: "no-store", headers }).catch(() => null);
  if (response?.status === 304) {
    live.querySelector('[data-part="stale"]').hidden = true;
    const date = response.headers.get("Date"); // all that has changed
    if (date) live.querySelector('[data-part="at"]').textContent = shown(new Date(date));
    return;
  }
  if (!response?.ok) {
    live.querySelector('[data-part="stale"]').hidden = false;
    return;
  }
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.querySelector('[data-part="live"]');
  if (!fresh) {
    location.reload(); // logged out meanwhile
    return;
  }
  for (const part of live.querySelectorAll("details[data-part]")) {
    const same = fresh.querySelector(`details[data-part="${part.dataset.part}"]`);
    if (same) same.open = part.open;
  }
  // A form that somebody is about to send, or a text that is selected, stays as it is.
  if (live.contains(document.activeElement) || getSelection()?.toString()) return;
  live.replaceChildren(...fresh.childNodes);
  tag = response.headers.get("ETag") ?? "";
}

setInterval(refresh, EVERY);
document.addEventListener("visibilitychange", refresh);
