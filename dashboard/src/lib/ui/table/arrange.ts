/** Filters and sorts the rows of the table. Pure. */
import type { Filters, Sort } from '../../metrics/filters';
import { rateChange, rateOf, total } from '../../metrics/rates';
import { rank } from '../../alerts/alert-states';
import { consecutiveFailures, type Row } from '../../metrics/types';
import type { TableRow } from './table-row';

/** The rows that match `search`, `failing` and `minRuns`, which do not affect the cards and the chart. */
export function filterRows<T extends Row>(rows: readonly T[], filters: Filters): T[] {
  const needle = filters.search.trim().toLowerCase();
  return rows.filter(
    (row) =>
      (!needle ||
        row.name.toLowerCase().includes(needle) ||
        row.slug.toLowerCase().includes(needle)) &&
      (!filters.failing || row.counts.failure > 0) &&
      row.counts.success + row.counts.failure >= filters.minRuns,
  );
}

/** Sorts the rows. Rows without a value come last in both directions. */
export function sortRows(rows: readonly TableRow[], sort: Sort, descending: boolean): TableRow[] {
  const keyed = rows.map((row) => ({ row, value: valueOf(row, sort) }));
  const sign = descending ? -1 : 1;
  keyed.sort((a, b) => {
    if (a.value === null || b.value === null) {
      if (a.value !== b.value) return a.value === null ? 1 : -1;
    } else if (a.value !== b.value) {
      return (a.value < b.value ? -1 : 1) * sign;
    }
    return a.row.name.localeCompare(b.row.name) || (a.row.key < b.row.key ? -1 : 1);
  });
  return keyed.map(({ row }) => row);
}

function valueOf(row: TableRow, sort: Sort): number | string | null {
  const rate = rateOf(row.counts);
  switch (sort) {
    case 'worst':
      // The lower bound of the failure rate: one failed run out of one is weak evidence.
      return rate && 1 - rate.high;
    case 'name':
      return row.name.toLowerCase();
    case 'rate':
      return rate && rate.value;
    case 'change':
      return rateChange(row.counts, row.previous);
    case 'runs':
      return total(row.counts);
    case 'failed':
      return row.counts.failure;
    case 'open':
      return row.open.open;
    case 'overdue':
      return row.open.overdue;
    case 'last_failure':
      return row.lastFailureAt;
    case 'in_a_row':
      return consecutiveFailures(row.recent);
    case 'alert':
      return row.alert ? rank(row.alert) : null;
  }
}

/** Rows in a previous order. New rows come last. */
export function inPreviousOrder<T extends Row>(rows: readonly T[], keys: readonly string[]): T[] {
  const positions = new Map(keys.map((key, index) => [key, index]));
  const position = (row: T) => positions.get(row.key) ?? Number.MAX_SAFE_INTEGER;
  return [...rows].sort((a, b) => position(a) - position(b));
}

/** The number of rows whose position differs. */
export function countMoved(shown: readonly Row[], sorted: readonly Row[]): number {
  return shown.filter((row, index) => sorted[index]?.key !== row.key).length;
}
