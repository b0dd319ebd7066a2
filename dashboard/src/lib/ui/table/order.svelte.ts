/** The order of the rows. It is frozen while the pointer or the focus is inside the table. */
import { untrack } from 'svelte';
import { countMoved, filterRows, inPreviousOrder, sortRows } from './arrange';
import type { Filters } from '../../metrics/filters';
import type { TableRow } from './table-row';

interface OrderInput {
  rows: readonly TableRow[];
  filters: Filters;
}

export class Order {
  readonly #input: () => OrderInput;
  #pointed = $state(false);
  #focused = $state(false);
  #frozenKeys = $state.raw<readonly string[] | null>(null);

  constructor(input: () => OrderInput) {
    this.#input = input;
    const sortKey = $derived(`${input().filters.sort} ${input().filters.descending}`);
    // A new sort order applies at once, even inside a frozen table.
    $effect.pre(() => {
      void sortKey;
      untrack(() => this.apply());
    });
  }

  #frozen = $derived(this.#pointed || this.#focused);
  #sorted = $derived.by(() => {
    const { rows, filters } = this.#input();
    return sortRows(filterRows(rows, filters), filters.sort, filters.descending);
  });
  shown = $derived(
    this.#frozenKeys ? inPreviousOrder(this.#sorted, this.#frozenKeys) : this.#sorted,
  );
  /** The number of rows that would move. */
  changes = $derived(this.#frozenKeys ? countMoved(this.shown, this.#sorted) : 0);

  setPointed(inside: boolean) {
    this.#pointed = inside;
    this.#update();
  }

  setFocused(inside: boolean) {
    this.#focused = inside;
    this.#update();
  }

  /** Applies the current order, and keeps it while the table is frozen. */
  apply() {
    this.#frozenKeys = this.#frozen ? this.#sorted.map((row) => row.key) : null;
  }

  #update() {
    if (this.#frozen) this.#frozenKeys ??= this.#sorted.map((row) => row.key);
    else this.#frozenKeys = null;
  }
}
