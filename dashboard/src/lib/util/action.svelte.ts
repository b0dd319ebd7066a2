/** Something that somebody asked for: under way, or refused, and which field is to blame. */
import { ApiError } from '../api/http';

export class Doing {
  busy = $state(false);
  /** What no field of the form is to blame for. */
  problem = $state('');
  /** Field → what it takes. */
  wrong = $state.raw<Readonly<Record<string, string>>>({});

  readonly #fields: readonly string[];

  /** `fields`: those that show their own errors; all other errors become `problem`. */
  constructor(fields: readonly string[] = []) {
    this.#fields = fields;
  }

  /** Do it, unless it is under way. Whether it was done. */
  async run(what: () => Promise<unknown>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.clear();
    try {
      await what();
      return true;
    } catch (error) {
      this.refuse(error);
      return false;
    } finally {
      this.busy = false;
    }
  }

  clear() {
    this.problem = '';
    this.wrong = {};
  }

  refuse(error: unknown) {
    if (!(error instanceof ApiError)) {
      this.problem = String(error);
      return;
    }
    const known = error.wrong.filter((one) => this.#fields.includes(one.parameter));
    this.wrong = Object.fromEntries(
      known.map((one) => [one.parameter, takes(one.takes, one.parameter)]),
    );
    this.problem = known.length > 0 && known.length === error.wrong.length ? '' : error.message;
  }
}

/** What a field takes, as a sentence: "a URL" → "This takes a URL." */
export function takes(what: string, parameter = ''): string {
  const text = what.replace(/\.$/, '');
  const unit = parameter.endsWith('_seconds') && /\d$/.test(text) ? ' seconds' : '';
  if (/^[A-Z]/.test(text)) return `${text}${unit}.`;
  return `This ${/^(greater|less|a valid)/.test(text) ? 'has to be' : 'takes'} ${text}${unit}.`;
}
