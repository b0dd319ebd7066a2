/** Which rows of the table are shown, in which order. */
import type { Filters, Sort } from '../../metrics/filters';
import { rateChange, rateOf, total } from '../../metrics/rates';
import { rank } from '../../alerts/alert-states';
import { failuresInARow, type Row } from '../../metrics/types';

/** The rows that pass search, `failing` and `minRuns`, which narrow nothing but the table. */
export function narrowed(rows: readonly Row[], filters: Filters): Row[] {
  const wanted = filters.search.trim().toLowerCase();
  return rows.filter(
    (row) =>
      (!wanted ||
        row.name.toLowerCase().includes(wanted) ||
        row.slug.toLowerCase().includes(wanted)) &&
      (!filters.failing || row.counts.failure > 0) &&
      row.counts.success + row.counts.failure >= filters.minRuns,
  );
}

/** In order. Rows without a value come last, whatever the direction. */
export function ordered(rows: readonly Row[], sort: Sort, descending: boolean): Row[] {
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

function valueOf(row: Row, sort: Sort): number | string | null {
  const rate = rateOf(row.counts);
  switch (sort) {
    case 'worst':
      // The least failure rate that the runs prove: one failed run of one is no proof.
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
      return failuresInARow(row.recent);
    case 'alert':
      return row.alert ? rank(row.alert) : null;
  }
}

/** Rows in an order of before: those that are new come last, in theirs. */
export function inOrderOf(rows: readonly Row[], keys: readonly string[]): Row[] {
  const places = new Map(keys.map((key, place) => [key, place]));
  const place = (row: Row) => places.get(row.key) ?? Number.MAX_SAFE_INTEGER;
  return [...rows].sort((a, b) => place(a) - place(b));
}

/** How many rows stand elsewhere than they would. */
export function moved(shown: readonly Row[], wanted: readonly Row[]): number {
  return shown.filter((row, place) => wanted[place]?.key !== row.key).length;
}
