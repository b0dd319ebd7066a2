import { fireEvent, render, screen } from '@testing-library/svelte';
import { describe, expect, test } from 'vitest';
import CustomRange from '../src/lib/ui/overview/CustomRange.svelte';
import { momentOf, wallTime } from '../src/lib/util/zone';

const iso = (at: number | undefined) => at !== undefined && new Date(at).toISOString();
const at = (wall: string, tz: string, side: 'from' | 'to' = 'from') => {
  const found = momentOf(wall, tz, side);
  return found && [iso(found.at), found.kind];
};

describe('a local time', () => {
  test('is in the selected time zone, not in that of the device', () => {
    expect(at('2026-11-23T18:45', 'Asia/Kathmandu')).toEqual(['2026-11-23T13:00:00.000Z', 'plain']);
    expect(at('2026-11-23T18:45', 'UTC')).toEqual(['2026-11-23T18:45:00.000Z', 'plain']);
    expect(at('2026-07-01T00:00', 'Pacific/Chatham')).toEqual([
      '2026-06-30T11:15:00.000Z',
      'plain',
    ]);
  });

  test('that occurs twice is the earlier one at the start of a period, and the later one at its end', () => {
    const twice = '2026-10-25T02:30';
    expect(at(twice, 'Europe/Berlin', 'from')).toEqual(['2026-10-25T00:30:00.000Z', 'twice']);
    expect(at(twice, 'Europe/Berlin', 'to')).toEqual(['2026-10-25T01:30:00.000Z', 'twice']);
    // Half an hour, at Lord Howe.
    expect(at('2026-04-05T01:45', 'Australia/Lord_Howe', 'to')).toEqual([
      '2026-04-04T15:15:00.000Z',
      'twice',
    ]);
  });

  test('that is skipped is the moment of the jump', () => {
    for (const side of ['from', 'to'] as const) {
      expect(at('2026-03-29T02:30', 'Europe/Berlin', side)).toEqual([
        '2026-03-29T01:00:00.000Z',
        'skipped',
      ]);
    }
    // Samoa had no 30 December 2011 at all.
    expect(at('2011-12-30T12:00', 'Pacific/Apia')).toEqual(['2011-12-30T10:00:00.000Z', 'skipped']);
  });

  test('just before and after a jump is exact', () => {
    expect(at('2026-03-29T01:59', 'Europe/Berlin')).toEqual(['2026-03-29T00:59:00.000Z', 'plain']);
    expect(at('2026-03-29T03:00', 'Europe/Berlin')).toEqual(['2026-03-29T01:00:00.000Z', 'plain']);
  });

  test('survives a round trip, through a year in many time zones', () => {
    for (const tz of ['UTC', ...Intl.supportedValuesOf('timeZone').filter((_, n) => n % 7 === 0)]) {
      for (let day = 0; day < 366; day += 5) {
        const moment = Date.UTC(2026, 0, 1, 0, 17) + day * 86_400_000 + (day % 24) * 3_600_000;
        const wall = wallTime(moment, tz);
        const ends = (['from', 'to'] as const).map((side) => momentOf(wall, tz, side));
        expect(ends.some((end) => end?.at === moment && end.kind !== 'skipped')).toBe(true);
      }
    }
  });

  test('that is invalid is rejected', () => {
    for (const wall of ['', 'soon', '2026-11-23', '2026-13-01T00:00', '2026-02-31T00:00']) {
      expect(momentOf(wall, 'UTC', 'from')).toBeNull();
    }
  });
});

describe('the custom range', () => {
  const period = {
    from: Date.parse('2026-10-24T22:00:00Z'),
    to: Date.parse('2026-10-25T09:59:30Z'),
  };
  const shown: (string | false)[][] = [];
  const props = {
    period,
    tz: 'Europe/Berlin',
    show: (from: number, to: number) => void shown.push([iso(from), iso(to)]),
  };

  test('starts with the current range, in the time zone of the page', async () => {
    render(CustomRange, props);
    expect(screen.getByLabelText<HTMLInputElement>('From').value).toBe('2026-10-25T00:00');
    expect(screen.getByLabelText<HTMLInputElement>('To').value).toBe('2026-10-25T11:00');
    expect(screen.getByText(/Time zone: Europe\/Berlin \(GMT\+2\)/)).toBeTruthy();
    await fireEvent.click(screen.getByRole('button', { name: 'Apply' }));
    expect(shown.pop()).toEqual(['2026-10-24T22:00:00.000Z', '2026-10-25T10:00:00.000Z']);
  });

  test('includes a repeated hour completely, and says which moments it uses', async () => {
    render(CustomRange, props);
    await fireEvent.input(screen.getByLabelText('From'), { target: { value: '2026-10-25T02:00' } });
    await fireEvent.input(screen.getByLabelText('To'), { target: { value: '2026-10-25T02:00' } });
    expect(screen.getByRole('status').textContent).toMatch(
      /twice\. Using 25 Oct 2026, 02:00 CEST.*02:00 CET/,
    );
    await fireEvent.click(screen.getByRole('button', { name: 'Apply' }));
    expect(shown.pop()).toEqual(['2026-10-25T00:00:00.000Z', '2026-10-25T01:00:00.000Z']);
  });

  test('rejects an end before its start', async () => {
    render(CustomRange, props);
    await fireEvent.input(screen.getByLabelText('To'), { target: { value: '2026-10-24T02:00' } });
    expect(screen.getByRole('status').textContent).toContain('The end must be after the start');
    expect(screen.getByRole('button', { name: 'Apply' })).toHaveProperty('disabled', true);
  });
});
