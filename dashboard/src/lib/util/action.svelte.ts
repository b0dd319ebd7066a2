/** An action of the user: whether it runs, and the errors of the last attempt. */
import { ApiError } from '../api/http';

export class Action {
  busy = $state(false);
  /** The error message that belongs to no field. */
  problem = $state('');
  /** Error messages by field. */
  errors = $state.raw<Readonly<Record<string, string>>>({});

  readonly #fields: readonly string[];

  /** `fields`: the fields that show their own errors. All other errors become `problem`. */
  constructor(fields: readonly string[] = []) {
    this.#fields = fields;
  }

  /** Runs the function, unless one is running. Resolves with whether it succeeded. */
  async run(perform: () => Promise<unknown>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.clear();
    try {
      await perform();
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    } finally {
      this.busy = false;
    }
  }

  clear() {
    this.problem = '';
    this.errors = {};
  }

  fail(error: unknown) {
    if (!(error instanceof ApiError)) {
      this.problem = String(error);
      return;
    }
    const shown = error.parameters.filter((one) => this.#fields.includes(one.parameter));
    this.errors = Object.fromEntries(
      shown.map((one) => [one.parameter, fieldError(one.takes, one.parameter)]),
    );
    const complete = shown.length > 0 && shown.length === error.parameters.length;
    this.problem = complete ? '' : error.message;
  }
}

/** What a field accepts, as a sentence: "a URL" → "Must be a URL." */
export function fieldError(accepted: string, parameter = ''): string {
  const text = accepted.replace(/\.$/, '');
  const unit = parameter.endsWith('_seconds') && /\d$/.test(text) ? ' seconds' : '';
  return /^[A-Z]/.test(text) ? `${text}${unit}.` : `Must be ${text}${unit}.`;
}
