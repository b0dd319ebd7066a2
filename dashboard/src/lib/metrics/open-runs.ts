/** Adds up open runs. Pure. */
import type { OpenRuns, Table } from './types';

export const NO_OPEN: OpenRuns = { open: 0, overdue: 0, oldestAt: null, abandoned: 0 };

/** From the API's answers and the `open` event. */
export function toOpenRuns(from: {
  readonly open: number;
  readonly overdue: number;
  readonly oldest_open_at: string | null;
  readonly abandoned: number;
}): OpenRuns {
  return {
    open: from.open,
    overdue: from.overdue,
    oldestAt: from.oldest_open_at === null ? null : Date.parse(from.oldest_open_at),
    abandoned: from.abandoned,
  };
}

export function addOpen(a: OpenRuns, b: OpenRuns): OpenRuns {
  return {
    open: a.open + b.open,
    overdue: a.overdue + b.overdue,
    oldestAt:
      a.oldestAt === null || b.oldestAt === null
        ? (a.oldestAt ?? b.oldestAt)
        : Math.min(a.oldestAt, b.oldestAt),
    abandoned: a.abandoned + b.abandoned,
  };
}

/** All open runs of a table; `abandoned`: how many of the period's failures. */
export function openTotal(table: Table): OpenRuns {
  const all = Object.values(table.open).reduce(addOpen, NO_OPEN);
  return { ...all, abandoned: table.rows.reduce((sum, row) => sum + row.open.abandoned, 0) };
}
