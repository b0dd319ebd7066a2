/** Pointing at buckets of the chart and choosing some, with a pointer or with keys. */
import { LEFT, type Plan } from './layout.svelte';

interface Wishes {
  zoom: (from: number, to: number) => void;
  zoomed: boolean;
  unzoom: () => void;
}

export class Pointing {
  cursor = $state<number | null>(null);
  dragging = $state(false);
  readonly #plan: Plan;
  readonly #wishes: () => Wishes;
  #anchor = $state<number | null>(null);

  constructor(plan: Plan, wishes: () => Wishes) {
    this.#plan = plan;
    this.#wishes = wishes;
  }

  chosen = $derived.by(() => {
    const { points } = this.#plan;
    return this.cursor === null ? undefined : points[Math.min(this.cursor, points.length - 1)];
  });
  selection = $derived.by(() => {
    const { cursor } = this;
    const anchor = this.#anchor;
    if (anchor === null || cursor === null) return null;
    return { from: Math.min(anchor, cursor), to: Math.max(anchor, cursor) };
  });

  down = (event: PointerEvent & { currentTarget: Element }) => {
    if (event.button !== 0) return;
    this.#anchor = this.cursor = this.#placeOf(event);
    this.dragging = true;
    event.currentTarget.setPointerCapture(event.pointerId);
  };

  move = (event: PointerEvent & { currentTarget: Element }) => {
    if (event.pointerType === 'mouse' || this.dragging) this.cursor = this.#placeOf(event);
  };

  up = () => {
    const wanted = this.selection;
    this.cancel();
    if (wanted && wanted.to > wanted.from) this.#into(wanted.from, wanted.to);
  };

  cancel = () => {
    this.dragging = false;
    this.#anchor = null;
  };

  leave = () => {
    if (!this.dragging) this.cursor = null;
  };

  forget = () => {
    this.cursor = this.#anchor = null;
  };

  key = (event: KeyboardEvent) => {
    const last = this.#plan.points.length - 1;
    const at = this.cursor ?? last;
    const to: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      PageUp: at - 10,
      PageDown: at + 10,
      Home: 0,
      End: last,
    };
    const next = this.cursor === null && event.key.startsWith('Arrow') ? at : to[event.key];
    if (next !== undefined) {
      if (event.shiftKey) this.#anchor ??= at;
      else this.#anchor = null;
      this.cursor = Math.max(0, Math.min(last, next));
    } else if (event.key === 'Enter' && this.cursor !== null) {
      this.#into(this.selection?.from ?? this.cursor, this.selection?.to ?? this.cursor);
    } else if (event.key === 'Escape') {
      const { zoomed, unzoom } = this.#wishes();
      if (this.cursor === null && this.#anchor === null && zoomed) unzoom();
      this.forget();
    } else return;
    event.preventDefault();
  };

  #placeOf(event: PointerEvent & { currentTarget: Element }): number {
    const { left } = event.currentTarget.getBoundingClientRect();
    const place = Math.floor((event.clientX - left - LEFT) / this.#plan.step);
    return Math.max(0, Math.min(this.#plan.points.length - 1, place));
  }

  #into(from: number, to: number) {
    const { points } = this.#plan;
    const start = points[from]?.start;
    const end = points[to]?.end;
    if (start === undefined || end === undefined) return;
    this.forget();
    if (points.length > 1) this.#wishes().zoom(start, end);
  }
}
