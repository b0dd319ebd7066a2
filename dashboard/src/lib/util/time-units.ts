/** Lengths of time in the largest unit that fits. */

export const TIME_UNITS = [
  { name: 'days', singular: 'day', seconds: 86_400 },
  { name: 'hours', singular: 'hour', seconds: 3600 },
  { name: 'minutes', singular: 'minute', seconds: 60 },
] as const;

/** 86400 → { count: 1, unit: 86400 }: the largest unit that divides it, otherwise minutes. */
export function inUnits(seconds: number): { count: number; unit: number } {
  const unit = TIME_UNITS.find((one) => seconds > 0 && seconds % one.seconds === 0)?.seconds ?? 60;
  return { count: seconds / unit, unit };
}

/** 86400 → "1 day". */
export function span(seconds: number | null): string {
  if (seconds === null) return '…';
  const { count, unit } = inUnits(seconds);
  const found = TIME_UNITS.find((one) => one.seconds === unit);
  return `${Number(count.toFixed(2))} ${count === 1 ? found?.singular : found?.name}`;
}
