/** Formats numbers and times. Every time is shown with its zone nearby. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** Narrow no-break space between a number and its unit. */
export const NBSP = '\u202f';
export const NOTHING = '–';

export function number(value: number): string {
  return whole.format(value);
}

export function compact(value: number): string {
  return value < 10_000 ? whole.format(value) : short.format(value);
}

/** 0.98765 → "98.8 %". 100 % and 0 % are shown only if exact. */
export function percent(value: number | null | undefined): string {
  if (value === null || value === undefined) return NOTHING;
  if (value > 0.999 && value < 1) return `>${NBSP}99.9${NBSP}%`;
  if (value > 0 && value < 0.001) return `<${NBSP}0.1${NBSP}%`;
  const text = (value * 100).toFixed(1);
  return `${text === '100.0' ? '100' : text === '0.0' ? '0' : text}${NBSP}%`;
}

/** A difference of rates in percentage points, with its sign. */
export function points(value: number | null): string {
  if (value === null) return NOTHING;
  const rounded = Math.round(value * 1000) / 10;
  if (rounded === 0) return `±0${NBSP}pp`;
  return `${rounded > 0 ? '+' : '−'}${Math.abs(rounded).toFixed(1)}${NBSP}pp`;
}

/** 41 s, 5 min, 3 h, 2 d. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}${NBSP}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${NBSP}min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)}${NBSP}h`;
  return `${Math.floor(seconds / 86_400)}${NBSP}d`;
}

export function ago(at: number | null, now: number): string {
  return at === null ? 'never' : `${duration(now - at)} ago`;
}

const cache = new Map<string, Intl.DateTimeFormat>();

function formatter(tz: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = tz + JSON.stringify(options);
  let found = cache.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat('en-GB', { timeZone: tz, hourCycle: 'h23', ...options });
    cache.set(key, found);
  }
  return found;
}

/** "23 Nov 2026, 18:45 GMT+5:45". */
export function moment(at: number, tz: string): string {
  return formatter(tz, {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'short',
  }).format(at);
}

/** The label of a tick on the time axis. */
export function tick(at: number, tz: string, span: number): string {
  if (span <= 2 * 86_400_000) {
    return formatter(tz, { hour: '2-digit', minute: '2-digit' }).format(at);
  }
  if (span <= 120 * 86_400_000) {
    return formatter(tz, { day: 'numeric', month: 'short' }).format(at);
  }
  return formatter(tz, { month: 'short', year: '2-digit' }).format(at);
}

/** The name of a bucket: "23 Nov, 18:45–19:00" or "23 Nov 2026". */
export function bucketName(start: number, end: number, tz: string): string {
  const day = { day: 'numeric', month: 'short', year: 'numeric' } as const;
  if (end - start >= 20 * 3_600_000) {
    const last = formatter(tz, day).format(end - 1);
    const first = formatter(tz, day).format(start);
    return first === last ? first : `${first} – ${last}`;
  }
  const clock = { hour: '2-digit', minute: '2-digit' } as const;
  const date = formatter(tz, { day: 'numeric', month: 'short' }).format(start);
  return `${date}, ${formatter(tz, clock).format(start)}–${formatter(tz, clock).format(end)}`;
}

/** Hour (0 to 23) and weekday (0 is Monday) of a moment in a zone, daylight saving included. */
export function hourAndWeekday(at: number, tz: string): { hour: number; weekday: number } {
  const parts = formatter(tz, { hour: '2-digit', weekday: 'short' }).formatToParts(at);
  const part = (type: string) => parts.find((one) => one.type === type)?.value ?? '';
  return { hour: Number(part('hour')) % 24, weekday: WEEKDAYS.indexOf(part('weekday')) };
}

export const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

/** The local date of a moment: "2026-11-23". */
export function localDate(at: number, tz: string): string {
  const parts = formatter(tz, {
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
  }).formatToParts(at);
  const part = (type: string) => parts.find((one) => one.type === type)?.value ?? '';
  return `${part('year')}-${part('month')}-${part('day')}`;
}

/** "Asia/Kathmandu (GMT+5:45)". */
export function zoneName(tz: string, at: number): string {
  const parts = formatter(tz, { timeZoneName: 'shortOffset' }).formatToParts(at);
  return `${tz} (${parts.find((one) => one.type === 'timeZoneName')?.value ?? ''})`;
}

/** The link to a workflow's runs, from the operator's template; null without a template. */
export function runsLink(
  template: string | null,
  values: { workflow_id: string; slug: string; project_id: string; status: string },
): string | null {
  if (template === null) return null;
  const parameters: Record<string, string> = values;
  return template.replace(/\{(\w+)\}/g, (placeholder, name: string) => {
    const value = parameters[name];
    return value === undefined ? placeholder : encodeURIComponent(value);
  });
}
