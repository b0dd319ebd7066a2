/** The broadcasts of the channel `metrics:<project_id>`, as they arrive: design of the daemon. */

export interface Delta {
  /** Begin of a minute, RFC 3339. */
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
  /** Since ever. */
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

/** Of one workflow version: absolute numbers of now. */
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

/** The message, or null if it is none that we understand: whoever gets null refetches. */
export function readMessage(payload: unknown): RatesMessage | null {
  return read<RatesMessage>(payload);
}

/** The same of the event `open`; the next fetch has what an unreadable one said. */
export function readOpen(payload: unknown): OpenMessage | null {
  return read<OpenMessage>(payload);
}

function read<T extends RatesMessage | OpenMessage>(payload: unknown): T | null {
  const message = payload as Partial<T> | null;
  if (typeof message !== 'object' || message === null || message.v !== 1) return null;
  if (typeof message.project_id !== 'string' || !Array.isArray(message.workflows)) return null;
  return message as T;
}

/** Milliseconds. An abandoned run is found so long after its last event, by design: that is no lag. */
const FOUND_LATE = 600_000;

/** Milliseconds from the end of the newest run in it to its being sent, by the server's clocks;
 * null where no run in it has just ended. */
export function lagOf(message: RatesMessage): number | null {
  const ends = message.workflows.flatMap((change) => {
    const newest = change.deltas.at(-1);
    const told = [
      [change.last_success_at, newest?.success ?? 0] as const,
      [change.last_failure_at, newest?.failure ?? 0] as const,
    ];
    return told.flatMap(([at, runs]) => {
      const end = at === null || runs <= 0 ? NaN : Date.parse(at);
      // Only where it is that run which this message is about.
      return newest && end - Date.parse(newest.minute) < 60_000 ? [end] : [];
    });
  });
  const lag = Date.parse(message.sent_at) - Math.max(...ends);
  return lag >= 0 && lag < FOUND_LATE ? lag : null;
}
