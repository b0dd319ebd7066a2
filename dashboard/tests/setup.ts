// What jsdom lacks.
class Observed {
  observe() {}
  unobserve() {}
  disconnect() {}
}
globalThis.ResizeObserver ??= Observed as unknown as typeof ResizeObserver;
