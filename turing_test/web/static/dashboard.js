// The dashboard, kept up to date: the page is fetched again, and what has changed takes the place of the old.

const EVERY = 5000; // ms

const live = document.querySelector('[data-part="live"]');

async function refresh() {
  if (document.hidden) return;
  const response = await fetch(location.href, { cache: "no-store" }).catch(() => null);
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
}

setInterval(refresh, EVERY);
document.addEventListener("visibilitychange", refresh);
