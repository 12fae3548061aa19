// What is known of the display, for the record: never used to identify anybody.

const first = (query, values) => values.find((value) => matchMedia(`(${query}: ${value})`).matches) ?? "unknown";

/** @param {number} interval - measured ms between frames */
export function describeDisplay(interval) {
  return {
    refresh_hz: 1000 / interval,
    device_pixel_ratio: devicePixelRatio,
    color_gamut: first("color-gamut", ["rec2020", "p3", "srgb"]),
    color_scheme: first("prefers-color-scheme", ["dark", "light"]),
    forced_colors: matchMedia("(forced-colors: active)").matches,
    width: innerWidth,
    height: innerHeight,
    touch: matchMedia("(pointer: coarse)").matches,
    user_agent_family: browserFamily(navigator.userAgent),
  };
}

/** The browser's family, without version or system. */
export function browserFamily(agent) {
  const families = [
    ["Edge", /Edg\//],
    ["Opera", /OPR\//],
    ["Samsung", /SamsungBrowser\//],
    ["Firefox", /Firefox\/|FxiOS\//],
    ["Chrome", /Chrom(e|ium)\/|CriOS\//],
    ["Safari", /Safari\//],
  ];
  return families.find(([, pattern]) => pattern.test(agent))?.[0] ?? "other";
}

/** Whether this browser can do what the trials need. */
export function isCapable() {
  return [globalThis.createImageBitmap, globalThis.HTMLDialogElement, AbortSignal.timeout].every((f) => typeof f === "function");
}
