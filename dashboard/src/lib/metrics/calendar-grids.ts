/** Arranges a series by hour and weekday, or as a calendar of days. Pure. */
import { hourAndWeekday, localDate } from '../util/format';
import { add, NONE, type Counts } from './rates';
import type { Point } from './types';

/** Counts as [weekday, Monday first][hour of the day], in a time zone. */
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
  /** 0 is Monday. */
  readonly weekday: number;
  /** Column, 0 is the leftmost. */
  readonly week: number;
  readonly counts: Counts;
}

/** The days of a daily series, in weeks that start on Monday. */
export function asCalendar(points: readonly Point[], tz: string): Day[] {
  let week = 0;
  return points.map((point, index) => {
    // Noon is on the same day even if clocks change at night.
    const { weekday } = hourAndWeekday((point.start + point.end) / 2, tz);
    if (index > 0 && weekday === 0) week += 1;
    return {
      date: localDate((point.start + point.end) / 2, tz),
      weekday,
      week,
      counts: point.counts,
    };
  });
}
