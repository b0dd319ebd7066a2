/**
 * Clock times of a zone, as `<input type="datetime-local">` has them: "2026-11-23T18:45", no zone said.
 *
 * When clocks go forward some of them never come; when they go back some come twice.
 */

import { moment } from './format';

const MINUTE = 60_000;
const DAY = 86_400_000;
const formats = new Map<string, Intl.DateTimeFormat>();

/** What a moment is called in a zone, to the minute. */
export function wallTime(at: number, tz: string): string {
  return new Date(clock(at, tz)).toISOString().slice(0, 16);
}

export interface Moment {
  readonly at: number;
  /** 'skipped': clocks jumped over this time; 'twice': it came again an hour later or so. */
  readonly kind: 'plain' | 'skipped' | 'twice';
}

/**
 * The moment of a clock time. Of one that comes twice, the earlier as a period's begin and the later
 * as its end, so that the period holds both; for one that never comes, the moment of the jump.
 * Null for what is no clock time.
 */
export function momentOf(wall: string, tz: string, side: 'from' | 'to'): Moment | null {
  const told = Date.parse(`${wall}Z`);
  if (Number.isNaN(told) || new Date(told).toISOString().slice(0, 16) !== wall) return null;
  // No zone is further from UTC than a day, and none changes twice within two.
  const offsets = [told - DAY, told + DAY].map((at) => clock(at, tz) - at);
  const found = [...new Set(offsets)]
    .map((offset) => told - offset)
    .filter((at) => clock(at, tz) === told)
    .sort((a, b) => a - b);
  const at = side === 'from' ? found[0] : found.at(-1);
  if (at !== undefined) return { at, kind: found.length > 1 ? 'twice' : 'plain' };
  return {
    at: jumpOver(told, tz, told - Math.max(...offsets), told - Math.min(...offsets)),
    kind: 'skipped',
  };
}

/** What there is to say of a clock time that is not one moment; '' of any other. */
export function remark(found: Moment | null, tz: string): string {
  if (!found || found.kind === 'plain') return '';
  const said = moment(found.at, tz);
  return found.kind === 'skipped'
    ? `Clocks skip that time: ${said} is taken.`
    : `That time comes twice: ${said} is taken.`;
}

/** The first minute between two moments whose clock time is past `told`. */
function jumpOver(told: number, tz: string, low: number, high: number): number {
  while (high - low > MINUTE) {
    const middle = low + Math.floor((high - low) / 2 / MINUTE) * MINUTE;
    if (clock(middle, tz) > told) high = middle;
    else low = middle;
  }
  return high;
}

/** The clock of a zone at a moment, as if it were UTC's, to the minute. */
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
