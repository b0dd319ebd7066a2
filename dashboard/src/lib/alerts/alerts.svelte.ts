/**
 * What is known of alerts: open incidents, the last ones, and how the rules stand. Fetched anew at
 * every broadcast `alert`, when the channel was away, after whatever one does here, and now and then.
 */
import { ApiError } from '../api/http';
import type { AlertsClient, Incident, Rule } from '../api/alerts';
import type { Metrics } from '../metrics/metrics.svelte';
import { shared } from '../util/shared-lifecycle';
import { byWorkflow } from './alert-states';

const REFRESH = 60_000;
/** Without a channel only asking tells. */
const POLL = 10_000;
/** One broadcast seldom comes alone. */
const GATHER = 100;
/** After runs were counted, for the states that no broadcast tells of. */
const LATER = 10_000;
/** A rule that has just been made is looked at within half a minute. */
const NEW = 3000;
const NEW_FOR = 120_000;
const MOST = 200;

export class Alerts {
  open = $state.raw<readonly Incident[]>([]);
  /** There are more open ones than are shown. */
  more = $state(false);
  /** The newest, open and closed: for the charts. */
  recent = $state.raw<readonly Incident[]>([]);
  rules = $state.raw<readonly Rule[]>([]);
  error = $state.raw<ApiError | null>(null);
  loaded = $state(false);
  /** Counts up whenever something was fetched: lists of their own follow. */
  version = $state(0);

  standings = $derived(byWorkflow(this.rules));

  readonly client: AlertsClient;
  readonly #metrics: Metrics;
  #abort: AbortController | null = null;
  #again = false;
  #stopped = true;
  #unfollow: (() => void) | undefined;
  #gather: ReturnType<typeof setTimeout> | undefined;
  #poll: ReturnType<typeof setTimeout> | undefined;
  #due = Infinity;

  constructor(client: AlertsClient, metrics: Metrics) {
    this.client = client;
    this.#metrics = metrics;
  }

  /** Begin; returns how to end. Where several begin, the last to end ends it. */
  readonly start = shared(
    () => this.#begin(),
    () => this.#end(),
  );

  #begin() {
    this.#stopped = false;
    this.#unfollow = this.#metrics.follow({
      alert: () => this.#soon(),
      missed: () => this.#soon(),
      counted: () => this.#plan(LATER),
    });
    void this.refetch();
  }

  #end() {
    this.#stopped = true;
    this.#unfollow?.();
    clearTimeout(this.#gather);
    clearTimeout(this.#poll);
    this.#due = Infinity;
    this.#gather = undefined;
    this.#abort?.abort();
  }

  /** Fetch anew, now; while that is under way, once more after it. */
  async refetch(): Promise<void> {
    if (this.#abort) {
      this.#again = true;
      return;
    }
    const abort = (this.#abort = new AbortController());
    this.#again = false;
    try {
      const [open, recent, rules] = await Promise.all([
        this.client.incidents({ state: 'open', limit: MOST }, abort.signal),
        this.client.incidents({ limit: MOST }, abort.signal),
        this.client.rules(null, abort.signal),
      ]);
      if (abort.signal.aborted) return;
      this.open = open.rows;
      this.more = open.next !== null;
      this.recent = recent.rows;
      this.rules = rules;
      this.error = null;
      this.loaded = true;
      this.version += 1;
    } catch (error) {
      if (!abort.signal.aborted) {
        this.error = error instanceof ApiError ? error : new ApiError(0, String(error));
      }
    } finally {
      this.#abort = null;
      this.#due = Infinity;
      this.#plan(this.#pause());
    }
  }

  #pause(): number {
    const fresh = this.rules.some(
      (rule) =>
        rule.enabled &&
        rule.states.length === 0 &&
        Date.now() - Date.parse(rule.updated_at) < NEW_FOR,
    );
    if (fresh && !this.error) return NEW;
    return this.#metrics.joined && !this.error ? REFRESH : POLL;
  }

  /** Fetch in so many milliseconds, unless that is planned for earlier. */
  #plan(wait: number) {
    if (this.#stopped) return;
    if (this.#again) this.#soon();
    const due = Date.now() + wait;
    if (due >= this.#due) return;
    this.#due = due;
    clearTimeout(this.#poll);
    this.#poll = setTimeout(() => {
      this.#due = Infinity;
      if (document.visibilityState === 'visible') void this.refetch();
      else this.#plan(wait);
    }, wait);
  }

  #soon() {
    this.#gather ??= setTimeout(() => {
      this.#gather = undefined;
      if (!this.#stopped) void this.refetch();
    }, GATHER);
  }
}
