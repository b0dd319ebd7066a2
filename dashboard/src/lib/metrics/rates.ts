/** Counts of finished runs, and what can honestly be said of them. */

export interface Counts {
  readonly success: number;
  readonly failure: number;
  readonly canceled: number;
}

export interface Rate {
  /** success / (success + failure); canceled runs are in no rate. */
  readonly value: number;
  /** The Wilson 95 % interval. */
  readonly low: number;
  readonly high: number;
  /** Whether there are enough runs for the rate to stand alone. */
  readonly enough: boolean;
}

export const NONE: Counts = { success: 0, failure: 0, canceled: 0 };
/** Fewer succeeded and failed runs than this show no rate by itself. */
export const MIN_RUNS = 5;
const Z = 1.959964;

/** Counts are never changed, only replaced: what is known of them stays. */
const known = new WeakMap<Counts, Rate | null>();

/** The rate of these counts; null without a succeeded or failed run: never 0 or 1. Of the same counts
 * it is the same object. */
export function rateOf(counts: Counts): Rate | null {
  let rate = known.get(counts);
  if (rate === undefined) {
    rate = wilson(counts);
    known.set(counts, rate);
  }
  return rate;
}

function wilson({ success, failure }: Counts): Rate | null {
  const n = success + failure;
  if (n <= 0) return null;
  const value = success / n;
  // Wilson, JASA 22 (1927): as public.workflow_metrics_wilson computes it.
  const center = (value + (Z * Z) / (2 * n)) / (1 + (Z * Z) / n);
  const reach =
    (Z / (1 + (Z * Z) / n)) * Math.sqrt((value * (1 - value)) / n + (Z * Z) / (4 * n * n));
  return {
    value,
    low: success === 0 ? 0 : Math.max(0, center - reach),
    high: failure === 0 ? 1 : Math.min(1, center + reach),
    enough: n >= MIN_RUNS,
  };
}

/** The rate less the rate before; null where one of them is missing. */
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
