import { describe, expect, test } from 'vitest';
import { countMoved, filterRows, inPreviousOrder, sortRows } from '../src/lib/ui/table/arrange';
import { defaults, readFilters, writeFilters } from '../src/lib/metrics/filters';
import { asCalendar, byHourAndWeekday } from '../src/lib/metrics/calendar-grids';
import { rateChange, rateOf } from '../src/lib/metrics/rates';
import { bucketName, percent, points, runsLink } from '../src/lib/util/format';
import { axisLabels, countTicks } from '../src/lib/util/scale';
import { counts, tableRow } from './fixtures';

describe('a rate', () => {
  test('needs a finished run, and ignores canceled runs', () => {
    expect(rateOf(counts(0, 0, 7))).toBeNull();
    expect(rateOf(counts(3, 1, 7))?.value).toBe(0.75);
    expect(rateChange(counts(1), counts())).toBeNull();
  });

  test('has the interval that the database computes', () => {
    // select * from workflow_metrics_wilson(45, 50)
    const rate = rateOf(counts(45, 5));
    expect(rate?.low).toBeCloseTo(0.7864, 4);
    expect(rate?.high).toBeCloseTo(0.9565, 4);
    expect(rateOf(counts(5, 0))).toMatchObject({ high: 1, enough: true });
    expect(rateOf(counts(0, 4))).toMatchObject({ low: 0, enough: false });
  });

  test('is never rounded to 0 % or 100 %', () => {
    expect(percent(0.99996)).toContain('>');
    expect(percent(0.00001)).toContain('<');
    expect(percent(1)).toMatch(/^100\s%$/);
    expect(points(-0.0231)).toMatch(/^−2\.3/);
    expect(points(null)).toBe('–');
  });
});

describe('the filters', () => {
  test('survive the URL', () => {
    const some = {
      ...defaults('UTC'),
      range: 'custom' as const,
      from: Date.parse('2026-11-01T00:00:00Z'),
      to: Date.parse('2026-11-02T00:00:00Z'),
      tz: 'Asia/Kathmandu',
      search: 'a & b',
      workflows: ['00000000-0000-4000-8000-000000000001'],
      failing: true,
      minRuns: 5,
      sort: 'runs' as const,
      descending: false,
    };
    expect(readFilters(writeFilters(some, 'UTC'), 'UTC')).toEqual(some);
    expect(writeFilters(defaults('UTC'), 'UTC').toString()).toBe('');
  });

  test('that are invalid get their defaults', () => {
    const wrong = new URLSearchParams(
      'range=5y&tz=Mars/Olympus&workflow=1&min=-3&sort=colour&from=x&project=y',
    );
    expect(readFilters(wrong, 'UTC')).toEqual({ ...defaults('UTC'), descending: false });
  });
});

describe('the order', () => {
  const bad = tableRow({ key: 'bad', name: 'Bad', counts: counts(60, 40) });
  const unlucky = tableRow({ key: 'unlucky', name: 'Unlucky', counts: counts(0, 1) });
  const idle = tableRow({ key: 'idle', name: 'Idle' });

  test('worst first uses the lower bound of the failure rate, and rows without runs come last', () => {
    const worst = sortRows([idle, unlucky, bad], 'worst', true);
    expect(worst.map((one) => one.key)).toEqual(['bad', 'unlucky', 'idle']);
    expect(sortRows([idle, bad], 'rate', false).at(-1)?.key).toBe('idle');
    expect(sortRows([idle, bad], 'rate', true).at(-1)?.key).toBe('idle');
  });

  test('that is frozen keeps its rows, appends new ones, and counts the rows that would move', () => {
    const shown = inPreviousOrder([bad, unlucky, idle], ['unlucky', 'bad']);
    expect(shown.map((one) => one.key)).toEqual(['unlucky', 'bad', 'idle']);
    expect(countMoved(shown, [bad, unlucky, idle])).toBe(2);
  });

  test('includes the rows that match the filters', () => {
    const all = [bad, unlucky, idle];
    const pass = (part: object) =>
      filterRows(all, { ...defaults('UTC'), ...part }).map((one) => one.key);
    expect(pass({ search: 'UN' })).toEqual(['unlucky']);
    expect(pass({ failing: true })).toEqual(['bad', 'unlucky']);
    expect(pass({ minRuns: 2 })).toEqual(['bad']);
  });
});

describe('zones', () => {
  const at = (text: string) => Date.parse(text);
  const hour = (text: string) => ({
    start: at(text),
    end: at(text) + 3_600_000,
    partial: false,
    counts: counts(1),
  });

  test('hours and weekdays are local ones', () => {
    const sunday = [hour('2026-11-22T20:00:00Z')]; // Monday 01:45 in Kathmandu
    expect(byHourAndWeekday(sunday, 'UTC')[6]?.[20]).toEqual(counts(1));
    expect(byHourAndWeekday(sunday, 'Asia/Kathmandu')[0]?.[1]).toEqual(counts(1));
  });

  test('both occurrences of a repeated hour count into the same hour', () => {
    const night = [hour('2026-10-25T00:00:00Z'), hour('2026-10-25T01:00:00Z')];
    expect(byHourAndWeekday(night, 'Europe/Berlin')[6]?.[2]).toEqual(counts(2));
  });

  test('days of 23 and 25 hours are one day each', () => {
    const days = [
      ['2026-03-27T23:00:00Z', 24],
      ['2026-03-28T23:00:00Z', 23],
      ['2026-03-29T22:00:00Z', 24],
    ] as const;
    const calendar = asCalendar(
      days.map(([start, hours]) => ({
        start: at(start),
        end: at(start) + hours * 3_600_000,
        partial: false,
        counts: counts(1),
      })),
      'Europe/Berlin',
    );
    expect(calendar.map((day) => [day.date, day.weekday, day.week])).toEqual([
      ['2026-03-28', 5, 0],
      ['2026-03-29', 6, 0],
      ['2026-03-30', 0, 1],
    ]);
  });

  test('a bucket is named in the selected time zone', () => {
    expect(
      bucketName(at('2026-11-23T12:00:00Z'), at('2026-11-23T12:15:00Z'), 'Asia/Kathmandu'),
    ).toBe('23 Nov, 17:45–18:00');
  });
});

test('links to runs contain their parameters, escaped', () => {
  const values = { workflow_id: 'id', slug: 'a/b', project_id: 'p', status: 'failed' };
  expect(runsLink('/runs?w={workflow_id}&s={slug}&{status}', values)).toBe(
    '/runs?w=id&s=a%2Fb&failed',
  );
  expect(runsLink(null, values)).toBeNull();
});

test('the ticks of an axis are round and cover the maximum', () => {
  expect(countTicks(97)).toEqual([0, 50, 100]);
  expect(countTicks(3)).toEqual([0, 1, 2, 3]);
  expect(countTicks(0)).toEqual([0, 1]);
});

test('a day of many buckets is labelled once, and labels do not overlap', () => {
  const words = ['1', '1', '2', '2', '3', '3'];
  const at = (step: number) => axisLabels(words, step, 50, true).map(({ index }) => index);
  expect(at(100)).toEqual([2, 4]);
  expect(at(20)).toEqual([2]);
  expect(axisLabels(words, 20, 50, false).map(({ index }) => index)).toEqual([0, 3]);
});
