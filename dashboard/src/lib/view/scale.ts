/** Where things stand in a chart. */

/** Round numbers from 0 to at least `most`. */
export function countTicks(most: number, wanted = 3): number[] {
  if (most <= 0) return [0, 1];
  const raw = most / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(1, ([1, 2, 5, 10].find((n) => n * power >= raw) ?? 10) * power);
  const ticks = [];
  for (let value = 0; value < most + step; value += step) ticks.push(value);
  return ticks;
}

/** The lowest rate on the axis, so that the line is not a flat one at the top. */
export function rateFloor(lowest: number): number {
  for (const floor of [0.9, 0.8, 0.5]) if (lowest >= floor) return floor;
  return 0;
}

/** Every how manieth of `count` buckets has a word below it, so that they do not touch. */
export function labelStep(count: number, width: number, each = 70): number {
  const raw = Math.max(1, (count * each) / Math.max(width, 1));
  return [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 192].find((n) => n >= raw) ?? Math.ceil(raw);
}
