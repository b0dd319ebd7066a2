/** The rows in order: it stays put while somebody points into the table or works in it with keys. */
import { untrack } from 'svelte';
import { inOrderOf, moved, narrowed, ordered } from './arrange';
import type { Filters } from '../../metrics/filters';
import type { Row } from '../../metrics/types';

export class Order {
  readonly #given: () => { rows: readonly Row[]; filters: Filters };
  #pointing = $state(false);
  #focused = $state(false);
  #frozen = $state.raw<readonly string[] | null>(null);

  constructor(given: () => { rows: readonly Row[]; filters: Filters }) {
    this.#given = given;
    const chosen = $derived(`${given().filters.sort} ${given().filters.descending}`);
    // Whoever sorts wants to see it at once, and then to have it stay.
    $effect.pre(() => {
      void chosen;
      untrack(() => this.apply());
    });
  }

  /** Whether somebody is at the table. */
  held = $derived(this.#pointing || this.#focused);
  #wanted = $derived.by(() => {
    const { rows, filters } = this.#given();
    return ordered(narrowed(rows, filters), filters.sort, filters.descending);
  });
  shown = $derived(this.#frozen ? inOrderOf(this.#wanted, this.#frozen) : this.#wanted);
  /** How many rows would stand elsewhere. */
  changes = $derived(this.#frozen ? moved(this.shown, this.#wanted) : 0);

  pointed(inside: boolean) {
    this.#pointing = inside;
    this.#holdOrRelease();
  }

  focused(inside: boolean) {
    this.#focused = inside;
    this.#holdOrRelease();
  }

  /** The order that the numbers of now give, to be held from now on if somebody is here. */
  apply() {
    this.#frozen = this.held ? this.#wanted.map((row) => row.key) : null;
  }

  #holdOrRelease() {
    if (this.held) this.#frozen ??= this.#wanted.map((row) => row.key);
    else this.#frozen = null;
  }
}
