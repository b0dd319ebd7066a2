/** The channel kinds: all that the dashboard knows about each. */
import type { NewChannel } from '../../../api/alerts';

export type ChannelKind = NewChannel['kind'];

export interface KindText {
  readonly name: string;
  /** The label of the target. */
  readonly target: string;
  readonly hint: string;
  readonly input: 'url' | 'email' | 'text';
  /** Whether its messages are signed with a secret, which can be replaced. */
  readonly secret: boolean;
}

export const KINDS: Record<ChannelKind, KindText> = {
  webhook: {
    name: 'Webhook',
    target: 'URL',
    hint: 'HTTPS only. Requests are signed with a secret that is shown once',
    input: 'url',
    secret: true,
  },
  slack: {
    name: 'Slack',
    target: 'Incoming webhook URL',
    hint: 'Also works with Mattermost and Discord (append /slack)',
    input: 'url',
    secret: false,
  },
  email: { name: 'Email', target: 'Email address', hint: '', input: 'email', secret: false },
};
