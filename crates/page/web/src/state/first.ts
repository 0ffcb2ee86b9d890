/** The first view goes before everything that can wait: the browser draws it and runs the rest on the same cores. */

/** Long enough for a browser to paint the view. */
const PAINT_MS = 200;

/** Does it once the view is painted, unless the returned function is called before. */
export function afterFirstView(act: () => void): () => void {
  const timer = setTimeout(act, PAINT_MS);
  return () => clearTimeout(timer);
}
