/** A series laid out otherwise: by hour and weekday, and as a year of days. Pure. */
import { hourAndWeekday, localDate } from '../util/format';
import { add, NONE, type Counts } from './rates';
import type { Point } from './types';

/** [weekday from Monday][hour of the day], in a zone. */
export function byHourAndWeekday(points: readonly Point[], tz: string): Counts[][] {
  const grid = Array.from({ length: 7 }, () => Array.from({ length: 24 }, () => NONE));
  for (const point of points) {
    const { hour, weekday } = hourAndWeekday(point.start, tz);
    const row = grid[weekday];
    if (row) row[hour] = add(row[hour] ?? NONE, point.counts);
  }
  return grid;
}

export interface Day {
  readonly date: string;
  /** From Monday, 0. */
  readonly weekday: number;
  /** Columns from the left. */
  readonly week: number;
  readonly counts: Counts;
}

/** The days of a series of days, in weeks that begin on Mondays. */
export function asCalendar(points: readonly Point[], tz: string): Day[] {
  let week = 0;
  return points.map((point, place) => {
    // Noon is on the same day whatever the clocks did at night.
    const { weekday } = hourAndWeekday((point.start + point.end) / 2, tz);
    if (place > 0 && weekday === 0) week += 1;
    return {
      date: localDate((point.start + point.end) / 2, tz),
      weekday,
      week,
      counts: point.counts,
    };
  });
}
