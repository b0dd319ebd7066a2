/** The channel kinds: all that the dashboard knows about each. */
import type { Channel } from '../../../alerts/client';

export type Kind = Channel['kind'];

export interface KindText {
  readonly name: string;
  /** What the target is called. */
  readonly target: string;
  readonly hint: string;
  readonly input: 'url' | 'email' | 'text';
  /** Whether its messages are signed with a secret, which can be replaced. */
  readonly secret: boolean;
}

export const KINDS: Record<Kind, KindText> = {
  webhook: {
    name: 'Webhook',
    target: 'URL',
    hint: 'https; signed with a secret that is shown once',
    input: 'url',
    secret: true,
  },
  slack: {
    name: 'Slack',
    target: 'URL of the incoming webhook',
    hint: 'Works with Mattermost and Discord (/slack), too',
    input: 'url',
    secret: false,
  },
  email: { name: 'E-mail', target: 'Address', hint: '', input: 'email', secret: false },
};
