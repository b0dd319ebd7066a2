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

export interface Label {
  readonly place: number;
  readonly text: string;
}

/**
 * Which of the buckets' words stand below the axis, `room` apart: where a word begins, so that a day
 * of many buckets is named once; or at even distances.
 */
export function placeLabels(
  words: readonly string[],
  step: number,
  room: number,
  whereTheyBegin: boolean,
): Label[] {
  const every = evenly(room / Math.max(step, 0.01));
  const labels: Label[] = [];
  words.forEach((text, place) => {
    const last = labels.at(-1);
    const begins = whereTheyBegin ? place > 0 && text !== words[place - 1] : place % every === 0;
    if (begins && (!last || (place - last.place) * step >= room)) labels.push({ place, text });
  });
  return labels;
}

function evenly(least: number): number {
  return [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96].find((n) => n >= least) ?? Math.ceil(least);
}
