// A break: the page to rest at. It goes on when its button is pressed, never by itself: nobody would look.

import { part } from "./screens.js";

const TICK = 250; // ms

const clockFace = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

/**
 * Fill in the page of a break, and count down where it has a limit.
 * @param {HTMLElement} screen
 * @param {{seconds: number|null}} pause - what is left of it
 * @param {[number, number]} progress - trials done, and all
 * @returns {() => void} how to stop
 */
export function showPause(screen, { seconds }, [done, of]) {
  part(screen, "trials-done").textContent = done;
  part(screen, "trials-all").textContent = of;
  Object.assign(screen.querySelector("progress"), { max: of || 1, value: done });
  const end = performance.now() + 1000 * (seconds ?? 0);
  const tick = () => {
    const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    part(screen, "clock").textContent = clockFace(left);
    part(screen, "left").hidden = seconds === null || left === 0;
    part(screen, "over").hidden = seconds === null || left > 0;
  };
  tick();
  if (seconds === null) return () => {};
  const timer = setInterval(tick, TICK);
  return () => clearInterval(timer);
}
