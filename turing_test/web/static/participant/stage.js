// The places where images appear. An image pixel is a CSS pixel, whatever the device makes of it.

export class Stage {
  #canvases;
  #size;

  /**
   * @param {HTMLElement} trial - the screen of trials
   * @param {number} size - side of the images in CSS pixels
   */
  constructor(trial, size) {
    this.#size = size;
    trial.style.setProperty("--size", `${size}px`);
    this.#canvases = new Map(
      [...trial.querySelectorAll("[data-slot]")].map((slot) => [slot.dataset.slot, slot.querySelector("canvas")]),
    );
  }

  get slots() {
    return [...this.#canvases.keys()];
  }

  /** Match the canvases to the device's pixels; clears them, so never while something is shown. */
  fit() {
    const side = Math.round(this.#size * devicePixelRatio);
    for (const canvas of this.#canvases.values()) canvas.width = canvas.height = side;
  }

  draw(slot, image) {
    drawCrisp(this.#canvases.get(slot), image);
  }

  clear(slot) {
    const canvas = this.#canvases.get(slot);
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  }
}

/** Fill a canvas with an image: whole multiples pixel by pixel, other ratios interpolated. */
export function drawCrisp(canvas, image) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = canvas.width % image.width !== 0;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
}
