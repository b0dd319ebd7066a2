/** A row of the table: the numbers of a workflow, and its alert state. */
import type { AlertState } from '../../alerts/alert-states';
import type { Row } from '../../metrics/types';

export interface TableRow extends Row {
  /** null: not loaded yet. */
  readonly alert: AlertState | null;
}

const cache = new WeakMap<Row, TableRow>();

/** Returns the same object while neither the row nor its state changes. */
export function toTableRow(row: Row, alert: AlertState | null): TableRow {
  let tableRow = cache.get(row);
  if (tableRow?.alert !== alert) cache.set(row, (tableRow = { ...row, alert }));
  return tableRow;
}
