import type { Sort } from '../../metrics/filters';

export interface Column {
  /** null: not sortable. */
  readonly sort: Sort | null;
  readonly name: string;
  readonly class: string;
}

export const COLUMNS: readonly Column[] = [
  { sort: 'name', name: 'Workflow', class: 'name' },
  { sort: null, name: 'Last 30 runs', class: 'strip' },
  { sort: 'rate', name: 'Success rate', class: 'rate' },
  { sort: 'change', name: 'Change', class: 'change' },
  { sort: 'runs', name: 'Runs', class: 'runs' },
  { sort: 'failed', name: 'Failed', class: 'failed' },
  { sort: 'open', name: 'Open', class: 'unended' },
  { sort: 'last_failure', name: 'Last failure', class: 'last' },
  { sort: 'in_a_row', name: 'In a row', class: 'row' },
  { sort: 'alert', name: 'Alert state', class: 'alert' },
];
