// A session belongs to the browser that began it. Its token is kept in the browser; the address bar shows a name for it that
// opens nothing elsewhere, so whoever gets that address from a participant cannot go on in their place.

const PREFIX = "evalkit-session-";
const KEPT = 20; // sessions of one browser; older ones are over

/** Keep a token; the name to show for it. Where the browser keeps nothing, the name is the token itself: a reload must resume. */
export function keep(token) {
  const name = Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  try {
    const old = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
    const at = (key) => JSON.parse(localStorage.getItem(key)).at;
    old.sort((a, b) => at(a) - at(b));
    old.slice(0, Math.max(0, old.length - KEPT)).forEach((key) => localStorage.removeItem(key));
    localStorage.setItem(PREFIX + name, JSON.stringify({ token, at: Date.now() }));
    return name;
  } catch {
    return token;
  }
}

/** The token kept under a name; "" when it is another browser's. Long names are tokens. */
export function find(name) {
  if (name.length !== 12) return name;
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name))?.token ?? "";
  } catch {
    return "";
  }
}
