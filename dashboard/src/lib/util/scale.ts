/** Axis ticks and labels of charts. */

/** Round numbers from 0 to at least `max`. */
export function countTicks(max: number, count = 3): number[] {
  if (max <= 0) return [0, 1];
  const raw = max / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(1, ([1, 2, 5, 10].find((n) => n * power >= raw) ?? 10) * power);
  const ticks = [];
  for (let value = 0; value < max + step; value += step) ticks.push(value);
  return ticks;
}

/** The lower end of the rate axis: the smallest range that makes changes visible. */
export function rateFloor(lowest: number): number {
  for (const floor of [0.9, 0.8, 0.5]) if (lowest >= floor) return floor;
  return 0;
}

export interface Label {
  readonly index: number;
  readonly text: string;
}

/**
 * The labels below the axis, at least `spacing` pixels apart. `whereTextChanges`: label the first
 * bucket of each text, so that a day with many buckets is labelled once; otherwise at even distances.
 */
export function axisLabels(
  texts: readonly string[],
  step: number,
  spacing: number,
  whereTextChanges: boolean,
): Label[] {
  const every = evenInterval(spacing / Math.max(step, 0.01));
  const labels: Label[] = [];
  texts.forEach((text, index) => {
    const last = labels.at(-1);
    const candidate = whereTextChanges
      ? index > 0 && text !== texts[index - 1]
      : index % every === 0;
    if (candidate && (!last || (index - last.index) * step >= spacing))
      labels.push({ index, text });
  });
  return labels;
}

function evenInterval(min: number): number {
  return [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96].find((n) => n >= min) ?? Math.ceil(min);
}
