/**
 * Converts local times of a time zone, in the format of `<input type="datetime-local">`
 * ("2026-11-23T18:45").
 *
 * When clocks go forward, some local times do not exist; when they go back, some occur twice.
 */

import { moment } from './format';

const MINUTE = 60_000;
const DAY = 86_400_000;
const formats = new Map<string, Intl.DateTimeFormat>();

/** The local time of a moment, to the minute. */
export function wallTime(at: number, tz: string): string {
  return new Date(clock(at, tz)).toISOString().slice(0, 16);
}

export interface Moment {
  readonly at: number;
  /** 'skipped': clocks jump over this local time; 'twice': it occurs twice. */
  readonly kind: 'plain' | 'skipped' | 'twice';
}

/**
 * The moment of a local time. If it occurs twice, the earlier one for the start of a period and the
 * later one for its end, so that the period includes both; if it is skipped, the moment of the jump.
 * Null if `wall` is not a local time.
 */
export function momentOf(wall: string, tz: string, side: 'from' | 'to'): Moment | null {
  const local = Date.parse(`${wall}Z`);
  if (Number.isNaN(local) || new Date(local).toISOString().slice(0, 16) !== wall) return null;
  // No offset exceeds a day, and no zone changes its offset twice within two days.
  const offsets = [local - DAY, local + DAY].map((at) => clock(at, tz) - at);
  const found = [...new Set(offsets)]
    .map((offset) => local - offset)
    .filter((at) => clock(at, tz) === local)
    .sort((a, b) => a - b);
  const at = side === 'from' ? found[0] : found.at(-1);
  if (at !== undefined) return { at, kind: found.length > 1 ? 'twice' : 'plain' };
  return {
    at: jumpOver(local, tz, local - Math.max(...offsets), local - Math.min(...offsets)),
    kind: 'skipped',
  };
}

/** Explains a local time that is skipped or ambiguous; '' for all others. */
export function clockChangeNote(found: Moment | null, tz: string): string {
  if (!found || found.kind === 'plain') return '';
  const used = moment(found.at, tz);
  return found.kind === 'skipped'
    ? `Clocks skip this time. Using ${used}.`
    : `This time occurs twice. Using ${used}.`;
}

/** The first minute between two moments whose local time is after `local`. */
function jumpOver(local: number, tz: string, low: number, high: number): number {
  while (high - low > MINUTE) {
    const middle = low + Math.floor((high - low) / 2 / MINUTE) * MINUTE;
    if (clock(middle, tz) > local) high = middle;
    else low = middle;
  }
  return high;
}

/** The local time of a moment as if it were in UTC, to the minute. */
function clock(at: number, tz: string): number {
  let format = formats.get(tz);
  if (!format) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: tz,
      calendar: 'gregory',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
    });
    formats.set(tz, format);
  }
  const parts = new Map(format.formatToParts(at).map((part) => [part.type, part.value]));
  const part = (type: Intl.DateTimeFormatPartTypes) => Number(parts.get(type));
  return Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'));
}
