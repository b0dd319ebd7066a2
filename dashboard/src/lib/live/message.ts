/** The broadcasts of the channel `metrics:<project_id>`. */

export interface Delta {
  /** Start of a minute, RFC 3339. */
  readonly minute: string;
  readonly success: number;
  readonly failure: number;
  readonly canceled: number;
}

export interface Change {
  readonly workflow_id: string;
  readonly slug: string;
  readonly base_revision: number;
  readonly revision: number;
  /** All-time counters. */
  readonly success_count: number;
  readonly failure_count: number;
  readonly canceled_count: number;
  readonly last_success_at: string | null;
  readonly last_failure_at: string | null;
  readonly deltas: readonly Delta[];
}

export interface RatesMessage {
  readonly v: 1;
  readonly project_id: string;
  readonly sent_at: string;
  readonly workflows: readonly Change[];
}

/** The current open runs of one workflow version, as absolute numbers. */
export interface OpenChange {
  readonly workflow_id: string;
  readonly slug: string;
  readonly open: number;
  readonly oldest_open_at: string | null;
  readonly overdue: number;
  readonly abandoned: number;
}

/** The event `open`. */
export interface OpenMessage {
  readonly v: 1;
  readonly project_id: string;
  readonly sent_at: string;
  readonly workflows: readonly OpenChange[];
}

/** The message of the event `rates`, or null if it is unreadable; refetch then. */
export function readMessage(payload: unknown): RatesMessage | null {
  return isMessage<RatesMessage>(payload) ? payload : null;
}

/** The message of the event `open`, or null if it is unreadable; the next fetch includes it. */
export function readOpen(payload: unknown): OpenMessage | null {
  return isMessage<OpenMessage>(payload) ? payload : null;
}

function isMessage<T extends RatesMessage | OpenMessage>(payload: unknown): payload is T {
  if (typeof payload !== 'object' || payload === null) return false;
  if (!('v' in payload) || !('project_id' in payload) || !('workflows' in payload)) return false;
  const { v, project_id, workflows } = payload;
  return v === 1 && typeof project_id === 'string' && Array.isArray(workflows);
}

/** Milliseconds. Abandoned runs are detected this long after their last event, which is not a lag. */
const ABANDONED_DELAY = 600_000;

/** Milliseconds from the end of the newest run to the broadcast, by the server's clocks; null if the
 * message is not about a run that has just finished. */
export function lagOf(message: RatesMessage): number | null {
  const ends = message.workflows.flatMap((change) => {
    const newest = change.deltas.at(-1);
    const lastRuns = [
      [change.last_success_at, newest?.success ?? 0] as const,
      [change.last_failure_at, newest?.failure ?? 0] as const,
    ];
    return lastRuns.flatMap(([at, runs]) => {
      const end = at === null || runs <= 0 ? NaN : Date.parse(at);
      // Only if this message counts that run.
      return newest && end - Date.parse(newest.minute) < 60_000 ? [end] : [];
    });
  });
  const lag = Date.parse(message.sent_at) - Math.max(...ends);
  return lag >= 0 && lag < ABANDONED_DELAY ? lag : null;
}
