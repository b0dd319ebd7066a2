/** Points at a bucket of the chart or selects several, by pointer or keyboard. */
import { LEFT, type ChartLayout } from './layout.svelte';

interface ZoomControls {
  zoom: (from: number, to: number) => void;
  zoomed: boolean;
  unzoom: () => void;
}

export class ChartCursor {
  index = $state<number | null>(null);
  dragging = $state(false);
  readonly #layout: ChartLayout;
  readonly #controls: () => ZoomControls;
  #anchor = $state<number | null>(null);

  constructor(layout: ChartLayout, controls: () => ZoomControls) {
    this.#layout = layout;
    this.#controls = controls;
  }

  point = $derived.by(() => {
    const { points } = this.#layout;
    return this.index === null ? undefined : points[Math.min(this.index, points.length - 1)];
  });
  selection = $derived.by(() => {
    const { index } = this;
    const anchor = this.#anchor;
    if (anchor === null || index === null) return null;
    return { from: Math.min(anchor, index), to: Math.max(anchor, index) };
  });

  down = (event: PointerEvent & { currentTarget: Element }) => {
    if (event.button !== 0) return;
    this.#anchor = this.index = this.#indexAt(event);
    this.dragging = true;
    event.currentTarget.setPointerCapture(event.pointerId);
  };

  move = (event: PointerEvent & { currentTarget: Element }) => {
    if (event.pointerType === 'mouse' || this.dragging) this.index = this.#indexAt(event);
  };

  up = () => {
    const { selection } = this;
    this.cancel();
    if (selection && selection.to > selection.from) this.#zoomInto(selection.from, selection.to);
  };

  cancel = () => {
    this.dragging = false;
    this.#anchor = null;
  };

  leave = () => {
    if (!this.dragging) this.index = null;
  };

  clear = () => {
    this.index = this.#anchor = null;
  };

  key = (event: KeyboardEvent) => {
    const last = this.#layout.points.length - 1;
    const at = this.index ?? last;
    const to: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      PageUp: at - 10,
      PageDown: at + 10,
      Home: 0,
      End: last,
    };
    const next = this.index === null && event.key.startsWith('Arrow') ? at : to[event.key];
    if (next !== undefined) {
      if (event.shiftKey) this.#anchor ??= at;
      else this.#anchor = null;
      this.index = Math.max(0, Math.min(last, next));
    } else if (event.key === 'Enter' && this.index !== null) {
      this.#zoomInto(this.selection?.from ?? this.index, this.selection?.to ?? this.index);
    } else if (event.key === 'Escape') {
      const { zoomed, unzoom } = this.#controls();
      if (this.index === null && this.#anchor === null && zoomed) unzoom();
      this.clear();
    } else return;
    event.preventDefault();
  };

  #indexAt(event: PointerEvent & { currentTarget: Element }): number {
    const { left } = event.currentTarget.getBoundingClientRect();
    const index = Math.floor((event.clientX - left - LEFT) / this.#layout.step);
    return Math.max(0, Math.min(this.#layout.points.length - 1, index));
  }

  #zoomInto(from: number, to: number) {
    const { points } = this.#layout;
    const start = points[from]?.start;
    const end = points[to]?.end;
    if (start === undefined || end === undefined) return;
    this.clear();
    if (points.length > 1) this.#controls().zoom(start, end);
  }
}
