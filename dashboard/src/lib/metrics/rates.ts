/** Counts of finished runs, their success rate and its confidence interval. */

export interface Counts {
  readonly success: number;
  readonly failure: number;
  readonly canceled: number;
}

export interface Rate {
  /** success / (success + failure); canceled runs do not count. */
  readonly value: number;
  /** The Wilson 95 % interval. */
  readonly low: number;
  readonly high: number;
  /** Whether there are enough runs to show the rate without its interval. */
  readonly enough: boolean;
}

export const NONE: Counts = { success: 0, failure: 0, canceled: 0 };
/** With fewer succeeded and failed runs, the rate is not shown on its own. */
export const MIN_RUNS = 5;
const Z = 1.959964;

/** Counts are immutable, so their rates can be cached. */
const cache = new WeakMap<Counts, Rate | null>();

/** The rate of these counts, or null without a succeeded or failed run. The same counts return the same
 * object. */
export function rateOf(counts: Counts): Rate | null {
  let rate = cache.get(counts);
  if (rate === undefined) {
    rate = wilson(counts);
    cache.set(counts, rate);
  }
  return rate;
}

function wilson({ success, failure }: Counts): Rate | null {
  const n = success + failure;
  if (n <= 0) return null;
  const value = success / n;
  // Wilson, JASA 22 (1927): as meshmetrics_parts.wilson_interval computes it.
  const center = (value + (Z * Z) / (2 * n)) / (1 + (Z * Z) / n);
  const margin =
    (Z / (1 + (Z * Z) / n)) * Math.sqrt((value * (1 - value)) / n + (Z * Z) / (4 * n * n));
  return {
    value,
    low: success === 0 ? 0 : Math.max(0, center - margin),
    high: failure === 0 ? 1 : Math.min(1, center + margin),
    enough: n >= MIN_RUNS,
  };
}

/** The difference to the previous rate; null if either is missing. */
export function rateChange(now: Counts, before: Counts): number | null {
  const a = rateOf(now);
  const b = rateOf(before);
  return a && b ? a.value - b.value : null;
}

export function add(a: Counts, b: Counts): Counts {
  return {
    success: a.success + b.success,
    failure: a.failure + b.failure,
    canceled: a.canceled + b.canceled,
  };
}

/** All finished runs. */
export function total(counts: Counts): number {
  return counts.success + counts.failure + counts.canceled;
}
