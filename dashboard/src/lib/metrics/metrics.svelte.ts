/**
 * The numbers of one screen: a snapshot, updated by broadcasts, and fetched again whenever a broadcast
 * may be missing.
 *
 * With live updates, the numbers are fetched once a minute because the period moves on. Without them
 * they are polled, with back-off while nothing changes.
 */
import { untrack } from 'svelte';
import { ApiError } from '../api/http';
import type { Catalogue, MetricsClient } from '../api/metrics';
import { MAX_CHANNELS, type Channels, type Connect } from '../live/channel';
import { lagOf, type OpenMessage, type RatesMessage } from '../live/message';
import { applyAll, applyOpen } from './apply-broadcast';
import { queryKey, type Filters } from './filters';
import { hasChanged, POLL_INTERVALS, waitAfter } from './polling';
import { watchPageWake } from '../util/page-wake';
import { lacksVersions, scopeOf } from './scope';
import { shared } from '../util/shared-lifecycle';
import { fetchSeries, fetchTable } from './snapshot';
import type { Series, Table } from './types';

/** Broadcasts are applied in batches, at most this often (milliseconds). */
const BATCH_DELAY = 50;
const MAX_QUEUED = 2000;
/** Minimum time between a fetch and the next one that a missing broadcast triggers. */
const MIN_REFETCH_DELAY = 500;

/** Receives events of the same channels, so that they are joined once. */
export interface Follower {
  /** An incident opened, changed or closed. */
  alert(): void;
  /** Runs were counted. Rule states may have changed, which is not broadcast. */
  counted(): void;
  /** Earlier events may be missing. */
  missed(): void;
}

export type Connection = 'starting' | 'live' | 'delayed' | 'offline';

export class Metrics {
  catalogue = $state.raw<Catalogue | null>(null);
  table = $state.raw<Table | null>(null);
  series = $state.raw<Series | null>(null);
  error = $state.raw<ApiError | null>(null);
  loading = $state(false);
  joined = $state(false);
  /** The current time, updated every second. */
  now = $state(Date.now());
  /** When the last broadcast arrived. */
  lastBroadcastAt = $state<number | null>(null);
  fetchedAt = $state<number | null>(null);
  /** Milliseconds from the end of the last run to its broadcast. */
  lag = $state<number | null>(null);
  /** Milliseconds until the next poll, while there are no live updates. */
  pollDelay = $state<number>(POLL_INTERVALS[0]);

  connection: Connection = $derived.by(() => {
    if (this.error && this.error.status !== 422) return 'offline';
    if (this.fetchedAt === null) return 'starting';
    return this.joined ? 'live' : 'delayed';
  });

  readonly client: MetricsClient;
  readonly #connect: Connect;
  #filters: Filters | null = null;
  #queryKey = '';
  #scopeKey = '';
  #queue: (RatesMessage | null)[] = [];
  /** The last `open` event of each workflow version. It replaces earlier ones. */
  #openEvents = new Map<string, OpenMessage>();
  #channels: Channels | null = null;
  #joinedProjects = '';
  /** Some projects have no channel, so their numbers are polled. */
  #polled = false;
  #catalogueStale = false;
  #abort: AbortController | null = null;
  #fetchingKey = '';
  #fetchAgain = false;
  #polls = 0;
  #timers: Partial<Record<'poll' | 'batch' | 'refetch', ReturnType<typeof setTimeout>>> = {};
  #stopWatching: (() => void) | undefined;
  #stopped = true;
  readonly #followers = new Set<Follower>();

  constructor(client: MetricsClient, connect: Connect) {
    this.client = client;
    this.#connect = connect;
  }

  /** Starts updates and returns a function that stops them. Several users may start; the last one to
   * stop ends the updates. */
  readonly start = shared(
    () => this.#start(),
    () => this.#stop(),
  );

  #start() {
    this.#stopped = false;
    this.#stopWatching = watchPageWake({
      tick: (now) => (this.now = now),
      wake: () => this.#wake(),
      show: () => {
        this.refetch();
        this.#followers.forEach((one) => one.missed());
      },
    });
    // An effect that calls start() must not depend on what the first fetch reads.
    untrack(() => this.refetch());
  }

  #stop() {
    this.#stopped = true;
    this.#stopWatching?.();
    Object.values(this.#timers).forEach(clearTimeout);
    this.#timers = {};
    this.#abort?.abort();
    this.#channels?.close();
    this.#channels = null;
    this.#joinedProjects = '';
    this.joined = false;
  }

  /** Subscribes to events; returns a function that unsubscribes. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  /** Sets the filters. Numbers are fetched only if the filters need other ones. */
  show(filters: Filters) {
    this.#filters = filters;
    const key = queryKey(filters);
    if (key === this.#queryKey) return;
    this.#queryKey = key;
    // The numbers of another period may stay on the screen while new ones load, those of other
    // workflows may not.
    const scopeKey = JSON.stringify([filters.project, filters.workflows, filters.versions]);
    if (scopeKey !== this.#scopeKey) this.table = this.series = null;
    this.#scopeKey = scopeKey;
    this.refetch();
  }

  /** Fetches everything. During a fetch, schedules one more after it. */
  refetch() {
    if (this.#stopped || !this.#filters) return;
    if (this.#abort) {
      this.#fetchAgain = true;
      if (this.#fetchingKey !== this.#queryKey) this.#abort.abort(); // its answer is obsolete
      return;
    }
    void this.#fetch();
  }

  async #fetch() {
    const filters = this.#filters;
    if (!filters) return;
    const abort = (this.#abort = new AbortController());
    this.#fetchingKey = this.#queryKey;
    this.#fetchAgain = false;
    this.loading = true;
    let failed: ApiError | null = null;
    try {
      // In parallel: joining triggers another fetch, which includes what was broadcast before it.
      const numbers = Promise.all([
        fetchTable(this.client, filters, abort.signal),
        fetchSeries(this.client, filters, abort.signal),
      ]);
      numbers.catch(() => undefined); // handled below, unless the catalogue fails first
      if (this.#catalogueStale || !this.catalogue) {
        this.#catalogueStale = false;
        this.catalogue = await this.client.catalogue(abort.signal);
      }
      const many = this.#projects(filters).length > MAX_CHANNELS;
      if (!many) this.#join(filters);
      const [table, series] = await numbers;
      if (many) this.#join(filters, table);
      if (lacksVersions(this.catalogue, table.counters)) {
        this.catalogue = await this.client.catalogue(abort.signal);
        this.#join(filters);
      }
      const { table: oldTable, series: oldSeries } = this;
      const before = oldTable && oldSeries && { table: oldTable, series: oldSeries };
      // While numbers change, poll at the shortest interval.
      if (hasChanged(before, { table, series })) this.#polls = 0;
      this.table = table;
      this.series = series;
      this.error = null;
      this.now = this.fetchedAt = Date.now();
    } catch (error) {
      if (!abort.signal.aborted) {
        failed = error instanceof ApiError ? error : new ApiError(0, String(error));
        this.error = failed;
      }
    }
    this.#abort = null;
    this.loading = false;
    if (this.#stopped) return;
    if (abort.signal.aborted) {
      void this.#fetch();
      return;
    }
    this.#schedulePoll(failed);
    if (!failed) {
      this.#applyQueue();
      if (this.#fetchAgain) this.#scheduleRefetch();
    }
  }

  #schedulePoll(failed: ApiError | null) {
    const live = this.joined && !this.#polled;
    const wait = waitAfter(this.#polls, live, failed);
    if (failed || !live) this.#polls += 1;
    this.pollDelay = wait;
    clearTimeout(this.#timers.poll);
    this.#timers.poll = setTimeout(() => {
      // A hidden page does not poll; showing it triggers a fetch.
      if (document.visibilityState === 'visible' || this.#queue.length > 0) this.refetch();
      else this.#schedulePoll(null);
    }, wait);
  }

  #projects(filters: Filters): string[] {
    return (this.catalogue?.projects ?? [])
      .map((project) => project.project_id)
      .filter((id) => filters.project === null || id === filters.project);
  }

  /** `table`: of the projects, those at its top are joined first. */
  #join(filters: Filters, table: Table | null = this.table) {
    const all = this.#projects(filters);
    const key = all.join();
    if (key === this.#joinedProjects) return;
    const shown = new Set(table?.rows.map((row) => row.projectId));
    const known = new Set(all);
    const projects =
      all.length <= MAX_CHANNELS
        ? all
        : [...[...shown].filter((id) => known.has(id)), ...all.filter((id) => !shown.has(id))];
    this.#polled = all.length > MAX_CHANNELS;
    this.#channels?.close();
    this.#joinedProjects = key;
    this.joined = false;
    this.#channels =
      projects.length === 0
        ? null
        : this.#connect(projects, {
            message: (message) => this.#receive(message),
            open: (message) => this.#receiveOpen(message),
            removed: () => {
              this.#catalogueStale = true;
              this.#receive(null);
            },
            alert: () => this.#followers.forEach((one) => one.alert()),
            joined: () => {
              this.joined = true;
              this.#polls = 0;
              this.#followers.forEach((one) => one.missed());
              this.refetch();
            },
            lost: () => {
              this.joined = false;
              this.#polls = 0;
              if (!this.#abort) this.#schedulePoll(null);
            },
          });
  }

  #receive(message: RatesMessage | null) {
    this.lastBroadcastAt = Date.now();
    this.#followers.forEach((one) => one.counted());
    if (message) this.lag = lagOf(message) ?? this.lag;
    if (this.#queue.length >= MAX_QUEUED) this.#queue = [null];
    this.#queue.push(message);
    this.#scheduleBatch();
  }

  #receiveOpen(message: OpenMessage) {
    this.lastBroadcastAt = Date.now();
    for (const one of message.workflows) {
      this.#openEvents.set(one.workflow_id, { ...message, workflows: [one] });
    }
    this.#scheduleBatch();
  }

  #scheduleBatch() {
    if (this.#abort) return; // applied when the fetch ends
    this.#timers.batch ??= setTimeout(() => {
      this.#timers.batch = undefined;
      if (!this.#abort) this.#applyQueue();
    }, BATCH_DELAY);
  }

  #applyQueue() {
    if (!this.table || !this.series) return;
    const scope = scopeOf(this.#filters, this.catalogue);
    const found = applyAll(this.table, this.series, this.#queue, scope);
    const { series } = found;
    let { table, behind } = found;
    for (const message of this.#openEvents.values()) {
      const applied = applyOpen(table, message, scope);
      table = applied.view;
      behind ||= applied.behind;
    }
    this.#queue = [];
    this.#openEvents.clear();
    this.table = table;
    this.series = series;
    if (behind) this.#scheduleRefetch();
  }

  #scheduleRefetch() {
    const wait = Math.max(0, (this.fetchedAt ?? 0) + MIN_REFETCH_DELAY - Date.now());
    this.#timers.refetch ??= setTimeout(() => {
      this.#timers.refetch = undefined;
      this.refetch();
    }, wait);
  }

  #wake() {
    this.#polls = 0;
    this.#followers.forEach((one) => one.missed());
    this.#channels?.renew();
    this.refetch();
  }
}
