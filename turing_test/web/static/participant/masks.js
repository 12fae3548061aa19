// What takes the place of an image when it goes: the same for either image of a pair, and for everybody who sees them.

const PLAIN = "rgb(128 128 128)";
const TILES = 32; // a side; the tiles of 256 pixels are as small as the details that people look at

/** Random numbers from 0 to 1, the same ones each time. */
function sequence(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function shuffled(values, random) {
  const order = [...values];
  for (let k = order.length - 1; k > 0; k -= 1) {
    const other = Math.floor(random() * (k + 1));
    [order[k], order[other]] = [order[other], order[k]];
  }
  return order;
}

/**
 * A mask of the images of one trial, as large as they are.
 * @param {"plain"|"noise"|"scrambled"} kind - `scrambled` takes every tile from one of the images, and puts it elsewhere
 * @param {ImageBitmap[]} images
 * @returns {OffscreenCanvas|HTMLCanvasElement}
 */
export function maskOf(kind, images) {
  const [{ width, height }] = images;
  const mask = Object.assign(document.createElement("canvas"), { width, height });
  const context = mask.getContext("2d");
  context.fillStyle = PLAIN;
  context.fillRect(0, 0, width, height);
  if (kind === "plain") return mask;
  const random = sequence(width);
  const places = Array.from({ length: TILES * TILES }, (_, k) => k);
  const sources = shuffled(places, random);
  const [wide, high] = [Math.ceil(width / TILES), Math.ceil(height / TILES)];
  for (const place of places) {
    const [x, y] = [(place % TILES) * wide, Math.floor(place / TILES) * high];
    if (kind === "noise") {
      const level = Math.round(48 + 160 * random());
      context.fillStyle = `rgb(${level} ${level} ${level})`;
      context.fillRect(x, y, wide, high);
    } else {
      const source = sources[place];
      const [left, top] = [(source % TILES) * wide, Math.floor(source / TILES) * high];
      context.drawImage(images[place % images.length], left, top, wide, high, x, y, wide, high);
    }
  }
  return mask;
}
