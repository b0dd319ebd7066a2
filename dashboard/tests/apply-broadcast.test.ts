import { describe, expect, test } from 'vitest';
import { lagOf, readMessage } from '../src/lib/live/message';
import {
  applyOpen,
  applyToSeries,
  applyToTable,
  type Scope,
} from '../src/lib/metrics/apply-broadcast';
import { NO_OPEN, openTotal } from '../src/lib/metrics/open-runs';
import { consecutiveFailures } from '../src/lib/metrics/types';
import { change, counts, FLOW, message, opened, PROJECT, row, series, table } from './fixtures';

const ALL: Scope = { open: true, includes: () => true, versionsOf: () => [FLOW] };
const PAST: Scope = { open: false, includes: () => true, versionsOf: () => [FLOW] };

describe('open runs', () => {
  const OTHER = '00000000-0000-4000-8000-000000000002';
  const early = Date.parse('2026-11-23T11:00:00Z');
  const others = { open: 2, overdue: 2, oldestAt: early, abandoned: 1 };
  const both: Scope = { ...ALL, versionsOf: () => [FLOW, OTHER] };
  const whole = table(3, counts(5, 4), {
    open: { [FLOW]: NO_OPEN, [OTHER]: others },
    rows: [row({ counts: counts(5, 4), open: others })],
  });

  test('replace the previous numbers, and versions add up', () => {
    const once = applyOpen(whole, opened(), both);
    const twice = applyOpen(once.view, opened(), both);
    for (const { view, behind } of [once, twice]) {
      expect(behind).toBe(false);
      expect(view.rows[0]?.open).toEqual({ open: 5, overdue: 3, oldestAt: early, abandoned: 1 });
      expect(openTotal(view)).toEqual({ open: 5, overdue: 3, oldestAt: early, abandoned: 1 });
    }
    const { view } = applyOpen(
      once.view,
      opened({ open: 0, overdue: 0, oldest_open_at: null }),
      both,
    );
    expect(view.rows[0]?.open).toEqual(others);
  });

  test('that are abandoned now count in an open period only', () => {
    const two = opened({ abandoned: 2 });
    expect(applyOpen(whole, two, both).view.rows[0]?.open.abandoned).toBe(3);
    expect(applyOpen(whole, two, { ...both, open: false }).view.rows[0]?.open.abandoned).toBe(1);
    const most = applyOpen(whole, opened({ abandoned: 900 }), both).view;
    expect(most.rows[0]?.open.abandoned).toBe(4); // all that failed
  });

  test('of a version update its row if versions have separate rows', () => {
    const apart = { ...whole, apart: true, rows: [row({ key: FLOW }), row({ key: OTHER })] };
    const { view } = applyOpen(apart, opened(), both);
    expect(view.rows.map((one) => one.open.open)).toEqual([3, 0]);
  });

  test('of an unknown version trigger a fetch, and hidden workflows do not', () => {
    expect(applyOpen(whole, opened({ workflow_id: PROJECT }), both).behind).toBe(true);
    const none = { ...both, includes: () => false };
    expect(applyOpen(whole, opened(), none)).toEqual({
      view: whole,
      changed: false,
      behind: false,
    });
  });
});

describe('a broadcast', () => {
  test('adds its deltas if it follows the numbers', () => {
    const { view, behind } = applyToTable(
      table(3, counts(10, 1)),
      message(change(3, 4, counts(11, 1), ['12:05', counts(1)])),
      ALL,
    );
    expect(view.rows[0]?.counts).toEqual(counts(11, 1));
    expect(view.rows[0]?.recent).toEqual(['success']);
    expect(behind).toBe(false);
  });

  test('that the numbers already include changes nothing', () => {
    const before = table(4, counts(11, 1));
    const old = message(change(2, 3, counts(10, 1), ['12:05', counts(1)]));
    const same = message(change(3, 4, counts(11, 1), ['12:05', counts(1)]));
    for (const one of [old, same]) {
      const { view, behind } = applyToTable(before, one, ALL);
      expect(view).toBe(before);
      expect(behind).toBe(false);
    }
  });

  test('after a gap is not applied, and triggers a fetch', () => {
    const before = table(3, counts(10, 1));
    const { view, behind } = applyToTable(
      before,
      message(change(4, 5, counts(12, 1), ['12:05', counts(1)])),
      ALL,
    );
    expect(view).toBe(before);
    expect(behind).toBe(true);
  });

  test('out of order triggers a fetch, and nothing is counted twice', () => {
    const later = message(change(4, 5, counts(12, 1), ['12:06', counts(1)]));
    const first = message(change(3, 4, counts(11, 1), ['12:05', counts(1)]));
    const a = applyToTable(table(3, counts(10, 1)), later, ALL);
    const b = applyToTable(a.view, first, ALL);
    expect(a.behind).toBe(true);
    expect(b.view.rows[0]?.counts).toEqual(counts(11, 1));
    const c = applyToTable(b.view, later, ALL);
    expect(c.view.rows[0]?.counts).toEqual(counts(12, 1));
  });

  test('that the numbers include in part adds the rest', () => {
    // Fetched at revision 4, between two changes that were sent together.
    const { view, behind } = applyToSeries(
      series(4, counts(11, 1)),
      message(change(3, 6, counts(12, 2), ['12:05', counts(1)], ['12:20', counts(1, 1)])),
      ALL,
    );
    expect(view.counts).toEqual(counts(12, 2));
    expect(view.points.map((point) => point.counts.success)).toEqual([0, 1, 0, 0]);
    expect(behind).toBe(false);
  });

  test('without deltas triggers a fetch', () => {
    expect(applyToTable(table(3, counts(1)), message(change(9, 9, counts(5))), ALL).behind).toBe(
      true,
    );
  });

  test('of an unknown workflow triggers a fetch; of a hidden workflow, it does not', () => {
    const strange = message({ ...change(0, 1, counts(1), ['12:05', counts(1)]), workflow_id: 'x' });
    expect(applyToTable(table(3, counts(1)), strange, ALL).behind).toBe(true);
    const other = { open: true, includes: () => false, versionsOf: () => [] };
    expect(applyToTable(table(3, counts(1)), strange, other).behind).toBe(false);
  });

  test('subtracts withdrawn runs, and keeps the last outcomes until the next fetch', () => {
    const before = table(3, counts(10, 2));
    const { view } = applyToTable(
      before,
      message(change(3, 4, counts(10, 1), ['12:05', counts(0, -1)])),
      ALL,
    );
    expect(view.rows[0]?.counts).toEqual(counts(10, 1));
    expect(view.rows[0]?.recent).toEqual([]);
  });

  test('counts into its bucket, and not outside of the period', () => {
    const early = message(change(3, 4, counts(1), ['11:59', counts(1)]));
    const late = message(change(3, 4, counts(1), ['13:05', counts(1)]));
    expect(applyToSeries(series(3, counts()), early, ALL).view.counts).toEqual(counts());
    expect(applyToSeries(series(3, counts()), late, PAST).view.counts).toEqual(counts());
    const open = applyToSeries(series(3, counts()), late, ALL);
    expect(open.view.counts).toEqual(counts(1));
    expect(open.behind).toBe(true); // a bucket is missing
  });

  test('that is malformed is rejected', () => {
    expect(readMessage(null)).toBeNull();
    expect(readMessage({ v: 2, project_id: 'a', workflows: [] })).toBeNull();
    expect(readMessage({ v: 1, project_id: 'a' })).toBeNull();
    expect(readMessage(message())).not.toBeNull();
  });

  test('has a lag if it is about a run that has just finished', () => {
    const fresh = {
      ...change(3, 4, counts(1), ['12:30', counts(1)]),
      last_success_at: '2026-11-23T12:30:00Z',
    };
    const stale = { ...fresh, last_success_at: '2026-11-23T10:00:00Z', deltas: [] };
    expect(lagOf(message(fresh))).toBe(250);
    expect(lagOf(message(stale))).toBeNull();
    const found = {
      ...change(3, 4, counts(0, 1), ['12:20', counts(0, 1)]),
      last_failure_at: '2026-11-23T12:20:00Z',
    };
    expect(lagOf(message(found))).toBeNull(); // abandoned: found ten minutes later by design
  });
});

test('consecutive failures are counted from the end, skipping canceled runs', () => {
  expect(consecutiveFailures(['failure', 'success', 'failure', 'canceled', 'failure'])).toBe(2);
  expect(consecutiveFailures(['failure', 'success'])).toBe(0);
  expect(consecutiveFailures([])).toBe(0);
});
