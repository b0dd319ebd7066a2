/** Where everything in the chart stands: from the numbers and the width to pixels. */
import type { ChartKind } from '../../metrics/filters';
import { rateOf, total, type Counts } from '../../metrics/rates';
import { pointAt, type Point, type Series } from '../../metrics/types';
import { tick } from '../../util/format';
import { countTicks, placeLabels, rateFloor } from '../../util/scale';

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
export interface Placed extends Mark {
  /** The bucket it falls into. */
  place: number;
}

export interface Bar {
  part: 'failure' | 'success' | 'canceled';
  y: number;
  height: number;
}

/** What the plan is made from; `now` is the present, whose bucket is still growing. */
export interface Given {
  series: Series;
  kind: ChartKind;
  marks: readonly Mark[];
  now: number;
}

export class Plan {
  width = $state(800);
  readonly #given: () => Given;

  constructor(given: () => Given) {
    this.#given = given;
  }

  // Of one kind of chart, whatever the numbers are.
  kind = $derived.by(() => this.#given().kind);
  tz = $derived.by(() => this.#given().series.tz);
  narrow = $derived(this.width < 560);
  rateHeight = $derived(this.kind === 'rate' ? (this.narrow ? 110 : 140) : 0);
  runsHeight = $derived(this.kind === 'rate' ? (this.narrow ? 90 : 110) : this.narrow ? 190 : 230);
  runsTop = $derived(HEAD + this.rateHeight + (this.rateHeight ? GAP : 0));
  height = $derived(this.runsTop + this.runsHeight + FOOT);
  /** From the top of the upper part to the foot of the lower one. */
  inner = $derived(this.runsTop + this.runsHeight - HEAD);

  // Along the time. Buckets have one width each, though a day with a change of clocks is 23 or 25
  // hours long.
  points: readonly Point[] = $derived.by(() => this.#given().series.points);
  #span = $derived.by(() => {
    const { period } = this.#given().series;
    const first = this.points[0]?.start ?? period.from;
    return Math.max(1, (this.points.at(-1)?.end ?? period.to) - first);
  });
  // A page that is being left is 0 wide for a moment.
  step = $derived(Math.max(0, this.width - LEFT - RIGHT) / Math.max(1, this.points.length));
  growing = $derived.by(() => pointAt(this.points, this.#given().now));
  labels = $derived(
    placeLabels(
      this.points.map((point) => tick(point.start, this.tz, this.#span)),
      this.step,
      this.narrow ? 56 : 76,
      // Clock times are told at even distances, days and months where they begin.
      this.#span > TWO_DAYS,
    ).filter(({ place }) => this.x(place) < this.width - 34),
  );
  placed: readonly Placed[] = $derived.by(() =>
    this.#given().marks.flatMap((mark) => {
      const place = pointAt(this.points, mark.at);
      return place < 0 ? [] : [{ ...mark, place }];
    }),
  );

  // Up and down.
  rates = $derived(this.points.map((point) => rateOf(point.counts)));
  floor = $derived(
    rateFloor(Math.min(1, ...this.rates.flatMap((rate) => (rate ? [rate.value] : [])))),
  );
  rateTicks = $derived([this.floor, (this.floor + 1) / 2, 1]);
  ticks = $derived(
    countTicks(Math.max(0, ...this.points.map((point) => this.shown(point.counts)))),
  );
  #most = $derived(this.ticks.at(-1) ?? 1);
  /** Stretches of buckets that have a rate: nothing is drawn across those that have none. */
  stretches = $derived.by(() => {
    const found: number[][] = [];
    this.rates.forEach((rate, place) => {
      if (!rate) return;
      const stretch = found.at(-1);
      if (stretch?.at(-1) === place - 1) stretch.push(place);
      else found.push([place]);
    });
    return found;
  });

  x(place: number): number {
    return LEFT + place * this.step;
  }

  rateY(value: number): number {
    return HEAD + ((1 - Math.max(this.floor, value)) / (1 - this.floor)) * this.rateHeight;
  }

  runsY(value: number): number {
    return this.runsTop + this.runsHeight - (value / this.#most) * this.runsHeight;
  }

  /** How many runs the bars of this kind of chart show. */
  shown(counts: Counts): number {
    if (this.kind === 'failed') return counts.failure;
    return this.kind === 'canceled' ? counts.canceled : total(counts);
  }

  /** The line through a stretch. */
  line(stretch: readonly number[]): string {
    return stretch.map((place) => this.#corner(place, this.rates[place]?.value ?? 0)).join(' ');
  }

  /** The interval around a stretch. */
  band(stretch: readonly number[]): string {
    const half = stretch.length === 1 ? Math.min(this.step / 2, 6) : 0;
    const edge = (side: 'low' | 'high', by: number) =>
      stretch.map((place) => this.#corner(place, this.rates[place]?.[side] ?? 0, by));
    return [
      ...edge('high', -half),
      ...(half ? edge('high', half) : []),
      ...(half ? edge('low', half) : []),
      ...edge('low', -half).reverse(),
    ].join(' ');
  }

  #corner(place: number, value: number, by = 0): string {
    return `${(this.x(place + 0.5) + by).toFixed(1)},${this.rateY(value).toFixed(1)}`;
  }

  /** From the bottom: failures first, so that they can be compared along the axis. */
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
