/** The layout of the chart: turns numbers into pixels. */
import type { ChartKind } from '../../metrics/filters';
import { rateOf, total, type Counts } from '../../metrics/rates';
import { pointAt, type Point, type Series } from '../../metrics/types';
import { tick } from '../../util/format';
import { axisLabels, countTicks, rateFloor } from '../../util/scale';

export const LEFT = 44;
export const RIGHT = 8;
export const HEAD = 10;
const GAP = 18;
const FOOT = 22;
const TWO_DAYS = 2 * 86_400_000;

export const TITLES: Record<ChartKind, string> = {
  rate: 'Success rate and finished runs',
  runs: 'Finished runs',
  failed: 'Failed runs',
  canceled: 'Canceled runs',
};

export interface Mark {
  at: number;
  label: string;
  /** What happened: a version was published, an incident opened or closed. */
  kind: 'published' | 'opened' | 'closed';
}
export interface PositionedMark extends Mark {
  /** The index of its bucket. */
  index: number;
}

export interface Bar {
  part: 'failure' | 'success' | 'canceled';
  y: number;
  height: number;
}

export interface ChartInput {
  series: Series;
  kind: ChartKind;
  marks: readonly Mark[];
  /** The bucket that contains it is incomplete. */
  now: number;
}

export class ChartLayout {
  width = $state(800);
  readonly #input: () => ChartInput;

  constructor(input: () => ChartInput) {
    this.#input = input;
  }

  kind = $derived.by(() => this.#input().kind);
  tz = $derived.by(() => this.#input().series.tz);
  narrow = $derived(this.width < 560);
  rateHeight = $derived(this.kind === 'rate' ? (this.narrow ? 110 : 140) : 0);
  runsHeight = $derived(this.kind === 'rate' ? (this.narrow ? 90 : 110) : this.narrow ? 190 : 230);
  runsTop = $derived(HEAD + this.rateHeight + (this.rateHeight ? GAP : 0));
  height = $derived(this.runsTop + this.runsHeight + FOOT);
  /** From the top of the upper part to the bottom of the lower part. */
  inner = $derived(this.runsTop + this.runsHeight - HEAD);

  // The time axis. All buckets have the same width, although a day may be 23 or 25 hours long.
  points: readonly Point[] = $derived.by(() => this.#input().series.points);
  #span = $derived.by(() => {
    const { period } = this.#input().series;
    const first = this.points[0]?.start ?? period.from;
    return Math.max(1, (this.points.at(-1)?.end ?? period.to) - first);
  });
  // The width is 0 for a moment while the page changes.
  step = $derived(Math.max(0, this.width - LEFT - RIGHT) / Math.max(1, this.points.length));
  /** The index of the bucket that is still filling, or -1. */
  incomplete = $derived.by(() => pointAt(this.points, this.#input().now));
  labels = $derived(
    axisLabels(
      this.points.map((point) => tick(point.start, this.tz, this.#span)),
      this.step,
      this.narrow ? 56 : 76,
      // Times are labelled at even distances, days and months where they start.
      this.#span > TWO_DAYS,
    ).filter(({ index }) => this.x(index) < this.width - 34),
  );
  marks: readonly PositionedMark[] = $derived.by(() =>
    this.#input().marks.flatMap((mark) => {
      const index = pointAt(this.points, mark.at);
      return index < 0 ? [] : [{ ...mark, index }];
    }),
  );

  // The value axes.
  rates = $derived(this.points.map((point) => rateOf(point.counts)));
  floor = $derived(
    rateFloor(Math.min(1, ...this.rates.flatMap((rate) => (rate ? [rate.value] : [])))),
  );
  rateTicks = $derived([this.floor, (this.floor + 1) / 2, 1]);
  ticks = $derived(
    countTicks(Math.max(0, ...this.points.map((point) => this.shown(point.counts)))),
  );
  #max = $derived(this.ticks.at(-1) ?? 1);
  /** Runs of consecutive buckets that have a rate. The line is interrupted between them. */
  segments = $derived.by(() => {
    const found: number[][] = [];
    this.rates.forEach((rate, index) => {
      if (!rate) return;
      const segment = found.at(-1);
      if (segment?.at(-1) === index - 1) segment.push(index);
      else found.push([index]);
    });
    return found;
  });

  x(index: number): number {
    return LEFT + index * this.step;
  }

  rateY(value: number): number {
    return HEAD + ((1 - Math.max(this.floor, value)) / (1 - this.floor)) * this.rateHeight;
  }

  runsY(value: number): number {
    return this.runsTop + this.runsHeight - (value / this.#max) * this.runsHeight;
  }

  /** The number of runs that a bar of this kind of chart shows. */
  shown(counts: Counts): number {
    if (this.kind === 'failed') return counts.failure;
    return this.kind === 'canceled' ? counts.canceled : total(counts);
  }

  /** The points of the rate line of a segment. */
  line(segment: readonly number[]): string {
    return segment.map((index) => this.#corner(index, this.rates[index]?.value ?? 0)).join(' ');
  }

  /** The points of the confidence band of a segment. */
  band(segment: readonly number[]): string {
    const half = segment.length === 1 ? Math.min(this.step / 2, 6) : 0;
    const edge = (side: 'low' | 'high', by: number) =>
      segment.map((index) => this.#corner(index, this.rates[index]?.[side] ?? 0, by));
    return [
      ...edge('high', -half),
      ...(half ? edge('high', half) : []),
      ...(half ? edge('low', half) : []),
      ...edge('low', -half).reverse(),
    ].join(' ');
  }

  #corner(index: number, value: number, by = 0): string {
    return `${(this.x(index + 0.5) + by).toFixed(1)},${this.rateY(value).toFixed(1)}`;
  }

  /** The bars of a bucket, from the bottom. Failures come first, so that they share a baseline. */
  bars({ counts }: Point): Bar[] {
    const parts: Record<ChartKind, Bar['part'][]> = {
      rate: ['failure', 'success', 'canceled'],
      runs: ['failure', 'success', 'canceled'],
      failed: ['failure'],
      canceled: ['canceled'],
    };
    let below = 0;
    return parts[this.kind].flatMap((part) => {
      const count = Math.max(0, counts[part]);
      if (count === 0) return [];
      const top = this.runsY(below + count);
      const bar = { part, y: top, height: Math.max(1, this.runsY(below) - top) };
      below += count;
      return [bar];
    });
  }
}
