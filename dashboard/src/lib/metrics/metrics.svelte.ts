/**
 * One screen's numbers, kept fresh: a snapshot, then broadcasts on top of it, and a new snapshot
 * whenever something may be missing.
 *
 * While the channel is joined, numbers are fetched anew once a minute only because the period moves
 * on. Without it they are polled, ever more slowly as long as nothing changes.
 */
import { untrack } from 'svelte';
import { ApiError, type Catalogue, type MetricsClient, type Standing } from './snapshot';
import type { Channels, Connect } from '../live/channel';
import { lagOf, type OpenMessage, type RatesMessage } from '../live/message';
import { applyAll, applyOpen } from './apply-broadcast';
import { question, type Filters } from './filters';
import { isNews, POLL, waitAfter } from './polling';
import { watchPresence } from '../util/page-wake';
import { scopeOf, unknownTo } from './scope';
import { shared } from '../util/shared-lifecycle';
import type { Series, Table } from './types';

/** Broadcasts are applied together, this often at most. */
const GATHER = 50;
const HELD = 2000;

/** What else follows the same channels: they are joined once. */
export interface Follower {
  /** An incident opened, changed or closed. */
  alert(): void;
  /** Runs were counted: rules may stand otherwise, of which nothing tells. */
  counted(): void;
  /** What was sent before now may have been missed. */
  missed(): void;
}

export type Connection = 'starting' | 'live' | 'delayed' | 'offline';

export class Metrics {
  catalogue = $state.raw<Catalogue | null>(null);
  table = $state.raw<Table | null>(null);
  series = $state.raw<Series | null>(null);
  standing = $state.raw<Standing | null>(null);
  error = $state.raw<ApiError | null>(null);
  loading = $state(false);
  joined = $state(false);
  /** The present, to the second: for ages. */
  now = $state(Date.now());
  /** When the last broadcast came. */
  heardAt = $state<number | null>(null);
  fetchedAt = $state<number | null>(null);
  /** Milliseconds from a run's end to its broadcast, of the last that told. */
  lag = $state<number | null>(null);
  /** Milliseconds until the next poll, while there is no channel. */
  pause = $state<number>(POLL[0]);

  connection: Connection = $derived.by(() => {
    if (this.error && this.error.status !== 422) return 'offline';
    if (this.fetchedAt === null) return 'starting';
    return this.joined ? 'live' : 'delayed';
  });

  readonly #client: MetricsClient;
  readonly #connect: Connect;
  #filters: Filters | null = null;
  #asked = '';
  #of = '';
  #held: (RatesMessage | null)[] = [];
  /** What the event `open` said last of each workflow version: older news is of no use. */
  #opened = new Map<string, OpenMessage>();
  #channels: Channels | null = null;
  #channelled = '';
  #abort: AbortController | null = null;
  #fetching = '';
  #again = false;
  #polls = 0;
  #timers: Partial<Record<'poll' | 'gather' | 'settle', ReturnType<typeof setTimeout>>> = {};
  #leave: (() => void) | undefined;
  #stopped = true;
  readonly #followers = new Set<Follower>();

  constructor(client: MetricsClient, connect: Connect) {
    this.#client = client;
    this.#connect = connect;
  }

  /** Begin; returns how to end. Where several begin, the last to end ends it. */
  readonly start = shared(
    () => this.#begin(),
    () => this.#end(),
  );

  #begin() {
    this.#stopped = false;
    this.#leave = watchPresence({
      second: (now) => (this.now = now),
      woke: () => this.#woke(),
      looked: () => {
        this.refetch();
        this.#followers.forEach((one) => one.missed());
      },
    });
    // Whoever starts this in an effect does not depend on what the first fetch reads.
    untrack(() => this.refetch());
  }

  #end() {
    this.#stopped = true;
    this.#leave?.();
    Object.values(this.#timers).forEach(clearTimeout);
    this.#timers = {};
    this.#abort?.abort();
    this.#channels?.close();
    this.#channels = null;
    this.#channelled = '';
    this.joined = false;
  }

  /** Be told of what concerns alerts; returns how to end. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  /** Show this. Numbers are fetched only if others are needed. */
  show(filters: Filters) {
    this.#filters = filters;
    const asked = question(filters);
    if (asked === this.#asked) return;
    this.#asked = asked;
    // Another time may stand on the screen until its numbers come; other workflows may not.
    const of = JSON.stringify([filters.project, filters.workflows, filters.versions]);
    if (of !== this.#of) this.table = this.series = null;
    this.#of = of;
    this.refetch();
  }

  /** Fetch everything anew, now; while that is under way, once more after it. */
  refetch() {
    if (this.#stopped || !this.#filters) return;
    if (this.#abort) {
      this.#again = true;
      if (this.#fetching === this.#asked) return;
      this.#abort.abort(); // the answer to another question is of no use
      return;
    }
    void this.#fetch();
  }

  async #fetch() {
    const filters = this.#filters;
    if (!filters) return;
    const abort = (this.#abort = new AbortController());
    this.#fetching = this.#asked;
    this.#again = false;
    this.loading = true;
    let failed: ApiError | null = null;
    try {
      // Asked for together: one wait, not two. What is sent before the join, the fetch after it has.
      const numbers = Promise.all([
        this.#client.table(filters, abort.signal),
        this.#client.series(filters, abort.signal),
      ]);
      numbers.catch(() => undefined); // told below, unless the catalogue fails first
      this.catalogue ??= await this.#client.catalogue(abort.signal);
      this.#join(filters);
      const [table, series] = await numbers;
      if (unknownTo(this.catalogue, table.held)) {
        this.catalogue = await this.#client.catalogue(abort.signal);
        this.#join(filters);
      }
      const { table: oldTable, series: oldSeries } = this;
      const before = oldTable && oldSeries && { table: oldTable, series: oldSeries };
      // Changes are news: the next poll comes soon.
      if (isNews(before, { table, series })) this.#polls = 0;
      this.table = table;
      this.series = series;
      this.error = null;
      this.now = this.fetchedAt = Date.now();
      void this.#client.standing(abort.signal).then(
        (standing) => (this.standing = standing),
        () => undefined, // the footer says less then
      );
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
    this.#plan(failed);
    if (!failed) {
      this.#apply();
      if (this.#again) this.#settle();
    }
  }

  /** When to fetch next. */
  #plan(failed: ApiError | null) {
    const wait = waitAfter(this.#polls, this.joined, failed);
    if (failed || !this.joined) this.#polls += 1;
    this.pause = wait;
    clearTimeout(this.#timers.poll);
    this.#timers.poll = setTimeout(() => {
      // Who does not look is not kept up to date; the first look fetches.
      if (document.visibilityState === 'visible' || this.#held.length > 0) this.refetch();
      else this.#plan(null);
    }, wait);
  }

  #join(filters: Filters) {
    const projects = (this.catalogue?.projects ?? [])
      .map((project) => project.project_id)
      .filter((id) => filters.project === null || id === filters.project);
    const wanted = projects.join();
    if (wanted === this.#channelled) return;
    this.#channels?.close();
    this.#channelled = wanted;
    this.joined = false;
    this.#channels =
      projects.length === 0
        ? null
        : this.#connect(projects, {
            message: (message) => this.#hear(message),
            open: (message) => this.#hearOpen(message),
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
              if (!this.#abort) this.#plan(null);
            },
          });
  }

  #hear(message: RatesMessage | null) {
    this.heardAt = Date.now();
    this.#followers.forEach((one) => one.counted());
    if (message) this.lag = lagOf(message) ?? this.lag;
    if (this.#held.length >= HELD) this.#held = [null];
    this.#held.push(message);
    this.#gather();
  }

  #hearOpen(message: OpenMessage) {
    this.heardAt = Date.now();
    for (const one of message.workflows) {
      this.#opened.set(one.workflow_id, { ...message, workflows: [one] });
    }
    this.#gather();
  }

  #gather() {
    if (this.#abort) return; // applied to what is being fetched
    this.#timers.gather ??= setTimeout(() => {
      this.#timers.gather = undefined;
      if (!this.#abort) this.#apply();
    }, GATHER);
  }

  #apply() {
    if (!this.table || !this.series) return;
    const scope = scopeOf(this.#filters, this.catalogue);
    const found = applyAll(this.table, this.series, this.#held, scope);
    const { series } = found;
    let { table, behind } = found;
    for (const message of this.#opened.values()) {
      const applied = applyOpen(table, message, scope);
      table = applied.view;
      behind ||= applied.behind;
    }
    this.#held = [];
    this.#opened.clear();
    this.table = table;
    this.series = series;
    if (behind) this.#settle();
  }

  /** Something is missing: fetch, but not more than twice a second. */
  #settle() {
    const wait = Math.max(0, (this.fetchedAt ?? 0) + 500 - Date.now());
    this.#timers.settle ??= setTimeout(() => {
      this.#timers.settle = undefined;
      this.refetch();
    }, wait);
  }

  #woke() {
    this.#polls = 0;
    this.#followers.forEach((one) => one.missed());
    this.#channels?.renew();
    this.refetch();
  }
}
