// What is known of the display, for the record: never used to identify anybody.

import { windowSize } from "./stage.js";

const first = (query, values) => values.find((value) => matchMedia(`(${query}: ${value})`).matches) ?? "unknown";

/** @param {number} interval - measured ms between frames */
export function describeDisplay(interval) {
  return {
    refresh_hz: 1000 / interval,
    device_pixel_ratio: devicePixelRatio,
    color_gamut: first("color-gamut", ["rec2020", "p3", "srgb"]),
    color_scheme: first("prefers-color-scheme", ["dark", "light"]),
    forced_colors: matchMedia("(forced-colors: active)").matches,
    forced_dark: isDarkened(),
    ...windowSize(),
    touch: matchMedia("(pointer: coarse)").matches,
    user_agent_family: browserFamily(navigator.userAgent),
  };
}

/** Whether the browser or an extension makes pages dark, against their wish as well: ours is light. */
export function isDarkened() {
  // "canvas" is white wherever a light page is left as it is; a browser that darkens pages gives it another colour.
  const probe = document.createElement("div");
  Object.assign(probe.style, { display: "none", colorScheme: "light", backgroundColor: "canvas" });
  document.body.append(probe);
  const white = getComputedStyle(probe).backgroundColor;
  probe.remove();
  const layers = [document.documentElement, document.body].map((element) => getComputedStyle(element));
  const light = layers.every(({ backgroundColor }) => Math.min(...backgroundColor.match(/[\d.]+/g).slice(0, 3)) > 180);
  return white !== "rgb(255, 255, 255)" || !light || layers.some(({ filter }) => filter !== "none" && filter !== "");
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
  return [globalThis.createImageBitmap, globalThis.HTMLDialogElement, globalThis.IntersectionObserver].every((f) => typeof f === "function");
}
