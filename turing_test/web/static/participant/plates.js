// The screen for colour vision: plates of dots, one after the other.

import { part } from "./screens.js";
import { drawCrisp } from "./stage.js";

const SIDE = 300; // CSS pixels of a plate; participant.css has the same

/** What is read on each plate: the number typed, or "" for none. */
export async function readPlates(screen, plates) {
  const form = part(screen, "answer");
  const canvas = part(screen, "plate");
  canvas.width = canvas.height = Math.round(SIDE * devicePixelRatio);
  let answered = () => {}; // once the last plate is answered, a second press of Enter means nothing
  form.addEventListener("submit", (event) => {
    event.preventDefault(); // the browser's own way would load the page again
    answered(form.elements.number.value.trim());
  });
  form.querySelector('[data-action="none"]').addEventListener("click", () => answered(""));
  const answers = [];
  for (const plate of plates) {
    drawCrisp(canvas, plate);
    form.reset();
    form.elements.number.focus();
    answers.push(await new Promise((resolve) => { answered = resolve; }));
  }
  return answers;
}
