/**
 * The state of alerts: open incidents, recent incidents, and rules with their states. Fetched at every
 * `alert` broadcast, after a reconnect, after each change by the user, and periodically.
 */
import { ApiError } from '../api/http';
import type { AlertsClient, Incident, Rule, RuleFailure } from '../api/alerts';
import type { Metrics } from '../metrics/metrics.svelte';
import { shared } from '../util/shared-lifecycle';
import { statesByWorkflow, stateTotal } from './alert-states';

// Milliseconds.
const REFRESH_INTERVAL = 60_000;
/** Without live updates. */
const POLL_INTERVAL = 10_000;
/** Broadcasts often come in groups. */
const BATCH_DELAY = 100;
/** After runs were counted: state changes without an incident are not broadcast. */
const COUNTED_DELAY = 10_000;
/** The daemon evaluates a new rule within half a minute. */
const NEW_RULE_INTERVAL = 3000;
const NEW_RULE_AGE = 120_000;
const PAGE_SIZE = 200;

export class Alerts {
  open = $state.raw<readonly Incident[]>([]);
  /** There are more open incidents than `open` has. */
  hasMore = $state(false);
  /** The newest incidents, open and closed, for the charts. */
  recent = $state.raw<readonly Incident[]>([]);
  rules = $state.raw<readonly Rule[]>([]);
  /** Projects whose rules cannot be evaluated. */
  failures = $state.raw<readonly RuleFailure[]>([]);
  error = $state.raw<ApiError | null>(null);
  loaded = $state(false);
  /** Increases with every fetch, so that other lists refresh too. */
  version = $state(0);

  states = $derived(statesByWorkflow(this.rules));

  readonly client: AlertsClient;
  readonly #metrics: Metrics;
  #abort: AbortController | null = null;
  #fetchAgain = false;
  #stopped = true;
  #unfollow: (() => void) | undefined;
  #batch: ReturnType<typeof setTimeout> | undefined;
  #poll: ReturnType<typeof setTimeout> | undefined;
  #due = Infinity;

  constructor(client: AlertsClient, metrics: Metrics) {
    this.client = client;
    this.#metrics = metrics;
  }

  /** Starts updates and returns a function that stops them. Several users may start; the last one to
   * stop ends the updates. */
  readonly start = shared(
    () => this.#start(),
    () => this.#stop(),
  );

  #start() {
    this.#stopped = false;
    this.#unfollow = this.#metrics.follow({
      alert: () => this.#scheduleBatch(),
      missed: () => this.#scheduleBatch(),
      counted: () => this.#schedulePoll(COUNTED_DELAY),
    });
    void this.refetch();
  }

  #stop() {
    this.#stopped = true;
    this.#unfollow?.();
    clearTimeout(this.#batch);
    clearTimeout(this.#poll);
    this.#due = Infinity;
    this.#batch = undefined;
    this.#abort?.abort();
  }

  /** Fetches everything. During a fetch, schedules one more after it. */
  async refetch(): Promise<void> {
    if (this.#abort) {
      this.#fetchAgain = true;
      return;
    }
    const abort = (this.#abort = new AbortController());
    this.#fetchAgain = false;
    try {
      const [open, recent, rules, failures] = await Promise.all([
        this.client.incidents({ state: 'open', limit: PAGE_SIZE }, abort.signal),
        this.client.incidents({ limit: PAGE_SIZE }, abort.signal),
        this.client.rules(null, abort.signal),
        this.client.ruleFailures(abort.signal),
      ]);
      if (abort.signal.aborted) return;
      this.open = open.rows;
      this.hasMore = open.next !== null;
      this.recent = recent.rows;
      this.rules = rules;
      this.failures = failures;
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
      this.#schedulePoll(this.#pollDelay());
    }
  }

  #pollDelay(): number {
    const hasNewRule = this.rules.some(
      (rule) =>
        rule.enabled &&
        stateTotal(rule) === 0 &&
        Date.now() - Date.parse(rule.updated_at) < NEW_RULE_AGE,
    );
    if (hasNewRule && !this.error) return NEW_RULE_INTERVAL;
    return this.#metrics.joined && !this.error ? REFRESH_INTERVAL : POLL_INTERVAL;
  }

  /** Fetches after `wait` milliseconds, unless an earlier fetch is scheduled. */
  #schedulePoll(wait: number) {
    if (this.#stopped) return;
    if (this.#fetchAgain) this.#scheduleBatch();
    const due = Date.now() + wait;
    if (due >= this.#due) return;
    this.#due = due;
    clearTimeout(this.#poll);
    this.#poll = setTimeout(() => {
      this.#due = Infinity;
      if (document.visibilityState === 'visible') void this.refetch();
      else this.#schedulePoll(wait);
    }, wait);
  }

  #scheduleBatch() {
    this.#batch ??= setTimeout(() => {
      this.#batch = undefined;
      if (!this.#stopped) void this.refetch();
    }, BATCH_DELAY);
  }
}
